"""How somebody looks, in a few hundred numbers: enough to tell people in one scene apart."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 32
BINS = (6, 12, 12)  # lightness and the two colours of CIELAB, those of skin and hair only
RANGES = [0, 256, 96, 176, 96, 176]
CHEST = (-0.1, 0.15, 1.1, 0.65)  # left, top, right, bottom from the lower left corner of the face
CHEST_WEIGHT = 0.2  # clothes tell people apart, but hands and other people come before them
# Differences, as measured: one person in one video up to 0.07, two people in one photograph above
# 0.12 in 99 % of the pairs.
SAME_LOOK = 0.08
ALIKE = 0.13
OTHER_LOOK = 0.35


@dataclass(frozen=True)
class Look:
    """Colours of somebody: (864,) float32 histograms that sum to 1.

    Attributes:
        face: Of the face.
        chest: Of the area below it; None if that is outside the picture.
    """

    face: NDArray[np.float32]
    chest: NDArray[np.float32] | None

    def blended(self, other: "Look", share: float) -> "Look":
        """This look with `share` of another one."""
        chest = other.chest
        if self.chest is not None and other.chest is not None:
            chest = (1 - share) * self.chest + share * other.chest
        return Look((1 - share) * self.face + share * other.face, chest)


def look_of(image: NDArray[np.uint8], box_xyxy_px: NDArray[np.float32]) -> Look | None:
    """The look of a face, which does not change much when a head turns.

    Args:
        image: (H, W, 3) uint8 RGB.
        box_xyxy_px: (4,) left, top, right, bottom.

    Returns:
        The look, or None if the box lies outside the image.
    """
    left, top, right, bottom = (float(value) for value in box_xyxy_px)
    face = _colours(image, left, top, right, bottom)
    if face is None:
        return None
    width, height = right - left, bottom - top
    below = (left + CHEST[0] * width, bottom + CHEST[1] * height)
    until = (left + CHEST[2] * width, bottom + CHEST[3] * height)
    whole = until[1] <= image.shape[0]
    return Look(face, _colours(image, *below, *until) if whole else None)


def _colours(
    image: NDArray[np.uint8], left: float, top: float, right: float, bottom: float
) -> NDArray[np.float32] | None:
    first = max(0, int(top)), max(0, int(left))
    last = min(image.shape[0], int(bottom)), min(image.shape[1], int(right))
    shortest = min(last[0] - first[0], last[1] - first[1])
    if shortest < 2:
        return None
    step = max(1, shortest // (2 * SIDE_PX))
    part = np.ascontiguousarray(image[first[0] : last[0] : step, first[1] : last[1] : step])
    small = cv2.resize(part, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    lab[..., 1:] = np.clip(lab[..., 1:], RANGES[2], RANGES[3] - 1)  # under coloured light, too
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(BINS), RANGES)
    total = float(counts.sum())
    return np.asarray(counts.ravel() / total, np.float32) if total > 0 else None


def difference(one: Look | None, other: Look | None) -> float:
    """0 for the same colours, 1 for no common one; 0 if a look is unknown."""
    if one is None or other is None:
        return 0.0
    differs = _distance(one.face, other.face)
    if one.chest is None or other.chest is None:
        return differs
    return differs + CHEST_WEIGHT * (_distance(one.chest, other.chest) - differs)


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of two histograms: one minus the coefficient of Bhattacharyya."""
    return max(0.0, 1.0 - float(np.sqrt(one * other).sum()))
