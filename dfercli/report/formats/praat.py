"""Praat's TextGrid, in its long text form."""

from collections.abc import Iterator

from dfercli.report.formats.tiers import Tier, TieredVideo


def textgrid(video: TieredVideo) -> str:
    """An interval tier per person; time in which a person is not seen is an empty interval."""
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {_number(video.length_seconds)}",
        "tiers? <exists>",
        f"size = {len(video.tiers)}",
        "item []:",
    ]
    for number, tier in enumerate(video.tiers, start=1):
        intervals = list(_intervals(tier, video.length_seconds))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(tier.name)}",
            "        xmin = 0",
            f"        xmax = {_number(video.length_seconds)}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, (start, end, text) in enumerate(intervals, start=1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {start}",
                f"            xmax = {end}",
                f"            text = {_quoted(text)}",
            ]
    return "\n".join(lines) + "\n"


def _intervals(tier: Tier, length: float) -> Iterator[tuple[str, str, str]]:
    """The intervals of a tier, which leave no time out."""
    reached = _number(0.0)
    for mark in tier.marks:
        start, end = _number(max(mark.start_seconds, 0.0)), _number(mark.end_seconds)
        if start != reached:
            yield reached, start, ""
        yield start, end, mark.text
        reached = end
    if reached != _number(length):
        yield reached, _number(length), ""


def _number(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".") or "0"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
