"""What surrounds a drawn face: background, light, and the noise of the camera."""

from dataclasses import dataclass

import cv2
import numpy as np

NOISE_MARGIN_PX = 32


@dataclass(frozen=True, eq=False)
class Scene:
    """The surroundings of one clip.

    Attributes:
        background: (H, W, 3) uint8 RGB.
        light: (H, W, 3) uint8; 128 leaves a pixel as it is, 0 makes it black.
        noise: (H + margin, W + margin, 3) int16, added at an offset that changes with each frame.
        side_light: -1 (from the left of the image) to 1, for the shading of the face.
    """

    background: np.ndarray
    light: np.ndarray
    noise: np.ndarray
    side_light: float


def random_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw surroundings at random; the same state of `rng` gives the same scene."""
    angle = rng.uniform(-np.pi, 0.0)
    return Scene(
        background=_background(rng, size),
        light=_light(rng, size, angle),
        noise=_noise(rng, size),
        side_light=float(np.cos(angle) * rng.uniform(0.2, 1.0)),
    )


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Two soft colours and a few blurred shapes, as behind a face close to the camera."""
    small = max(8, size // 4)
    base = rng.uniform(70, 200) + rng.uniform(-18, 18, 3)
    ramp = np.linspace(-1.0, 1.0, small)
    down, across = rng.uniform(-18, 18, (2, 1)) + rng.uniform(-6, 6, (2, 3))
    slope = ramp[:, None, None] * down + ramp[None, :, None] * across
    image: np.ndarray = np.clip(base + slope, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(2, 6)):
        colour = tuple(
            float(c) for c in np.clip(base + rng.uniform(-40, 40) + rng.uniform(-18, 18, 3), 0, 255)
        )
        corner = rng.integers(-small // 4, small, 2)
        extent = rng.integers(small // 6, small, 2)
        first, last = corner.tolist(), (corner + extent).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(image, first, last, colour, -1, cv2.LINE_AA)
        else:
            cv2.circle(image, first, int(extent[0] // 2), colour, -1, cv2.LINE_AA)
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1.5, 5.0)))
    return cv2.resize(blurred, (size, size), interpolation=cv2.INTER_CUBIC)


def _light(rng: np.random.Generator, size: int, angle: float) -> np.ndarray:
    """Brightness that falls off away from `angle`, slightly warm or cold."""
    ramp = np.linspace(-1.0, 1.0, size)
    falloff = ramp[None, :] * np.cos(angle) + ramp[:, None] * np.sin(angle)
    brightness = rng.uniform(0.86, 1.06) + rng.uniform(0.05, 0.2) * falloff
    tint = 1.0 + rng.uniform(-0.06, 0.06) * np.array([1.0, 0.0, -1.0])
    levels: np.ndarray = 128.0 * brightness[:, :, None] * tint
    return levels.clip(0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    side = size + NOISE_MARGIN_PX
    strength = rng.uniform(1.0, 4.0)
    noise = rng.standard_normal((side, side, 3), dtype=np.float32) * strength
    return np.round(noise).astype(np.int16)
