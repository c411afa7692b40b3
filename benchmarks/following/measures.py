"""How well tracks show who is who: pieces, switches, false tracks, coverage, IDF1.

IDF1: E. Ristani et al., Performance measures and a data set for multi-target, multi-camera
tracking, 2016.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

MIN_IOU = 0.3
SEEN = 0.6  # of a face must be visible for it to count
HIDDEN = 0.25  # if less is visible, a box on it is neither right nor wrong

Identity = tuple[int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Target:
    """A known face in a frame."""

    identity: Identity
    box_xyxy_px: Box
    visible: float


@dataclass(frozen=True)
class Score:
    """The measures of one video.

    Attributes:
        people: Identities that can be seen for half a second or more.
        tracks: Tracks found.
        pieces: Tracks beyond the first of each person.
        missed: People without a track.
        switches: How often a track goes on with another person.
        false_tracks: Tracks that belong to nobody in half of their frames or more.
        coverage: Share of the visible faces, counted by frame, that have a box.
        idf1: 0 to 1.
    """

    people: int
    tracks: int
    pieces: int
    missed: int
    switches: int
    false_tracks: int
    coverage: float
    idf1: float

    @property
    def is_whole(self) -> bool:
        """One track per person, no switch, no false track."""
        return not (self.pieces or self.missed or self.switches or self.false_tracks)


def score(
    truth: Sequence[Sequence[Target]],
    found: Sequence[Mapping[int, Box]],
    fps: float,
    size: tuple[int, int],
) -> Score:
    """Compare.

    Args:
        truth: The faces in each frame.
        found: The boxes in each frame, by track number.
        fps: Frames per second.
        size: Width and height of the frames.
    """
    owners: dict[int, list[Identity | None]] = {}
    asked: dict[Identity, int] = {}
    covered = total = 0
    pairs: dict[tuple[Identity, int], int] = {}
    lengths: dict[int, int] = {}
    for targets, boxes in zip(truth, found, strict=True):
        targets = [_inside(target, size) for target in targets]
        matched = _matched(targets, boxes)
        for target in targets:
            if target.visible >= SEEN:
                asked[target.identity] = asked.get(target.identity, 0) + 1
                total += 1
                covered += target.identity in matched.values()
        sure = {target.identity for target in targets if target.visible >= SEEN}
        for track in boxes:
            owner = matched.get(track)
            if owner is not None and owner not in sure:
                continue  # half hidden: neither right nor wrong
            owners.setdefault(track, []).append(owner)
            lengths[track] = lengths.get(track, 0) + 1
            if owner is not None:
                pairs[owner, track] = pairs.get((owner, track), 0) + 1
    people = [identity for identity, count in asked.items() if count >= fps / 2]
    of_people: dict[Identity, int] = dict.fromkeys(people, 0)
    switches = false_tracks = 0
    for row in owners.values():
        named = [owner for owner in row if owner is not None]
        if 2 * len(named) <= len(row):
            false_tracks += 1
            continue
        switches += sum(a != b for a, b in itertools.pairwise(named))
        main = max(set(named), key=named.count)
        of_people[main] = of_people.get(main, 0) + 1
    return Score(
        people=len(people),
        tracks=len(owners),
        pieces=sum(max(0, count - 1) for count in of_people.values()),
        missed=sum(of_people[person] == 0 for person in people),
        switches=switches,
        false_tracks=false_tracks,
        coverage=covered / total if total else 1.0,
        idf1=_idf1(pairs, asked, lengths),
    )


def _inside(target: Target, size: tuple[int, int]) -> Target:
    """A target whose part outside the picture counts as hidden."""
    left, top, right, bottom = target.box_xyxy_px
    width = max(0.0, min(right, size[0]) - max(left, 0.0))
    height = max(0.0, min(bottom, size[1]) - max(top, 0.0))
    share = width * height / max(1e-9, (right - left) * (bottom - top))
    return Target(target.identity, target.box_xyxy_px, min(target.visible, share))


def _matched(targets: Sequence[Target], boxes: Mapping[int, Box]) -> dict[int, Identity]:
    """The person of each track in a frame, by overlap."""
    there = [target for target in targets if target.visible >= HIDDEN]
    numbers = sorted(boxes)
    if not there or not numbers:
        return {}
    overlaps = np.array(
        [[_iou(boxes[number], target.box_xyxy_px) for target in there] for number in numbers]
    )
    rows, columns = linear_sum_assignment(-overlaps)
    return {
        numbers[row]: there[column].identity
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if overlaps[row, column] >= MIN_IOU
    }


def _iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return common / max(1e-9, areas - common)


def _idf1(
    pairs: Mapping[tuple[Identity, int], int],
    asked: Mapping[Identity, int],
    lengths: Mapping[int, int],
) -> float:
    people, tracks = sorted(asked), sorted(lengths)
    if not people or not tracks:
        return float(not people and not tracks)
    common = np.array([[pairs.get((person, track), 0) for track in tracks] for person in people])
    rows, columns = linear_sum_assignment(-common)
    right = int(common[rows, columns].sum())
    return 2 * right / (sum(asked.values()) + sum(lengths.values()))
