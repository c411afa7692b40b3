"""68 points on face crops, with face-alignment's network (2DFAN-4)."""

import numpy as np
import torch
from face_alignment import FaceAlignment, LandmarksType
from face_alignment.utils import CENTER_Y_OFFSET, REFERENCE_SCALE, crop, flip, get_preds_fromhm
from numpy.typing import NDArray

from dfercli.artifacts.weight_files import fetch, weight_file
from dfercli.faces.boxes_in_crops import face_box

NUM_POINTS = 68
BATCH = 16


class LandmarkFinder:
    """Finds the 68 points of iBUG 300-W.

    Args:
        device: `cpu` or `cuda`.
        margin: Part of the face box's longer side around it in the crops.

    Raises:
        ArtifactError: the weights are not there and cannot be fetched.
    """

    def __init__(self, device: str, margin: float) -> None:
        fetch(weight_file("landmarks"))
        self._device = device
        self._margin = margin
        # `folder` is a detector without weights: the faces are found already.
        alignment = FaceAlignment(
            LandmarksType.TWO_D, device=device, face_detector="folder", compile=False
        )
        self._network = alignment.face_alignment_net

    @torch.inference_mode()
    def find(self, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Find the points on face crops, in batches.

        Args:
            crops: n images (H, W, 3) uint8 RGB.

        Returns:
            (n, 68, 2) float32 in pixels of the crops.
        """
        points = [
            self._find_batch(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)
        ]
        return np.concatenate([np.zeros((0, NUM_POINTS, 2), np.float32), *points])

    def _find_batch(self, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        centres, scales, inputs = [], [], []
        for image in crops:
            left, top, right, bottom = face_box(image, self._margin)
            height = bottom - top
            centres.append(np.array([(left + right) / 2, (top + bottom) / 2]))
            centres[-1][1] -= height * CENTER_Y_OFFSET
            scales.append((right - left + height) / REFERENCE_SCALE)
            inputs.append(crop(image, centres[-1], scales[-1]))
        batch = (
            torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2).to(self._device).float() / 255
        )
        heatmaps = self._last(self._network(batch))
        heatmaps = heatmaps + flip(self._last(self._network(flip(batch))), is_label=True)
        maps = heatmaps.float().cpu().numpy()
        found = [
            get_preds_fromhm(maps[row : row + 1], centres[row], scales[row])[1][0]
            for row in range(len(crops))
        ]
        return np.stack(found).astype(np.float32)

    @staticmethod
    def _last(output: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        return output[-1] if isinstance(output, list) else output
