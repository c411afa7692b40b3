"""What all formats are written from: a video with a tier for each person."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath

from dfercli.artifacts.timelines import SpanRow
from dfercli.names import plain_name
from dfercli.report.timeline import called

USUAL_FPS = 25.0
SHORTEST_SECONDS = 0.001  # most formats count milliseconds


@dataclass(frozen=True)
class Mark:
    """A stretch of time on a tier.

    Attributes:
        start_seconds: Where it begins.
        end_seconds: Where it ends, later than that.
        label: What is shown.
        confidence: The mean probability of that.
        uncertain: Whether it is below the threshold.
    """

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float
    uncertain: bool

    @property
    def text(self) -> str:
        """The label, and whether it is uncertain."""
        return f"{self.label} (uncertain)" if self.uncertain else self.label

    @property
    def text_with_confidence(self) -> str:
        """The label with its probability in per cent."""
        doubt = ", uncertain" if self.uncertain else ""
        return f"{self.label} {100 * self.confidence:.0f} %{doubt}"


@dataclass(frozen=True)
class Tier:
    """One person.

    Attributes:
        name: What the person is called.
        marks: At least one; they follow one another by time and do not overlap.
        has_given_name: Whether somebody named the person; else it has only a number.
    """

    name: str
    marks: tuple[Mark, ...]
    has_given_name: bool = False


@dataclass(frozen=True)
class TieredVideo:
    """A video with its tiers.

    Attributes:
        source: The video, as predictions name it.
        media: Its absolute path.
        key: A plain name, unique among the videos, for its files.
        length_seconds: At least the end of the last mark.
        fps: Frames per second; None where the video has none.
        recorded_at: When it was recorded, where known.
        model: Where the predictions came from.
        tiers: One per person.
        label_set: The classes of the model.
    """

    source: str
    media: Path
    key: str
    length_seconds: float
    fps: float | None
    recorded_at: datetime | None
    model: str
    tiers: tuple[Tier, ...]
    label_set: tuple[str, ...] = ()

    @property
    def frames_per_second(self) -> float:
        """The frame rate, or the usual one where there is none."""
        return self.fps or USUAL_FPS

    def marks_by_time(self) -> list[tuple[str, Mark]]:
        """The marks of all tiers, each with the name of its tier."""
        marks = [(tier.name, mark) for tier in self.tiers for mark in tier.marks]
        return sorted(marks, key=lambda one: one[1].start_seconds)


def make_tiers(spans: Iterable[SpanRow], names: Mapping[int, str]) -> tuple[Tier, ...]:
    """A tier for each person of one video, in the order of their first tracks.

    Tracks of one name are one person. Where marks would overlap, as after editing, the later one
    begins where the one before it ends. A person who is left without a mark has no tier.

    Args:
        spans: Of the video.
        names: Those that were given, by track; the others are called as elsewhere.
    """
    by_name: dict[str, list[SpanRow]] = {}
    with_name: set[str] = set()
    for span in sorted(spans, key=lambda span: span.track):
        numbered = span.person is None or span.person.isdecimal()
        name = one_line(names.get(span.track) or called(span.person, span.track))
        by_name.setdefault(name, []).append(span)
        if span.track in names or not numbered:
            with_name.add(name)
    tiers = (Tier(name, _marks(own), name in with_name) for name, own in by_name.items())
    return tuple(tier for tier in tiers if tier.marks)


def _marks(spans: Iterable[SpanRow]) -> tuple[Mark, ...]:
    marks: list[Mark] = []
    for span in sorted(spans, key=lambda span: span.start_seconds):
        start = max(span.start_seconds, marks[-1].end_seconds) if marks else span.start_seconds
        if span.end_seconds - start >= SHORTEST_SECONDS:
            label = one_line(span.label)
            marks.append(Mark(start, span.end_seconds, label, span.confidence, span.uncertain))
    return tuple(marks)


def one_line(text: str) -> str:
    """Text without line breaks and other characters that files of annotations cannot hold."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def unique_keys(sources: Sequence[str]) -> dict[str, str]:
    """A plain name for each source: its own without suffix, or with the folders that tell it apart.

    Args:
        sources: Paths, no two alike.
    """
    ends = Counter(end for source in sources for end in set(_ends(source)))
    keys: dict[str, str] = {}
    for source in sources:
        end = next((end for end in _ends(source) if ends[end] == 1), source)
        key = plain_name(end, "video")
        while key in keys.values():
            key += "_"
        keys[source] = key
    return keys


def _ends(source: str) -> list[str]:
    """`c`, `b-c`, `a-b-c` of `a/b/c.mp4`, then with the suffix."""
    path = PurePath(source)
    parts = [part.strip("/") for part in (*path.parts[:-1], path.stem)]
    return ["-".join(parts[-count:]) for count in range(1, len(parts) + 1)] + [path.name]
