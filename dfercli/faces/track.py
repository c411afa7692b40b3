"""Give faces identities through time: by their motion, their size and their look.

The tracker predicts place and size of a followed face from its motion. It joins pairs of followed
and found faces, the closest first, within limits that widen with time. Only a face that looks like
a lost one takes its number up again: two people may sit down in the same place, and a number never
passes to another person.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dfercli.faces.detect import NO_TRACK, Faces
from dfercli.faces.look import ALIKE, OTHER_LOOK, SAME_LOOK, Look, difference

HIDDEN_DETECTIONS = 2.5  # a face hidden for two detections is found again, however far apart
TRUSTED_SECONDS = 0.3  # how long a motion is assumed to go on
SETTLE_SECONDS = 0.06  # motion over less time is mostly noise of the boxes
# A face that looks the same may have moved and grown by this much between two pictures.
ALIKE_REACH = 1.0
ALIKE_STRETCH = 0.5
CONTESTED_SECONDS = 0.3  # a face that appears where one was lost may be that one, still half hidden
LOOK_WEIGHT = 2.0  # of a difference in looks, against a distance in widths of the face
NEW_LOOK = 0.2  # share of the newest sighting in the remembered look
TOUCHING = 0.05  # overlap at which a box shows a part of another face, too
# Matches within these are sure without a look at the frames between two detections.
SURE_DISTANCE = 0.35
SURE_STRETCH = 0.25
# Within these a face moved evenly: its boxes between two detections can be interpolated, as they
# err by about a quarter of this.
CALM_DISTANCE = 0.12
CALM_STRETCH = 0.12
LOST_COST = 0.2  # for a lost person, against one who was not lost
RIVAL = 0.5  # a second candidate this much worse does not count
DOUBT = 0.15  # one only this much worse makes a match doubtful
STEADY_SCORE = 0.7  # a face scored lower may come and go


@dataclass
class _Person:
    """A followed face; it has a number from its second sighting on."""

    number: int
    seconds: float
    centre: NDArray[np.float64]
    size_px: float
    look: Look | None
    score: float
    history: list[tuple[float, int]]  # time and row of each sighting, until it has a number
    is_contested: bool = False  # whether somebody was lost where it appeared
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))  # pixels per second
    growth: float = 0.0  # of the logarithm of the size, per second
    is_lost: bool = False

    def expected(self, seconds: float) -> tuple[NDArray[np.float64], float]:
        """Its expected place and size at that time."""
        ahead = min(seconds - self.seconds, TRUSTED_SECONDS)
        grown = float(np.clip(self.growth * ahead, -0.4, 0.4))
        return self.centre + self.velocity * ahead, self.size_px * float(np.exp(grown))


@dataclass(frozen=True)
class Update:
    """The outcome for the faces of one image.

    Attributes:
        numbers: (n,) int64: the number of each face's track, or `NO_TRACK`.
        earlier: For each track that begins or goes on with this image, the (time, row) of its faces
            in earlier images that have no number yet: a face gets its number at the second
            sighting, or later where somebody was lost who may come back.
        lost: Numbers of the tracks that were in the previous image and are not in this one.
        found_again: Numbers of the tracks that had been lost.
        doubtful: Numbers whose match may be wrong: two faces met, or a face came back changed.
    """

    numbers: NDArray[np.int64]
    earlier: dict[int, list[tuple[float, int]]]
    lost: tuple[int, ...]
    found_again: tuple[int, ...]
    doubtful: tuple[int, ...]


@dataclass(frozen=True)
class _Pair:
    person: _Person
    row: int
    cost: float
    is_near: bool  # close enough to be sure if it were alone
    is_calm: bool  # as close as if it moved evenly


class FaceTracker:
    """Names the faces of successive images; numbers run from 0 through the whole source.

    Args:
        lost_seconds: How long a face may be hidden and keep its identity.
        new_track_score: A face scored lower continues a track, but starts none.
        smallest_px: Smaller faces need not be sure.
    """

    def __init__(
        self, lost_seconds: float, new_track_score: float, smallest_px: float = 0.0
    ) -> None:
        self._lost_seconds = lost_seconds
        self._smallest_px = smallest_px
        self._new_track_score = new_track_score
        self._next_number = 0
        self._people: list[_Person] = []
        self._seconds: float | None = None

    @property
    def waiting_since(self) -> float:
        """When the first face without a number yet was seen; infinity if there is none."""
        waiting = (person.history[0][0] for person in self._people if person.history)
        return min(waiting, default=float("inf"))

    def end_scene(self) -> dict[int, list[tuple[float, int]]]:
        """Forget all faces: another scene follows.

        Returns:
            Numbers for the faces that had none yet, with their (time, row).
        """
        waiting = [person for person in self._people if person.number == NO_TRACK]
        numbers = {self._next_number + count: p.history for count, p in enumerate(waiting)}
        self._next_number += len(waiting)
        self._people = []
        self._seconds = None
        return numbers

    def is_sure(
        self,
        faces: Faces,
        seconds: float,
        looks: list[Look | None] | None = None,
        calm: bool = False,
    ) -> bool:
        """Tell whether every face of the previous image is clearly one of these, and which.

        Args:
            faces: What was detected.
            seconds: Their time.
            looks: Of each face; None where they are not to count.
            calm: Whether all must have moved evenly, and nobody may have come or come back.
        """
        here = [person for person in self._people if not person.is_lost]
        steady = [
            person
            for person in here
            if person.score >= STEADY_SCORE and person.size_px >= self._smallest_px
        ]
        if not steady and not calm:
            return True
        pairs = self._pairs(here, faces, seconds, looks or [None] * len(faces))
        matches = _matches(pairs)
        for person in steady:
            match = matches.get(id(person))
            if match is None or not match.is_near or _rival_cost(match, pairs) < RIVAL:
                return False
        if not calm:
            return True
        known = {match.row for match in matches.values()}
        comes = any(
            row not in known and score >= self._new_track_score
            for row, score in enumerate(faces.score.tolist())
        )
        return not comes and all(match.is_calm for match in matches.values())

    def update(
        self, faces: Faces, seconds: float, looks: list[Look | None] | None = None
    ) -> Update:
        """Name the faces of the next image.

        Args:
            faces: What was detected.
            seconds: Later than the time before.
            looks: Of each face; None where they are not to count.
        """
        looks = looks or [None] * len(faces)
        apart = 0.0 if self._seconds is None else seconds - self._seconds
        keep = max(self._lost_seconds, HIDDEN_DETECTIONS * apart)
        self._people = [person for person in self._people if seconds - person.seconds <= keep]
        self._seconds = seconds
        pairs = self._pairs(self._people, faces, seconds, looks)
        return self._commit(_matches(pairs), pairs, faces, seconds, looks)

    def _pairs(
        self, people: list[_Person], faces: Faces, seconds: float, looks: list[Look | None]
    ) -> list[_Pair]:
        """Which person may be which face."""
        centres, sizes = _centres_and_sizes(faces)
        pairs = []
        for person in people:
            passed = seconds - person.seconds
            centre, size_px = person.expected(seconds)
            if person.is_lost:
                reach, stretch = min(1.5, 0.5 + 1.5 * passed), min(0.8, 0.3 + passed)
                unlike = ALIKE
            else:
                reach, stretch = min(1.3, 0.4 + 2.5 * passed), min(0.8, 0.25 + 2 * passed)
                unlike = OTHER_LOOK
            for row in range(len(faces)):
                looks_differ = difference(person.look, looks[row])
                distance, stretched = _apart(centre, size_px, centres[row], float(sizes[row]))
                alike = not person.is_lost and looks_differ <= ALIKE
                too_far = distance > (max(reach, ALIKE_REACH) if alike else reach)
                if too_far or stretched > (max(stretch, ALIKE_STRETCH) if alike else stretch):
                    continue
                if looks_differ > unlike:
                    continue
                is_near = distance <= SURE_DISTANCE and stretched <= SURE_STRETCH
                is_calm = distance <= CALM_DISTANCE and stretched <= CALM_STRETCH
                cost = distance + stretched + LOOK_WEIGHT * looks_differ
                pairs.append(_Pair(person, row, cost, is_near, is_calm))
        return pairs

    def _commit(
        self,
        matches: dict[int, _Pair],
        pairs: list[_Pair],
        faces: Faces,
        seconds: float,
        looks: list[Look | None],
    ) -> Update:
        centres, sizes = _centres_and_sizes(faces)
        touched = _touched(faces)
        numbers = np.full(len(faces), NO_TRACK, np.int64)
        earlier: dict[int, list[tuple[float, int]]] = {}
        lost, again, doubtful = [], [], []
        met = _who_met(matches, pairs)
        kept: list[_Person] = []
        for person in self._people:
            match = matches.get(id(person))
            if match is None:
                if person.number != NO_TRACK:
                    lost += [] if person.is_lost else [person.number]
                    person.is_lost = True
                    kept.append(person)
                continue
            row = match.row
            if person.is_lost:
                again.append(person.number)
                earlier[person.number] = _history_of_rival(match, pairs)
            looks_differ = difference(person.look, looks[row])
            if id(person) in met or (person.is_lost and looks_differ > SAME_LOOK):
                doubtful.append(person.number)
            _move(person, centres[row], float(sizes[row]), seconds)
            look = looks[row]
            if not touched[row] and person.look is not None and look is not None:
                person.look = person.look.blended(look, NEW_LOOK)
            person.score, person.is_lost = float(faces.score[row]), False
            if person.number == NO_TRACK:
                waited = seconds - person.history[0][0]
                if person.is_contested and waited < CONTESTED_SECONDS:
                    person.history.append((seconds, row))
                else:
                    person.number = self._next_number
                    self._next_number += 1
                    earlier[person.number] = person.history
                    person.history = []
            numbers[row] = person.number
            kept.append(person)
        self._people = kept
        named = {match.row for match in matches.values()}
        for row in range(len(faces)):
            if row not in named and faces.score[row] >= self._new_track_score:
                self._begin(row, seconds, centres[row], float(sizes[row]), faces, looks)
        doubtful = [number for number in doubtful if number != NO_TRACK]
        return Update(numbers, earlier, tuple(lost), tuple(again), tuple(doubtful))

    def _begin(
        self,
        row: int,
        seconds: float,
        centre: NDArray[np.float64],
        size_px: float,
        faces: Faces,
        looks: list[Look | None],
    ) -> None:
        """Begin to follow a face that belongs to nobody."""
        gone = [person for person in self._people if person.is_lost]
        near = [_apart(person.centre, person.size_px, centre, size_px) for person in gone]
        person = _Person(
            NO_TRACK,
            seconds,
            centre,
            size_px,
            looks[row],
            float(faces.score[row]),
            history=[(seconds, row)],
            is_contested=any(max(distances) <= ALIKE_REACH for distances in near),
        )
        self._people.append(person)


def _move(person: _Person, centre: NDArray[np.float64], size_px: float, seconds: float) -> None:
    passed = seconds - person.seconds
    if person.is_lost:
        # Its motion in between is unknown.
        person.velocity, person.growth = np.zeros(2), 0.0
    else:
        share = passed / (passed + SETTLE_SECONDS)
        person.velocity += share * ((centre - person.centre) / passed - person.velocity)
        person.growth += share * (float(np.log(size_px / person.size_px)) / passed - person.growth)
    person.centre, person.size_px, person.seconds = centre, size_px, seconds


def _apart(
    centre: NDArray[np.float64], size_px: float, other: NDArray[np.float64], other_px: float
) -> tuple[float, float]:
    """Distance of two faces in their sizes, and the logarithm of the ratio of these."""
    distance = float(np.linalg.norm(other - centre)) / float(np.sqrt(size_px * other_px))
    return distance, abs(float(np.log(other_px / size_px)))


def _matches(pairs: list[_Pair]) -> dict[int, _Pair]:
    """Join people and faces, the closest first; by the `id` of the person.

    Somebody who was lost comes second if the previous image explains a face as well, and somebody
    without a number comes last.
    """
    matches: dict[int, _Pair] = {}
    taken: set[int] = set()

    def turn(pair: _Pair) -> tuple[bool, float]:
        return pair.person.number == NO_TRACK, pair.cost + LOST_COST * pair.person.is_lost

    for pair in sorted(pairs, key=turn):
        if id(pair.person) not in matches and pair.row not in taken:
            matches[id(pair.person)] = pair
            taken.add(pair.row)
    return matches


def _history_of_rival(match: _Pair, pairs: list[_Pair]) -> list[tuple[float, int]]:
    """The sightings of a face without a number that turns out to be a lost person."""
    rivals = [pair for pair in pairs if pair.row == match.row and pair.person.history]
    return min(rivals, key=lambda pair: pair.cost).person.history if rivals else []


def _rival_cost(match: _Pair, pairs: list[_Pair]) -> float:
    """How much worse the best other use of a match's person or face is."""
    others = [
        pair.cost for pair in pairs if (pair.person is match.person) != (pair.row == match.row)
    ]
    return min(others, default=float("inf")) - match.cost


def _who_met(matches: dict[int, _Pair], pairs: list[_Pair]) -> set[int]:
    """The people whose faces might be swapped, by `id`: always two or more."""
    owners = {match.row: key for key, match in matches.items()}
    met: set[int] = set()
    for key, match in matches.items():
        for pair in pairs:
            shares_one = (pair.person is match.person) != (pair.row == match.row)
            if shares_one and pair.cost - match.cost < DOUBT:
                met |= {key, id(pair.person), owners.get(pair.row, key)}
    return met


def _centres_and_sizes(faces: Faces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    boxes = faces.box_xyxy_px.astype(np.float64).reshape(-1, 2, 2)
    sides = np.maximum(boxes[:, 1] - boxes[:, 0], 1.0)
    return boxes.mean(axis=1), np.sqrt(sides.prod(axis=1))


def _touched(faces: Faces) -> NDArray[np.bool_]:
    """(n,) whether a box overlaps another one."""
    return np.array(
        [max(_overlaps(faces, row), default=0.0) > TOUCHING for row in range(len(faces))]
    )


def _overlaps(faces: Faces, row: int) -> Iterator[float]:
    """The parts of a box that the others cover."""
    boxes = faces.box_xyxy_px
    own = float(np.prod(np.maximum(boxes[row, 2:] - boxes[row, :2], 1e-6)))
    for other in range(len(faces)):
        if other != row:
            sides = np.minimum(boxes[row, 2:], boxes[other, 2:]) - np.maximum(
                boxes[row, :2], boxes[other, :2]
            )
            yield float(np.prod(np.maximum(sides, 0))) / own
