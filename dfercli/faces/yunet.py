"""YuNet, OpenCV's small face detector: boxes and five points in a few milliseconds."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.onnx_files import read_onnx
from dfercli.artifacts.pictures import scaled, silent_opencv
from dfercli.artifacts.weight_files import is_known
from dfercli.errors import ArtifactError
from dfercli.faces.detect import Faces, no_faces, opencv_faults, without_doubles

SCORE = 0.5
OVERLAP = 0.3
CANDIDATES = 5000
# Its memory grows with the picture: larger ones are looked at in parts that share a border as wide
# as the faces that are looked for in parts; larger faces are looked for in a smaller picture.
PART_PIXELS = 2_500_000
SHARED_PX = 480
PART_SIDE_PX = 1580


class YuNetDetector:
    """Boxes, scores and five points.

    Args:
        weights: The ONNX file.

    Raises:
        ArtifactError: the file cannot be read, is not a YuNet, or more than a computation.
    """

    name = "yunet"
    batch_size = 1
    smallest_face_px = 16
    new_track_score = 0.8  # real faces score higher, hair and hands lower

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
            raise ArtifactError(f"{weights} is not a YuNet model: {error.err}") from error

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Find faces."""
        found = []
        for image in images:
            with opencv_faults(self.name, image):
                is_small = image.shape[0] * image.shape[1] <= PART_PIXELS
                found.append(self._detect_one(image) if is_small else self._detect_in_parts(image))
        return found

    def _detect_in_parts(self, image: NDArray[np.uint8]) -> Faces:
        height, width = image.shape[:2]
        scale = (PART_PIXELS / (height * width)) ** 0.5
        found = [self._detect_one(scaled(image, scale)).moved(0.0, 0.0, 1.0 / scale)]
        for top, bottom in _stretches(height, PART_SIDE_PX):
            for left, right in _stretches(width, PART_SIDE_PX):
                faces = self._detect_one(np.ascontiguousarray(image[top:bottom, left:right]))
                whole = _touches_no_seam(faces, (left, top, right, bottom), (width, height))
                found.append(faces.select(whole).moved(float(left), float(top)))
        return without_doubles(found, OVERLAP)

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


def _stretches(length: int, longest: int) -> list[tuple[int, int]]:
    """Equal stretches of a side, none of them longer than `longest`, that share `SHARED_PX`."""
    count = max(1, -(-(length - SHARED_PX) // (longest - SHARED_PX)))
    step = (length - SHARED_PX) / count
    starts = [round(step * number) for number in range(count)]
    ends = [round(step * (number + 1)) + SHARED_PX for number in range(count - 1)]
    return list(zip(starts, [*ends, length], strict=True))


def _touches_no_seam(
    faces: Faces, part: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which faces lie whole in a part (left, top, right, bottom) of a picture (width, height).

    A face that ends where the part does, but not the picture, is seen whole in the next part, or
    is larger than what two parts share.
    """
    left, top, right, bottom = part
    boxes = faces.box_xyxy_px
    whole = np.ones(len(faces), np.bool_)
    if left > 0:
        whole &= boxes[:, 0] > 0
    if top > 0:
        whole &= boxes[:, 1] > 0
    if right < size[0]:
        whole &= boxes[:, 2] < right - left
    if bottom < size[1]:
        whole &= boxes[:, 3] < bottom - top
    return whole
