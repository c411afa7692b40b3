"""The report of `dfer data check`, and the pictures in which it looks for faces."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfercli.data.check import Finding
from dfercli.errors import DataError
from dfercli.video.decode import VideoReader

CHECK_SCHEMA = "dfer.data_check/1"
MOST_NAMES = 7


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        dataset: The data set.
        frame_source: The folder of its clips.
        num_clips: Clips that the lists name.
        label_counts: Clips of each class, in the order of the label set.
        published_counts: The published number of each class, where there is one.
        fold_sizes: (train, test) clips of each fold that was read.
        frames_per_clip: Fewest, median and most frames; None where none could be counted.
        pictures_with_face: In how many of `pictures_seen` the detector found a face.
        pictures_seen: Pictures shown to the detector.
        is_deep: Whether every frame was read.
        findings: The findings.
        groups: Of an open data set: clips of each actor and of each value of each group.
    """

    dataset: str
    frame_source: str
    num_clips: int
    label_counts: dict[str, int]
    published_counts: dict[str, int] | None
    fold_sizes: tuple[tuple[int, int], ...]
    frames_per_clip: tuple[int, float, int] | None
    pictures_with_face: int
    pictures_seen: int
    is_deep: bool
    findings: tuple[Finding, ...]
    groups: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.is_fault for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """What `dfer data check --json` prints."""
        return {"schema": CHECK_SCHEMA, "is_clean": self.is_clean, **asdict(self)}

    def lines(self) -> list[str]:
        """The report as lines of text, faults first."""
        sizes = ", ".join(f"{train} + {test}" for train, test in self.fold_sizes)
        lines = [
            f"frames from: {self.frame_source}",
            f"clips: {self.num_clips}; train + test by fold: {sizes}",
        ]
        if self.frames_per_clip is not None:
            fewest, middle, most = self.frames_per_clip
            lines.append(f"frames per clip: {fewest} / {middle:g} / {most} (min, median, max)")
        lines.append(f"faces: found in {self.pictures_with_face} of {self.pictures_seen} pictures")
        for finding in sorted(self.findings, key=lambda finding: not finding.is_fault):
            lines.append(
                f"{'FAULT' if finding.is_fault else 'note'} {finding.kind}: {finding.message}"
            )
            if finding.names:
                more = ", …" if len(finding.names) > MOST_NAMES else ""
                lines.append(f"    {', '.join(finding.names[:MOST_NAMES])}{more}")
            if finding.guess:
                lines.append(f"    perhaps: {finding.guess}")
        unread = "" if self.is_deep else " (frames not read; --deep reads them)"
        lines.append(f"{'clean' if self.is_clean else 'not clean'}{unread}")
        return lines


def first_pictures(paths: Iterable[Path]) -> list[NDArray[np.uint8]]:
    """The first frame of each video; (H, W, 3) RGB. A video that cannot be read has none."""
    pictures = []
    for path in paths:
        # --deep finds unreadable pictures; here they only count as without a face.
        with suppress(DataError):
            pictures += [frame.image for frame in islice(VideoReader(path), 1)]
    return pictures
