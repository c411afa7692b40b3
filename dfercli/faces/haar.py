"""OpenCV's Haar cascade for frontal faces: it ships with OpenCV, so nothing is downloaded."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.errors import ArtifactError
from dfercli.faces.detect import Faces, no_faces, opencv_faults

SCALE_FACTOR = 1.1
NEIGHBOURS = 5


class HaarDetector:
    """Viola and Jones' detector; boxes only, every score is 1.

    Raises:
        ArtifactError: this OpenCV has no cascade (version 5 dropped them).
    """

    name = "haar"
    batch_size = 1
    smallest_face_px = 30  # the cascade's window is 24 px wide
    new_track_score = 0.5

    def __init__(self) -> None:
        path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise ArtifactError(
                f"cannot read the Haar cascade {path}", hint="install opencv-python below version 5"
            )

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Find frontal faces."""
        found = []
        for image in images:
            with opencv_faults(self.name, image):
                found.append(self._detect_one(image))
        return found

    def _detect_one(self, image: NDArray[np.uint8]) -> Faces:
        grey = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        found = self._cascade.detectMultiScale(
            grey, scaleFactor=SCALE_FACTOR, minNeighbors=NEIGHBOURS
        )
        if len(found) == 0:
            return no_faces()
        boxes = np.asarray(found, np.float32)
        boxes = boxes[np.argsort(-boxes[:, 2], kind="stable")]
        boxes[:, 2:] += boxes[:, :2]
        return Faces(boxes, np.ones(len(boxes), np.float32))
