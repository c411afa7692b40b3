"""Where the face lies in a crop."""

import numpy as np
from numpy.typing import NDArray


def face_box(image: NDArray[np.uint8], margin: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the face in a crop that was cut with `margin` around it."""
    height, width = image.shape[:2]
    border = margin / (1 + 2 * margin)
    return width * border, height * border, width * (1 - border), height * (1 - border)
