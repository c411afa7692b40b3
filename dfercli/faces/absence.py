"""Why a face that was followed is not found any more, as far as the pictures tell."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dfercli.faces.look import ALIKE, Look, difference, look_of

Reason = Literal[
    "no face found",
    "too small",
    "below the score",
    "turned away",
    "behind something",
    "left the picture",
    "cut",
]
NO_FACE: Reason = "no face found"
_IN_WORDS = {"cut": "scene cut"}

AT_THE_EDGE = 0.08  # of the face's size: how near to the border of the picture a face leaves it
COVERED = 0.3  # of the face by another face
# The tip of the nose, from the middle of the eyes towards one of them, in distances of the eyes.
TURNED_AWAY = 0.5


@dataclass(frozen=True)
class Absence:
    """A time in which a face that was followed is not seen.

    Attributes:
        track: Its number.
        start_seconds: When it was last seen.
        end_seconds: When it was found again, None where it was not.
        reason: Why.
    """

    track: int
    start_seconds: float
    end_seconds: float | None
    reason: Reason


def in_words(reason: str) -> str:
    """A reason as users read it, also one of a store that an earlier version made."""
    return _IN_WORDS.get(reason, reason)


def why_lost(
    geometry: NDArray[np.float32],
    look: Look | None,
    image: NDArray[np.uint8],
    boxes_xyxy_px: NDArray[np.float32],
    smallest_px: float,
) -> Reason:
    """Judge by the last sighting of a face and the first picture without it.

    Args:
        geometry: (2 + P, 2) the corners of its box and its P points, when it was last seen.
        look: Of the face, before.
        image: (H, W, 3) uint8 RGB, the first picture without it.
        boxes_xyxy_px: (n, 4) the faces that were found in that picture.
        smallest_px: Smaller faces are not looked for.
    """
    low, high = geometry[0], geometry[1]
    size = float((high - low).max())
    if size < 1.1 * smallest_px:
        return "too small"
    margin = AT_THE_EDGE * size
    height, width = image.shape[:2]
    if min(low) < margin or high[0] > width - margin or high[1] > height - margin:
        return "left the picture"
    if any(_covered(low, high, box) > COVERED for box in boxes_xyxy_px):
        return "behind something"
    if len(geometry) == 7 and turn(geometry[2:]) > TURNED_AWAY:
        return "turned away"
    if difference(look, look_of(image, geometry[:2].reshape(4))) > ALIKE:
        return "behind something"
    return "below the score"


def _covered(
    low: NDArray[np.float32], high: NDArray[np.float32], box: NDArray[np.float32]
) -> float:
    """The part of a box that another one covers."""
    sides = np.maximum(np.minimum(high, box[2:]) - np.maximum(low, box[:2]), 0)
    return float(sides.prod() / max(1e-6, float((high - low).prod())))


def turn(points: NDArray[np.float32]) -> float:
    """How far a face is turned to the side, by its five points: 0 in front, 0.5 in profile."""
    across = points[1] - points[0]
    apart = max(float(np.linalg.norm(across)), 1e-6)
    middle = (points[0] + points[1]) / 2
    return abs(float((points[2] - middle) @ across)) / apart**2
