"""Join the pieces of a person's track by the look of the face, for `--identities`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dfercli.faces.identity import Portraits, people_among
from dfercli.preprocessing.growing_tracks import GrowingTrack

DIGITS = 5  # of the numbers of a portrait


@dataclass(frozen=True)
class Pieces:
    """Which tracks of a source are one person; each person has the number of the earliest track.

    Attributes:
        of_person: The tracks of each person, earliest first.
        portraits: Of the tracks.
    """

    of_person: Mapping[int, tuple[int, ...]]
    portraits: Portraits

    def person_of(self, track: int) -> int:
        """The number of a track's person."""
        for person, tracks in self.of_person.items():
            if track in tracks:
                return person
        return track

    def joined(self, tracks: Mapping[int, GrowingTrack]) -> dict[int, GrowingTrack]:
        """One track per person."""
        whole = {}
        for person, numbers in self.of_person.items():
            pieces = [tracks[number] for number in numbers]
            whole[person] = pieces[0] if len(pieces) == 1 else GrowingTrack.merged(pieces)
        return whole

    def portraits_of(self, people: Sequence[int]) -> tuple[tuple[float, ...], ...]:
        """The recorded numbers that describe each person; empty if there are none."""
        means = [self.portraits.portrait(self.of_person[person]) for person in people]
        rows = [[] if mean is None else mean.tolist() for mean in means]
        return tuple(tuple(round(number, DIGITS) for number in row) for row in rows)

    def remarks(self, chosen: list[int]) -> list[str]:
        """Note which of the kept tracks were joined."""
        return [
            f"face {number} was joined from {len(self.of_person[person])} pieces by its look"
            for number, person in enumerate(chosen)
            if len(self.of_person[person]) > 1
        ]


def find_pieces(tracks: Mapping[int, GrowingTrack], portraits: Portraits) -> Pieces:
    """Find the tracks of one person: similar, and never in the same frame."""
    numbers = sorted(tracks, key=lambda number: (tracks[number].frame_index[0], number))
    frames = [np.array(tracks[number].frame_index, np.int64) for number in numbers]
    apart = np.zeros((len(numbers), len(numbers)), np.bool_)
    for row, own in enumerate(frames):
        for column, other in enumerate(frames[:row]):
            meet = own[0] <= other[-1] and other[0] <= own[-1]
            both = meet and len(np.intersect1d(own, other, assume_unique=True)) > 0
            apart[row, column] = apart[column, row] = both
    groups = people_among([portraits.portrait([number]) for number in numbers], apart)
    of_group: dict[int, list[int]] = {}
    for number, group in zip(numbers, groups, strict=True):
        of_group.setdefault(group, []).append(number)
    return Pieces({members[0]: tuple(members) for members in of_group.values()}, portraits)
