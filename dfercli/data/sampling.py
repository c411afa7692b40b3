"""Which T of a clip's n frames are taken, in which order clips come, and every draw's seed.

All are pure functions of their arguments. Training draws come from (seed, epoch, clip), so that
a resumed run sees what an uninterrupted one would have seen, in any number of processes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BALANCED = 0xBA1  # to differ from the draws of a clip


@dataclass(frozen=True)
class Sampling:
    """How frames of a clip are chosen over time; the default is as published.

    Attributes:
        stride: Frames from one to the next; 0 spreads them over the whole clip. A clip that is too
            short for it is sampled as published.
        views: How often a measurement looks at a clip, at other frames each time.
        mirrored: Whether it looks at the mirror image, too.
    """

    stride: int = 0
    views: int = 1
    mirrored: bool = False

    @property
    def num_views(self) -> int:
        """Views in all: those over time, then their mirror images."""
        return self.views * (2 if self.mirrored else 1)


AS_PUBLISHED = Sampling()


def sampling_of(card: Mapping[str, Any]) -> Sampling:
    """The sampling that a model card tells of."""
    known = {name: card[name] for name in ("stride", "views", "mirrored") if name in card}
    return Sampling(**known)


def sample_training(
    num_available: int, num_frames: int, sampling: Sampling, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The frames of a clip in training, drawn by `rng`; as `sample_train`, or strided."""
    room = _room(num_available, num_frames, sampling.stride)
    if room is None:
        return sample_train(num_available, num_frames, rng)
    return rng.integers(room + 1) + sampling.stride * np.arange(num_frames)


def sample_view(
    num_available: int, num_frames: int, sampling: Sampling, view: int = 0
) -> NDArray[np.int64]:
    """The frames of one view in a measurement: as `sample_test`, if there is one and no stride.

    Strided views begin at equal distances, the first one with the clip and the last one at its
    end; a single one lies in the middle. Others are at different places of each segment.

    Args:
        num_available: n, at least 1.
        num_frames: T.
        sampling: The views.
        view: Which, counted from 0; mirror images come after the others.

    Returns:
        (T,) indices, ascending.
    """
    views, number = sampling.views, view % sampling.views
    room = _room(num_available, num_frames, sampling.stride)
    if room is not None:
        start = room // 2 if views == 1 else round(room * number / (views - 1))
        return start + sampling.stride * np.arange(num_frames)
    if views == 1 or num_available <= num_frames:
        return sample_test(num_available, num_frames)
    segment = num_available / num_frames
    places = segment * (np.arange(num_frames) + (number + 0.5) / views)
    return places.astype(np.int64)


def _room(num_available: int, num_frames: int, stride: int) -> int | None:
    """By how many frames a strided draw can be moved; None where a clip is too short for it."""
    room = num_available - 1 - stride * (num_frames - 1)
    return room if stride and room >= 0 else None


def sample_test(num_available: int, num_frames: int) -> NDArray[np.int64]:
    """The published test sampling: the middle frame of each of T equal segments.

    A clip of at most T frames gives all of them, then the last one again.

    Args:
        num_available: n, at least 1.
        num_frames: T.

    Returns:
        (T,) indices, ascending.
    """
    n, steps = num_available, np.arange(num_frames)
    if n > num_frames:
        segment = n / num_frames
        return (segment / 2 + segment * steps).astype(np.int64)
    return np.minimum(steps, n - 1)


def sample_train(
    num_available: int, num_frames: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The published training sampling: a random frame of each of T equal segments.

    Args:
        num_available: n, at least 1.
        num_frames: T.
        rng: Source of the draws.

    Returns:
        (T,) indices, ascending. A clip of fewer than T frames gives all, then the last again.
    """
    n, average = num_available, num_available // num_frames
    if average > 0:
        # The published code's case `n > T` with an average of 0 cannot occur.
        return average * np.arange(num_frames) + rng.integers(average, size=num_frames)
    return sample_test(n, num_frames)


def clip_rng(seed: int, epoch: int, clip: int) -> np.random.Generator:
    """The random generator of one clip in one epoch."""
    return np.random.default_rng([seed, epoch, clip])


def epoch_order(num_clips: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of all clips in one epoch, (num_clips,)."""
    return np.random.default_rng([seed, epoch]).permutation(num_clips)


def epoch_clips(
    labels: Sequence[int], seed: int, epoch: int, sampler: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The clips of one epoch in their order, and how often each one came before in it.

    An epoch has as many places as there are clips. `shuffled` gives each clip one. Else each class
    gets its share of the places, equal (`balanced`) or by the square root of its number of clips
    (`square-root`), and its clips take turns in an order drawn for each epoch.

    Args:
        labels: The class of each clip.
        seed: Seed of the training.
        epoch: Counted from 0.
        sampler: One of `DataConfig.sampler`.

    Returns:
        (num_clips,) positions of clips, and (num_clips,) their earlier appearances.
    """
    num_clips = len(labels)
    if sampler == "shuffled":
        return epoch_order(num_clips, seed, epoch), np.zeros(num_clips, dtype=np.int64)
    rng = np.random.default_rng([seed, epoch, BALANCED])
    classes, counts = np.unique(labels, return_counts=True)
    wanted = counts**0.5 if sampler == "square-root" else np.ones(len(classes))
    exact = wanted / wanted.sum() * num_clips
    places = np.floor(exact).astype(np.int64)
    # What rounding left over goes to classes at random, in proportion to what they lost.
    left = num_clips - int(places.sum())
    if left:
        lost = exact - places
        places[rng.choice(len(classes), size=left, replace=False, p=lost / lost.sum())] += 1
    chosen, times = [], []
    for label, number in zip(classes, places, strict=True):
        own = np.flatnonzero(np.asarray(labels) == label)
        rounds = -(-int(number) // len(own))
        chosen.append(
            np.concatenate([rng.permutation(own) for _ in range(max(rounds, 1))])[:number]
        )
        times.append(np.arange(number) // len(own))
    order = rng.permutation(num_clips)
    return np.concatenate(chosen)[order], np.concatenate(times)[order]


def split_validation(
    groups: list[str], strata: list[str], share: float, seed: int, draw: int = 0x5EED
) -> tuple[list[int], list[int]]:
    """Hold out a part of the clips; clips of one group are never parted.

    Groups are drawn stratum by stratum (a group belongs to the most frequent of its clips'), so
    that every class that has two groups or more is in both parts.

    Args:
        groups: For each clip its group: the subject where known, else the clip itself.
        strata: For each clip its label.
        share: Share of the groups to hold out, 0 to 1.
        seed: Seed of the draw.
        draw: Number of the draw, where there are several of one seed.

    Returns:
        Indices of the training clips and of the held-out clips, both ascending.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    by_stratum: dict[str, list[str]] = {}
    for group, indices in sorted(members.items()):
        labels = [strata[index] for index in indices]
        by_stratum.setdefault(max(sorted(set(labels)), key=labels.count), []).append(group)
    rng = np.random.default_rng([seed, draw])
    held_out: set[str] = set()
    for _, names in sorted(by_stratum.items()):
        shuffled = [names[index] for index in rng.permutation(len(names))]
        count = round(share * len(names))
        if share > 0 and len(names) > 1:
            count = min(max(count, 1), len(names) - 1)
        held_out.update(shuffled[:count])
    train = [index for index, group in enumerate(groups) if group not in held_out]
    validation = [index for index, group in enumerate(groups) if group in held_out]
    return train, validation
