"""Short videos for tests: of drawn faces, and of a bar that moves."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.video.write import write_video

FPS = 12.0


def write_drawn_video(
    path: Path, *, seconds: float = 3.0, gap: tuple[float, float] = (0, 0)
) -> Path:
    """Write a video of one face that is absent (grey frames) during `gap`."""
    rng = np.random.default_rng(5)
    count = round(seconds * FPS)
    clip = render_clip(random_identity(rng), "happiness", rng, num_frames=count, fps=FPS, size=240)
    frames = clip.frames.copy()
    frames[round(gap[0] * FPS) : round(gap[1] * FPS)] = 128
    write_video(path, frames, FPS)
    return path


def moving_bar(
    count: int = 40, height: int = 64, width: int = 96, step: int = 2
) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) of a bar that moves `step` pixels to the right per frame."""
    for number in range(count):
        image = np.full((height, width, 3), 40, np.uint8)
        image[:, step * number : step * number + 12] = (200, 120, 60)
        yield image
