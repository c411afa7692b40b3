"""The videos of `dfer demo`: drawn faces as real MP4 files. Its worker processes load no torch."""

import csv
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfercli.artifacts.atomic import is_temporary, write_text
from dfercli.config import DemoConfig
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.errors import DataError
from dfercli.labels import SEVEN
from dfercli.progress import Progress
from dfercli.stages.worker_pool import Finished, Lost, WorkerPool
from dfercli.video.write import write_video

CRF = 28  # visible compression noise, as in videos from a phone
NUM_FRAMES = 20
FPS = 10.0
FRAME_SIZE = 240
PERSON_SECONDS = 300.0  # without a video, after which a process is given up


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
    pool = WorkerPool(_set_up, None, workers=workers, time_limit=PERSON_SECONDS)
    try:
        with progress.task("rendering drawn faces", total=len(jobs)) as task, pool:
            for event in pool.run(jobs):
                if isinstance(event, Lost):
                    raise DataError(f"videos of a drawn person were not written: {event.reason}")
                task.advance(isinstance(event, Finished))
    finally:
        for path in (config.out / "videos").rglob("*"):
            if is_temporary(path):  # of a process that was ended
                path.unlink()


def _set_up(_: None) -> Callable[[_Person, Callable[[int, int], None]], None]:
    cv2.setNumThreads(1)
    return _render_person


def _render_person(person: _Person, report: Callable[[int, int], None]) -> None:
    rng = np.random.default_rng([person.seed, person.number])
    identity = random_identity(rng)
    for label in SEVEN:
        path = video_path(person.folder, person.number, label)
        clip = render_clip(identity, label, rng, num_frames=NUM_FRAMES, fps=FPS, size=FRAME_SIZE)
        if not path.exists():
            write_video(path, clip.frames, FPS, crf=CRF)
        report(NUM_FRAMES, 0)


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
