"""What is known of the faces in a frame on its way through the follower."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dfercli.faces.detect import Faces


class TimedImage(Protocol):
    """What is followed: a picture with its time."""

    @property
    def pts_seconds(self) -> float:
        """Presentation time; strictly increasing."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""


FrameT = TypeVar("FrameT", bound=TimedImage)


@dataclass(frozen=True)
class Sighting:
    """One face in one frame: (2 + P, 2) float32, the box's two corners and the P points."""

    geometry: NDArray[np.float32]
    score: float
    detected: bool


@dataclass
class Step(Generic[FrameT]):
    """One frame on its way: `faces` where it is to be detected on, `seen` by track number.

    `picture` is what the detector is shown of it, once that was made.
    """

    frame: FrameT
    begins_scene: bool
    detect: bool
    picture: NDArray[np.uint8] | None
    faces: Faces | None = None
    seen: dict[int, Sighting] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)
    unnamed: list[Sighting] = field(default_factory=list)


def sightings_of(faces: Faces) -> Iterator[Sighting]:
    """The faces found in one image, one by one."""
    corners = faces.box_xyxy_px.reshape(-1, 2, 2)
    geometry = corners
    if faces.points_px is not None:
        geometry = np.concatenate([corners, faces.points_px], axis=1)
    for row, score in zip(geometry, faces.score.tolist(), strict=True):
        yield Sighting(row, score, detected=True)


def interpolate(before: Step[FrameT], between: list[Step[FrameT]], after: Step[FrameT]) -> None:
    """Put faces that are seen on both sides of frames into these, marked as not detected."""
    span = after.frame.pts_seconds - before.frame.pts_seconds
    for step in between:
        share = np.float32((step.frame.pts_seconds - before.frame.pts_seconds) / span)
        for number in sorted(before.seen.keys() & after.seen.keys()):
            step.seen[number] = part_way(before.seen[number], after.seen[number], share)


def part_way(first: Sighting, second: Sighting, share: np.float32) -> Sighting:
    """What lies between two sightings of one face; `share` is 0 for the first, 1 for the second."""
    geometry = first.geometry + share * (second.geometry - first.geometry)
    return Sighting(geometry, min(first.score, second.score), False)
