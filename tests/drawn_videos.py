"""Short videos of drawn faces for tests of prediction."""

from pathlib import Path

import numpy as np

from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.video.write import write_video

FPS = 12.0


def write_drawn_video(
    path: Path, *, seconds: float = 3.0, gap: tuple[float, float] = (0, 0)
) -> Path:
    """Write a video of one face, which is away (grey frames) during `gap`."""
    rng = np.random.default_rng(5)
    count = round(seconds * FPS)
    clip = render_clip(random_identity(rng), "happiness", rng, num_frames=count, fps=FPS, size=240)
    frames = clip.frames.copy()
    frames[round(gap[0] * FPS) : round(gap[1] * FPS)] = 128
    write_video(path, frames, FPS)
    return path
