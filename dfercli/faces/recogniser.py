"""SFace, OpenCV's small network that tells people apart: a list of numbers for each face."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.onnx_files import read_onnx
from dfercli.artifacts.pictures import silent_opencv
from dfercli.artifacts.weight_files import is_known
from dfercli.errors import ArtifactError

SIDE_PX = 112  # of the upright face that the network sees


class FaceRecogniser:
    """Describes faces by numbers that are similar for one person.

    Args:
        weights: The ONNX file.

    Raises:
        ArtifactError: the file cannot be read, is no such network, or more than a computation.
    """

    def __init__(self, weights: Path) -> None:
        try:
            model = weights.read_bytes() if is_known(weights) else read_onnx(weights)
            content = np.frombuffer(model, np.uint8)
            with silent_opencv():
                self._network = cv2.FaceRecognizerSF.create("onnx", content, np.empty(0, np.uint8))
                ramp = np.arange(SIDE_PX, dtype=np.uint8)  # not one grey, which may give zeros
                found = self._feature(np.tile(ramp[:, None, None], (1, SIDE_PX, 3)))
        except OSError as error:
            raise ArtifactError(f"cannot read {weights}: {error.strerror or error}") from error
        except cv2.error as error:
            raise ArtifactError(f"{weights} is not an SFace model: {error.err}") from error
        if found is None:
            raise ArtifactError(f"{weights} is not an SFace model: it gives no numbers")

    def describe(
        self, image: NDArray[np.uint8], points_px: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        """The numbers of a face, (D,) float32 of unit length.

        Args:
            image: (H, W, 3) uint8 RGB.
            points_px: (5, 2) as in `Faces.points_px`.

        Returns:
            The numbers; None where the network gives none.
        """
        # As a row of YuNet, of which only the five points are read.
        row = np.concatenate([np.zeros(4), points_px.ravel(), np.ones(1)]).astype(np.float32)
        upright: Any = self._network.alignCrop(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), row)
        return self._feature(upright)

    def _feature(self, upright: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        numbers = np.asarray(self._network.feature(upright), np.float32).ravel()
        length = float(np.linalg.norm(numbers))
        return numbers / np.float32(length) if np.isfinite(length) and length > 0 else None
