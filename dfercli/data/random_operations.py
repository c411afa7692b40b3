"""What a clip may get after crop and flip: RandAugment's operations, and an erased rectangle.

RandAugment: Cubuk et al., NeurIPS 2020, arXiv 1909.13719. Random erasing: Zhong et al., AAAI 2020,
arXiv 1708.04896. All frames of a clip get the same, on the CPU and on a GPU by the same code.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

STRONGEST = 10.0
ERASED_AREA = (0.02, 1 / 3)
ERASED_ASPECT = (0.3, 1 / 0.3)

Operation = tuple[str, float]
"""Name, and level in -1 .. 1: the strength, with a sign where there are two directions."""


@dataclass(frozen=True)
class Erased:
    """A rectangle of one colour.

    Attributes:
        box: top, left, height, width, as shares of the picture.
        colour: Of its pixels, 0 to 255.
    """

    box: tuple[float, float, float, float]
    colour: tuple[int, int, int]


def _moved(
    frames: Tensor, *, degrees: float = 0, right: float = 0, down: float = 0, shear: Sequence[float]
) -> Tensor:
    """Move (T, 3, S, S) frames; what comes in from outside is black."""
    size = frames.shape[-1]
    place = [round(right * size), round(down * size)]
    moved: Tensor = tvf.affine(
        frames, degrees, place, 1.0, list(shear), interpolation=InterpolationMode.BILINEAR
    )
    return moved


def _tilt(level: float) -> float:
    return math.degrees(math.atan(0.3 * level))


MOVES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "rotate": lambda frames, level: _moved(frames, degrees=30 * level, shear=(0, 0)),
    "shear-x": lambda frames, level: _moved(frames, shear=(_tilt(level), 0)),
    "shear-y": lambda frames, level: _moved(frames, shear=(0, _tilt(level))),
    "translate-x": lambda frames, level: _moved(frames, right=0.45 * level, shear=(0, 0)),
    "translate-y": lambda frames, level: _moved(frames, down=0.45 * level, shear=(0, 0)),
}
COLOURS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "auto-contrast": lambda frames, level: tvf.autocontrast(frames),
    "equalize": lambda frames, level: tvf.equalize(frames),
    "posterize": lambda frames, level: tvf.posterize(frames, 8 - round(4 * abs(level))),
    "solarize": lambda frames, level: tvf.solarize(frames, 256 * (1 - abs(level))),
    "colour": lambda frames, level: tvf.adjust_saturation(frames, 1 + 0.9 * level),
    "contrast": lambda frames, level: tvf.adjust_contrast(frames, 1 + 0.9 * level),
    "brightness": lambda frames, level: tvf.adjust_brightness(frames, 1 + 0.9 * level),
    "sharpness": lambda frames, level: tvf.adjust_sharpness(frames, 1 + 0.9 * level),
}
OPERATIONS = {**MOVES, **COLOURS}


def draw_operations(
    number: int, magnitude: float, rng: np.random.Generator
) -> tuple[Operation, ...]:
    """Draw RandAugment's operations of one clip, in their order."""
    names = rng.choice(sorted(OPERATIONS), size=number)
    signs = rng.choice((-1.0, 1.0), size=number)
    return tuple(
        (str(name), float(sign * magnitude / STRONGEST))
        for name, sign in zip(names, signs, strict=True)
    )


def draw_erased(rng: np.random.Generator) -> Erased:
    """Draw a rectangle that lies inside the picture, and its colour."""
    area = rng.uniform(*ERASED_AREA)
    aspect = math.exp(rng.uniform(*np.log(ERASED_ASPECT)))
    height, width = min(1.0, math.sqrt(area * aspect)), min(1.0, math.sqrt(area / aspect))
    top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
    red, green, blue = rng.integers(256, size=3).tolist()
    return Erased((float(top), float(left), height, width), (red, green, blue))


def apply_operations(
    frames: Tensor, operations: Sequence[Operation], erased: Erased | None
) -> Tensor:
    """Apply the drawn operations to all frames of a clip; (T, 3, S, S) uint8 -> the same."""
    for name, level in operations:
        frames = OPERATIONS[name](frames, level)
    if erased is None:
        return frames
    size = frames.shape[-1]
    top, left, height, width = (round(share * size) for share in erased.box)
    frames = frames.clone()
    for channel, value in enumerate(erased.colour):
        frames[:, channel, top : top + height, left : left + width] = value
    return frames
