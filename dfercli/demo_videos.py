"""The drawn videos of `dfer demo`; worker processes import this, and no PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.labels import SEVEN
from dfercli.video.write import write_video

CRF = 28  # visible compression noise, as in videos from a phone
NUM_FRAMES = 20
FPS = 10.0
FRAME_SIZE = 240


@dataclass(frozen=True)
class Person:
    """One drawn person to render: all expressions, each as a video."""

    folder: Path
    number: int
    seed: int


def set_up_rendering(_: None) -> Callable[[Person, Callable[[int, int], None]], None]:
    """Set a worker process up and return its work: to write the videos of a person."""
    cv2.setNumThreads(1)
    return _render_person


def _render_person(person: Person, report: Callable[[int, int], None]) -> None:
    rng = np.random.default_rng([person.seed, person.number])
    identity = random_identity(rng)
    for label in SEVEN:
        path = video_path(person.folder, person.number, label)
        clip = render_clip(identity, label, rng, num_frames=NUM_FRAMES, fps=FPS, size=FRAME_SIZE)
        if not path.exists():
            write_video(path, clip.frames, FPS, crf=CRF)
        report(NUM_FRAMES, 0)


def video_path(folder: Path, number: int, label: str) -> Path:
    """The path of the video of one person with one expression."""
    return folder / label / f"person-{number:03d}.mp4"
