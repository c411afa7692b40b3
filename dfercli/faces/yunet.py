"""YuNet, OpenCV's small face detector: boxes and five points in a few milliseconds."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.onnx_files import read_onnx
from dfercli.artifacts.pictures import silent_opencv
from dfercli.artifacts.weight_files import is_known
from dfercli.errors import ArtifactError
from dfercli.faces.detect import Faces, no_faces

SCORE = 0.5
OVERLAP = 0.3
CANDIDATES = 5000


class YuNetDetector:
    """Boxes, scores and five points.

    Args:
        weights: The ONNX file.

    Raises:
        ArtifactError: the file cannot be read, is no YuNet, or more than a computation.
    """

    name = "yunet"
    batch_size = 1
    smallest_face_px = 16
    new_track_score = 0.8  # real faces reach it, hair and hands do not

    def __init__(self, weights: Path) -> None:
        try:
            # As bytes: OpenCV cannot open every path that Python can.
            model = weights.read_bytes() if is_known(weights) else read_onnx(weights)
            content = np.frombuffer(model, np.uint8)
            with silent_opencv():
                self._network = cv2.FaceDetectorYN.create(
                    "onnx", content, np.empty(0, np.uint8), (320, 320), SCORE, OVERLAP, CANDIDATES
                )
                self._network.detect(np.zeros((320, 320, 3), np.uint8))
        except OSError as error:
            raise ArtifactError(f"cannot read {weights}: {error.strerror or error}") from error
        except cv2.error as error:
            raise ArtifactError(f"{weights} is no YuNet model: {error.err}") from error

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Find faces."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Faces:
        self._network.setInputSize((image.shape[1], image.shape[0]))
        result: Any = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        found = result[1]  # None where there is no face
        if found is None:
            return no_faces()
        # Columns: x, y, width, height, five points (the eye on the left of the image first), score.
        rows = np.asarray(found, np.float32)
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        boxes = rows[:, :4].copy()
        boxes[:, 2:] += boxes[:, :2]
        return Faces(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))
