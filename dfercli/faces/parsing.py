"""The facial region of each pixel: drawn from the 68 points, or by a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dfercli.artifacts.face_parts import REGIONS
from dfercli.artifacts.torch_files import check_torch_file
from dfercli.errors import ArtifactError
from dfercli.faces.parsing_model import PICKLED_WEIGHTS, fetch_parsing_model

BATCH = 8
# The classes of CelebAMask-HQ, as its models call them, and the region that each is here.
CELEBA_REGIONS = {
    **{"background": "background", "skin": "skin", "nose": "nose", "eye_g": "glasses"},
    **{"l_eye": "eyes", "r_eye": "eyes", "l_brow": "brows", "r_brow": "brows"},
    **{"l_ear": "ears", "r_ear": "ears", "ear_r": "ears", "mouth": "mouth"},
    **{"u_lip": "upper_lip", "l_lip": "lower_lip", "hair": "hair", "hat": "hat"},
    **{"neck_l": "neck", "neck": "neck", "cloth": "clothes"},
}
# Outlines by numbers of points; later ones cover earlier ones. The skin's outline is the jaw and
# the brows, raised over the forehead.
OUTLINES = (
    ("brows", (17, 18, 19, 20, 21)),
    ("brows", (22, 23, 24, 25, 26)),
    ("nose", (27, 31, 32, 33, 34, 35)),
    ("eyes", (36, 37, 38, 39, 40, 41)),
    ("eyes", (42, 43, 44, 45, 46, 47)),
    ("upper_lip", (48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60)),
    ("lower_lip", (54, 55, 56, 57, 58, 59, 48, 60, 67, 66, 65, 64)),
    ("mouth", (60, 61, 62, 63, 64, 65, 66, 67)),
)
FOREHEAD = 0.6  # of the distance between brows and nose tip that the skin reaches above the brows
BROW_THICKNESS = 0.035  # of the face's width


def draw_regions(points_px: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Draw the regions that the 68 points outline: skin, brows, eyes, nose, lips and mouth.

    Args:
        points_px: (68, 2) in pixels of the image; NaN gives a map of background.
        height: H.
        width: W.

    Returns:
        (H, W) uint8 indices into `REGIONS`.
    """
    regions = np.zeros((height, width), np.uint8)
    if not np.isfinite(points_px).all():
        return regions
    brows = points_px[17:27]
    rise = FOREHEAD * (points_px[30] - brows.mean(axis=0))
    skin = np.concatenate([points_px[:17], (brows - rise)[::-1]])
    hull = np.asarray(cv2.convexHull(skin.astype(np.float32)), np.float32)
    _fill(regions, hull[:, 0], "skin")
    thickness = max(1, round(BROW_THICKNESS * float(np.ptp(points_px[:17, 0]))))
    for name, numbers in OUTLINES:
        outline = points_px[list(numbers)]
        if name == "brows":
            line = outline.round().astype(np.int32)
            cv2.polylines(regions, [line], False, REGIONS.index(name), thickness)
        else:
            _fill(regions, outline, name)
    return regions


def _fill(regions: NDArray[np.uint8], outline: NDArray[np.float32], name: str) -> None:
    cv2.fillPoly(regions, [outline.round().astype(np.int32)], REGIONS.index(name))


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """Silence the progress bars and messages that transformers writes to stderr."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


class SegformerParser:
    """A SegFormer trained on CelebAMask-HQ (extra `dfercli[parsing]`).

    Args:
        model: Name on the hub, or a folder.
        device: `cpu` or `cuda`.

    Raises:
        ArtifactError: transformers is not installed, or the model is not there.
    """

    def __init__(self, model: str, device: str) -> None:
        folder = fetch_parsing_model(model)
        if (folder / PICKLED_WEIGHTS).is_file():
            check_torch_file(folder / PICKLED_WEIGHTS)
        try:
            with _silent_transformers():
                from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

                # Only weights, from this folder: no code that comes with a model.
                self._network: Any = SegformerForSemanticSegmentation.from_pretrained(
                    folder, local_files_only=True, weights_only=True
                )
                self._processor: Any = SegformerImageProcessor.from_pretrained(
                    folder, local_files_only=True
                )
        except Exception as error:  # transformers raises anything on a folder that is not a model
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ArtifactError(
                f"cannot load {model} for the stream parsing: {reason}",
                hint="give a folder with --parsing-model",
            ) from error
        self._device = device
        self._network.eval().to(device)
        labels = self._network.config.id2label or {}
        names = {int(number): name for number, name in labels.items()}
        unknown = [name for name in names.values() if name not in CELEBA_REGIONS]
        if unknown:
            raise ArtifactError(f"{model} has classes that are not of CelebAMask-HQ: {unknown}")
        self._region_of = np.zeros(len(names), np.uint8)
        for number, name in names.items():
            self._region_of[number] = REGIONS.index(CELEBA_REGIONS[name])

    @torch.inference_mode()
    def parse(self, crops: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Parse face crops: for each a map (H, W) uint8 of indices into `REGIONS`."""
        maps: list[NDArray[np.uint8]] = []
        for start in range(0, len(crops), BATCH):
            batch = crops[start : start + BATCH]
            inputs = self._processor(images=batch, return_tensors="pt").to(self._device)
            logits = self._network(**inputs).logits
            for row, image in zip(logits, batch, strict=True):
                size = image.shape[:2]
                full = torch.nn.functional.interpolate(row[None], size, mode="bilinear")
                maps.append(self._region_of[full[0].argmax(dim=0).cpu().numpy()])
        return maps
