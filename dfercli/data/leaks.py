"""Clips of a test set that are trained on, too: by subject, by source, or by what they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfercli.data.clips import Clip
from dfercli.data.duplicates import same_content

MOST_NAMES = 3


@dataclass(frozen=True)
class Leaks:
    """What training and test clips have in common.

    Attributes:
        subjects: People in both.
        sources: Videos that clips of both were cut from, or places of clips that are in both.
        content: (training clip, test clip) pairs that show the same.
        test_clips: Ids of the test clips that are concerned.
    """

    subjects: tuple[str, ...]
    sources: tuple[str, ...]
    content: tuple[tuple[str, str], ...]
    test_clips: tuple[str, ...]

    def describe(self) -> str:
        """What is shared, as text; empty where nothing is."""
        pairs = tuple(one if one == other else f"{one} = {other}" for one, other in self.content)
        return "; ".join(
            f"{len(names)} shared {what} ({_first(names)})"
            for what, names in (
                ("subjects", self.subjects),
                ("sources", self.sources),
                ("contents", pairs),
            )
            if names
        )


def find_leaks(
    train: Sequence[Clip],
    test: Sequence[Clip],
    train_content: Sequence[NDArray[np.uint64] | None],
    test_content: Sequence[NDArray[np.uint64] | None],
) -> Leaks:
    """Compare the clips of training with those of a test.

    Args:
        train: Clips that are trained on, or choose the checkpoint.
        test: Clips that are measured on.
        train_content: Their hashes, by `contents_of`.
        test_content: As `train_content`.
    """
    people = {clip.subject for clip in train} & {clip.subject for clip in test} - {None}
    places = {place for clip in train for place in _places(clip)}
    shared = {place for clip in test for place in _places(clip)} & places
    pairs = same_content(train_content, test_content)
    concerned = {clip.clip_id for clip in test if clip.subject in people}
    concerned |= {clip.clip_id for clip in test if shared & _places(clip)}
    concerned |= {test[column].clip_id for _, column in pairs}
    return Leaks(
        subjects=tuple(sorted(str(name) for name in people)),
        sources=tuple(sorted(shared)),
        content=tuple((train[row].clip_id, test[column].clip_id) for row, column in pairs),
        test_clips=tuple(sorted(concerned)),
    )


def _places(clip: Clip) -> set[str]:
    if clip.source is not None:
        return {clip.source}
    return {str(clip.location.resolve())}


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
