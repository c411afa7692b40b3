"""The detectors of face-alignment: RetinaFace, BlazeFace, SCRFD and S3FD, in batches on a GPU."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfercli.artifacts.onnx_files import read_onnx
from dfercli.artifacts.torch_files import check_torch_file
from dfercli.artifacts.weight_files import is_known
from dfercli.errors import ArtifactError
from dfercli.faces.detect import Faces, no_faces, without_doubles

GPU_BATCH = 8
OVERLAP = 0.3
SCORE = 0.5


class NetworkDetector:
    """One of face-alignment's detectors; boxes and scores only.

    Args:
        name: `retinaface`, `blazeface` (the back model), `scrfd` or `sfd`.
        weights: Its file; BlazeFace's anchors (`anchorsback.npy`) lie beside it.
        device: `cpu` or `cuda`.

    Raises:
        ArtifactError: the file cannot be read or does not fit, or a package is missing.
    """

    smallest_face_px = 24
    new_track_score = 0.6

    def __init__(self, name: str, weights: Path, device: str) -> None:
        self.name = name
        self.batch_size = GPU_BATCH if device.startswith("cuda") else 1
        _check_weights(name, weights)
        try:
            self._network = _build(name, weights, device)
        except ImportError as error:
            raise ArtifactError(
                f"--detector {name} needs the package {error.name or 'onnxruntime'}",
                hint=f"pip install {error.name or 'onnxruntime'}",
            ) from error
        except Exception as error:  # a broken pickle can raise anything
            fault = (str(error).splitlines() or [type(error).__name__])[0]
            raise ArtifactError(f"{weights} does not fit {name}: {fault}") from error

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Find faces; images of one size go through the network together."""
        if self.name == "blazeface":
            return [self._detect_in_squares(image) for image in images]
        return self._detect_batch(images)

    def _detect_batch(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        if len({image.shape for image in images}) > 1:
            return [self._detect_batch([image])[0] for image in images]
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        # face-alignment passes colours in the wrong order to these two: RetinaFace was trained
        # on BGR and gets RGB, SCRFD the other way round.
        if self.name in ("retinaface", "scrfd"):
            batch = batch.flip(1)
        return [_as_faces(rows) for rows in self._network.detect_from_batch(batch)]

    def _detect_in_squares(self, image: NDArray[np.uint8]) -> Faces:
        """BlazeFace sees the central square only, so it gets overlapping squares side by side."""
        height, width = image.shape[:2]
        side = min(height, width)
        count = int(np.ceil(max(height, width) / side))
        lefts = np.linspace(0, width - side, count).astype(int)
        tops = np.linspace(0, height - side, count).astype(int)
        squares = [
            image[top : top + side, left : left + side]
            for left, top in zip(lefts, tops, strict=True)
        ]
        found_in = [
            faces
            for begin in range(0, count, GPU_BATCH)
            for faces in self._detect_batch(squares[begin : begin + GPU_BATCH])
        ]
        found = [
            faces.moved(float(left), float(top))
            for faces, left, top in zip(found_in, lefts, tops, strict=True)
        ]
        return without_doubles(found, OVERLAP)


def _check_weights(name: str, weights: Path) -> None:
    """Refuse a file that is more than weights, before face-alignment reads it."""
    if is_known(weights):
        return
    if name == "scrfd":
        read_onnx(weights)
    else:
        check_torch_file(weights)


def _build(name: str, weights: Path, device: str) -> Any:
    path = str(weights)
    if name == "retinaface":
        from face_alignment.detection.retinaface import FaceDetector

        return FaceDetector(device, path, confidence_threshold=SCORE)
    if name == "blazeface":
        from face_alignment.detection.blazeface import FaceDetector

        anchors = str(weights.with_name("anchorsback.npy"))
        return FaceDetector(
            device,
            back_model=True,
            path_to_detector=path,
            path_to_anchor=anchors,
            min_score_thresh=SCORE,
        )
    if name == "scrfd":
        from face_alignment.detection.scrfd import FaceDetector

        return FaceDetector(device, path, confidence_threshold=SCORE)
    from face_alignment.detection.sfd import FaceDetector

    return FaceDetector(device, path, filter_threshold=SCORE)


def _as_faces(rows: Any) -> Faces:
    """Faces from rows of left, top, right, bottom, score; no faces come as [] or [[]]."""
    table = np.asarray(rows, np.float32).reshape(-1, 5) if np.size(rows) else np.zeros((0, 5))
    if len(table) == 0:
        return no_faces()
    table = table[np.argsort(-table[:, 4], kind="stable")]
    return Faces(table[:, :4].astype(np.float32), np.clip(table[:, 4], 0, 1).astype(np.float32))
