"""Five points on face crops by YuNet: a weak stand-in for the 68 landmarks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.weight_files import fetch, five_point_file
from dfercli.faces.boxes_in_crops import face_box
from dfercli.faces.yunet import YuNetDetector

NUM_POINTS = 5
MIN_OVERLAP = 0.3  # of the face that is found and the face that the crop was cut for


class FivePointFinder:
    """Finds both eyes, the tip of the nose and the corners of the mouth.

    Args:
        margin: Part of the face box's longer side around it in the crops.
        weights: YuNet's file, instead of the one in the cache.

    Raises:
        ArtifactError: YuNet's weights are not there and cannot be fetched.
    """

    def __init__(self, margin: float, weights: Path | None = None) -> None:
        self._detector = YuNetDetector(weights or fetch(five_point_file()))
        self._margin = margin

    def find(self, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Find the points on face crops.

        Args:
            crops: n images (H, W, 3) uint8 RGB.

        Returns:
            (n, 5, 2) float32 in pixels of the crops, the eye on the left of the picture first; NaN
            where YuNet finds no face in the place of the crop's own.
        """
        points = np.full((len(crops), NUM_POINTS, 2), np.nan, np.float32)
        for row, (crop, faces) in enumerate(zip(crops, self._detector.detect(crops), strict=True)):
            own = np.array(face_box(crop, self._margin), np.float32)
            overlaps = [_overlap(box, own) for box in faces.box_xyxy_px]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= MIN_OVERLAP and faces.points_px is not None:
                points[row] = faces.points_px[best]
        return points


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    areas = float(np.prod(one[2:] - one[:2])) + float(np.prod(other[2:] - other[:2]))
    return shared / max(areas - shared, 1e-6)
