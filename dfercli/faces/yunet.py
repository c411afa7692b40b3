"""YuNet, a small face detector: boxes and five points in a few milliseconds.

The network runs in ONNX Runtime, in half the time that OpenCV takes for it. Reading its outputs
follows OpenCV's `FaceDetectorYN`; tests compare the two. Source: Wu, Peng, Yu, "YuNet: A Tiny
Millisecond-level Face Detector", Machine Intelligence Research 2023.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.onnx_files import import_runtime, read_onnx
from dfercli.artifacts.onnx_sizes import with_open_size
from dfercli.artifacts.pictures import scaled
from dfercli.artifacts.weight_files import is_known
from dfercli.errors import ArtifactError, DataError
from dfercli.faces.detect import Faces, no_faces, without_doubles

SCORE = 0.5
OVERLAP = 0.3
# The best cells and faces of a picture, in which a bad file finds any number.
MOST_CELLS, MOST_FACES = 5000, 500
INPUT = "input"
# Each cell of these many pixels a side may hold one face. Outputs for cells of 8 px: `cls_8` and
# `obj_8` (1, cells, 1), whose product is a squared score; `bbox_8` (1, cells, 4): the centre from
# the corner of the cell, and the logarithms of the sides, in cells; `kps_8` (1, cells, 10): points.
STRIDES_PX = (8, 16, 32)
LOG_LARGEST, FURTHEST = 10.0, 1e6  # in cells: a file of a stranger may claim more than floats hold
WIDTHS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
OUTPUTS = tuple(f"{kind}_{stride}" for stride in STRIDES_PX for kind in WIDTHS)
# Its memory grows with the picture: larger ones are looked at in parts that share a border as wide
# as the faces that are looked for in parts; larger faces are looked for in a smaller picture.
PART_PIXELS = 2_500_000
SHARED_PX = 480
PART_SIDE_PX = 1580


class YuNetDetector:
    """Boxes, scores and five points.

    It takes as many threads as OpenCV has when it is built.

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
            model = weights.read_bytes() if is_known(weights) else read_onnx(weights)
        except OSError as error:
            raise ArtifactError(f"cannot read {weights}: {error.strerror or error}") from error
        self._session = _session(model, weights)
        try:
            self._run(np.zeros((32, 32, 3), np.uint8))
        except DataError as error:
            raise ArtifactError(f"{weights} is not a YuNet model: {error.message}") from error

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Find faces."""
        found = []
        for image in images:
            is_small = image.shape[0] * image.shape[1] <= PART_PIXELS
            found.append(self._detect_one(image) if is_small else self._detect_in_parts(image))
        return found

    def _detect_in_parts(self, image: NDArray[np.uint8]) -> Faces:
        height, width = image.shape[:2]
        scale = (PART_PIXELS / (height * width)) ** 0.5
        found = [self._detect_one(scaled(image, scale)).moved(0.0, 0.0, 1.0 / scale)]
        for top, bottom in _stretches(height, PART_SIDE_PX):
            for left, right in _stretches(width, PART_SIDE_PX):
                faces = self._detect_one(image[top:bottom, left:right])
                whole = _touches_no_seam(faces, (left, top, right, bottom), (width, height))
                found.append(faces.select(whole).moved(float(left), float(top)))
        return without_doubles(found, OVERLAP)

    def _detect_one(self, image: NDArray[np.uint8]) -> Faces:
        columns = _padded(image.shape[1])
        outputs = self._run(image)
        faces = [_faces_of(outputs, stride, columns // stride) for stride in STRIDES_PX]
        found = without_doubles(faces, OVERLAP)
        return found.select(np.arange(min(len(found), MOST_FACES)))

    def _run(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """The outputs for a picture ((H, W, 3) uint8 RGB), without their first dimension.

        Raises:
            DataError: it cannot look at such a picture.
        """
        height, width = image.shape[:2]
        rows, columns = _padded(height), _padded(width)
        picture = np.zeros((1, 3, rows, columns), np.float32)  # black to the right and below
        picture[0, :, :height, :width] = image[..., ::-1].transpose(2, 0, 1)  # BGR
        try:
            values = self._session.run(OUTPUTS, {INPUT: picture})
        except Exception as error:  # ONNX Runtime raises a dozen unrelated kinds; all mean this
            raise DataError(
                f"the detector yunet cannot process a picture of {width} x {height} pixels: "
                f"{str(error).splitlines()[0]}"
            ) from error
        for name, value in zip(OUTPUTS, values, strict=True):
            kind, stride = name.split("_")
            cells = (rows // int(stride)) * (columns // int(stride))
            if value.shape != (1, cells, WIDTHS[kind]):
                raise DataError(f"its output {name} has the size {list(value.shape)}")
            if not np.isfinite(value).all():
                raise DataError(f"the detector yunet gives {name} that are not numbers")
        return {name: value[0] for name, value in zip(OUTPUTS, values, strict=True)}


def _session(model: bytes, weights: Path) -> Any:
    """The network, ready to run.

    Raises:
        ArtifactError: it is not a YuNet.
    """
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = max(1, cv2.getNumThreads())
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it keeps blocks for each size of picture: 90 MB at 8K
    try:
        session = runtime.InferenceSession(
            with_open_size(model, INPUT), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's many kinds, as above
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{weights} is not a YuNet model: {reason}") from error
    names = [value.name for value in session.get_inputs()]
    missing = {*OUTPUTS} - {value.name for value in session.get_outputs()}
    if names != [INPUT] or missing:
        raise ArtifactError(f"{weights} is not a YuNet model: its inputs and outputs are others")
    return session


def _padded(length: int) -> int:
    """A length that whole cells of each size fill."""
    return -(-length // STRIDES_PX[-1]) * STRIDES_PX[-1]


def _faces_of(outputs: dict[str, NDArray[np.float32]], stride: int, columns: int) -> Faces:
    """The faces in the cells of one size, in pixels."""
    classes, objects = outputs[f"cls_{stride}"][:, 0], outputs[f"obj_{stride}"][:, 0]
    scores = np.sqrt(classes.clip(0, 1) * objects.clip(0, 1))
    (cells,) = np.nonzero(scores >= SCORE)
    if not len(cells):
        return no_faces()
    cells = cells[np.argsort(-scores[cells], kind="stable")[:MOST_CELLS]]
    corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)  # (n, 2)
    boxes = outputs[f"bbox_{stride}"][cells].clip(-FURTHEST, FURTHEST)
    centres, sides = corners + boxes[:, :2], np.exp(boxes[:, 2:].clip(-LOG_LARGEST, LOG_LARGEST))
    points = outputs[f"kps_{stride}"][cells].clip(-FURTHEST, FURTHEST)
    points = points.reshape(-1, 5, 2) + corners[:, None]
    bounds = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    return Faces(stride * bounds, scores[cells], stride * points)


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
