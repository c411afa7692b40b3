"""Input and expected output of the published implementation (see tests/golden/README.md)."""

import numpy as np
import torch
from torch import Tensor


def golden_frames() -> Tensor:
    """The frames behind all golden values, (2, 16, 3, 224, 224) float32."""
    b, t, c, y, x = np.ogrid[0:2, 0:16, 0:3, 0:224, 0:224]
    phase = 0.011 * x * (c + 1) + 0.023 * y * (b + 1) + 0.37 * t + 0.9 * b
    return torch.from_numpy((0.5 + 0.5 * np.sin(phase)).astype(np.float32))
