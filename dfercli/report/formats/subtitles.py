"""Subtitles for players: WebVTT and SRT."""

from dfercli.report.formats.tiers import Mark, TieredVideo


def webvtt(video: TieredVideo) -> str:
    """WebVTT (W3C): a cue per mark, the person as its voice."""
    cues = [
        f"{_times(mark, '.')}\n<v {_escaped(person)}>{_escaped(mark.text_with_confidence)}\n"
        for person, mark in video.marks_by_time()
    ]
    return "\n".join(["WEBVTT\n", *cues])


def srt(video: TieredVideo) -> str:
    """SubRip: a numbered subtitle per mark; in front the person, if named or not the only one."""
    marks = video.marks_by_time()
    says_who = len(video.tiers) > 1 or any(tier.has_given_name for tier in video.tiers)
    return "\n".join(
        f"{number}\n{_times(mark, ',')}\n{f'{person}: ' if says_who else ''}"
        f"{mark.text_with_confidence}\n"
        for number, (person, mark) in enumerate(marks, start=1)
    )


def _times(mark: Mark, point: str) -> str:
    start = round(1000 * mark.start_seconds)
    end = max(round(1000 * mark.end_seconds), start + 1)  # no cue is empty
    return f"{_clock(start, point)} --> {_clock(end, point)}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(max(milliseconds, 0), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
