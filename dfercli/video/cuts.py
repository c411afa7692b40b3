"""Find scene cuts: a frame that differs from its predecessor far more than recent frames did."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_SIDE_PX = 64
DIFFERENCE = 0.3  # of the colour histograms' mass that must have moved
RATIO = 4.0  # over the recent average: fast motion or flicker is not taken for a cut
MEMORY = 0.8  # how slowly the recent average changes


class CutFinder:
    """Compares each frame with the previous one by colour histograms in four quarters."""

    def __init__(self) -> None:
        self._histograms: NDArray[np.float32] | None = None
        self._recent = 0.0

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Tell whether `image` ((H, W, 3) uint8) begins a new scene; the first frame does not."""
        histograms = _quarter_histograms(image)
        before, self._histograms = self._histograms, histograms
        if before is None:
            return False
        # The median of the quarters; NumPy's own takes as long as the histograms.
        quarters = np.sort(np.abs(histograms - before).sum(axis=1))
        moved = float(quarters[1:3].mean()) / 2
        cut = moved > DIFFERENCE and moved > RATIO * self._recent
        self._recent = 0.0 if cut else MEMORY * self._recent + (1 - MEMORY) * moved
        return cut


def _quarter_histograms(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(4, 512) float32, each row a histogram of 8x8x8 colours that sums to 1."""
    step = max(1, min(image.shape[:2]) // THUMBNAIL_SIDE_PX)
    thumbnail = image[::step, ::step]
    half_height, half_width = thumbnail.shape[0] // 2, thumbnail.shape[1] // 2
    rows: list[NDArray[Any]] = []
    for top in (slice(None, half_height), slice(half_height, None)):
        for side in (slice(None, half_width), slice(half_width, None)):
            quarter = np.ascontiguousarray(thumbnail[top, side])
            if quarter.size == 0:  # in a picture that is one pixel wide
                rows.append(np.zeros(512))
                continue
            counts = cv2.calcHist([quarter], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
            rows.append(counts.ravel() / max(1.0, float(counts.sum())))
    return np.stack(rows).astype(np.float32)
