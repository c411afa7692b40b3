"""Five points of a face from its 68 landmarks, for detectors that give none or only rough ones."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.faces.crop import square_transform, warp
from dfercli.faces.detect import Detector, Faces
from dfercli.faces.landmarks import LandmarkFinder

CROP_PX = 256  # input size of the network
MARGIN = 0.25
# Of iBUG 300-W, the eye on the left of an upright picture first: six points around each eye, the
# tip of the nose, the corners of the mouth.
FIVE_OF_68 = (range(36, 42), range(42, 48), (30,), (48,), (54,))


class LandmarkPoints:
    """A detector whose five points come from 68 landmarks; else as the one that it wraps.

    Args:
        detector: Finds the boxes.
        device: `cpu` or `cuda`, for the landmarks.

    Raises:
        ArtifactError: the weights of the landmarks are not there and cannot be fetched.
    """

    def __init__(self, detector: Detector, device: str) -> None:
        self.name = detector.name
        self.batch_size = detector.batch_size
        self.smallest_face_px = detector.smallest_face_px
        self.new_track_score = detector.new_track_score
        self._detector = detector
        self._finder = LandmarkFinder(device, MARGIN)

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Find faces, and the points of all of them together."""
        found = self._detector.detect(images)
        transforms = [
            square_transform(box, CROP_PX, MARGIN) for faces in found for box in faces.box_xyxy_px
        ]
        owners = [image for image, faces in zip(images, found, strict=True) for _ in faces.score]
        crops = [warp(*pair, CROP_PX) for pair in zip(owners, transforms, strict=True)]
        landmarks = self._finder.find(crops)  # (faces of all images, 68, 2)
        points = np.stack([landmarks[:, list(part)].mean(axis=1) for part in FIVE_OF_68], axis=1)
        in_picture = [
            cv2.transform(row[None], cv2.invertAffineTransform(transform))[0]
            for row, transform in zip(points, transforms, strict=True)
        ]
        results, start = [], 0
        for faces in found:
            own = np.array(in_picture[start : start + len(faces)], np.float32).reshape(-1, 5, 2)
            results.append(Faces(faces.box_xyxy_px, faces.score, own))
            start += len(faces)
        return results
