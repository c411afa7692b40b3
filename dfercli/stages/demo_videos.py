"""The videos of `dfer demo`: drawn faces as real MP4 files. Its worker processes load no torch."""

import csv
import io
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfercli.artifacts.atomic import write_text
from dfercli.config import DemoConfig
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.labels import SEVEN
from dfercli.progress import Progress
from dfercli.video.write import write_video

CRF = 28  # visible compression noise, as in videos from a phone
NUM_FRAMES = 20
FPS = 10.0
FRAME_SIZE = 240


@dataclass(frozen=True)
class _Person:
    """One drawn person to render: all expressions, each as a video."""

    folder: Path
    number: int
    seed: int


def render_videos(config: DemoConfig, people: dict[str, range], progress: Progress) -> None:
    """Render `videos/<part>/<label>/person-<number>.mp4` and `labels-<part>.csv` of each part."""
    jobs = []
    for part, numbers in people.items():
        folder = config.out / "videos" / part
        jobs += [_Person(folder, number, config.seed) for number in numbers]
        _write_labels(config.out / f"labels-{part}.csv", folder, numbers)
    workers = config.workers or os.cpu_count() or 1
    with (
        progress.task("rendering drawn faces", total=len(jobs)) as task,
        # Fresh processes: those forked from one with threads can hang.
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool,
    ):
        for _ in pool.map(_render_person, jobs):
            task.advance()


def _render_person(person: _Person) -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng([person.seed, person.number])
    identity = random_identity(rng)
    for label in SEVEN:
        path = video_path(person.folder, person.number, label)
        clip = render_clip(identity, label, rng, num_frames=NUM_FRAMES, fps=FPS, size=FRAME_SIZE)
        if not path.exists():
            write_video(path, clip.frames, FPS, crf=CRF)


def video_path(folder: Path, number: int, label: str) -> Path:
    """Where the video of one person with one expression lies."""
    return folder / label / f"person-{number:03d}.mp4"


def _write_labels(path: Path, folder: Path, numbers: range) -> None:
    """Write the CSV that `dfer preprocess --labels` reads: source, label, subject."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source", "label", "subject"))
    for number in numbers:
        for label in SEVEN:
            source = video_path(folder, number, label).relative_to(path.parent)
            writer.writerow((source, label, f"person-{number:03d}"))
    write_text(path, text.getvalue())
