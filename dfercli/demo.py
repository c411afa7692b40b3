"""`dfer demo`: draw labelled videos, then run all five stages on them as a user would.

The faces are drawn and the model is a toy; the code is the one that processes real videos.
"""

import csv
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from dfercli.artifacts.atomic import is_temporary, write_text
from dfercli.artifacts.evaluation import Evaluation
from dfercli.config import (
    DemoConfig,
    DescribeConfig,
    EvalConfig,
    PredictConfig,
    PreprocessConfig,
    TrainConfig,
)
from dfercli.demo_videos import Person, set_up_rendering, video_path
from dfercli.descriptions import run as describe
from dfercli.descriptions.label_lists import read_label_list
from dfercli.errors import DataError
from dfercli.evaluation import run as evaluate
from dfercli.labels import SEVEN
from dfercli.layers import layered, options
from dfercli.prediction import run as predict
from dfercli.preprocessing import run as preprocess
from dfercli.preprocessing.worker_pool import Finished, Lost, WorkerPool
from dfercli.progress import Progress
from dfercli.training import run as train

PERSON_SECONDS = 300.0  # without a new video, until a process is considered lost

CROP_SIZE = 64
DETECT_SECONDS = 0.28  # the Haar cascade is slow, and drawn heads move slowly
CROP_MARGIN = 0.0  # brows to chin: the tiny model sees 48 pixels only


@dataclass(frozen=True)
class DemoResult:
    """The results of the demo.

    Attributes:
        out: The demo's folder.
        run: The run folder.
        evaluation: On identities never seen in training.
        results: Folder of the evaluation.
        predictions: The timeline of one held-out video.
        seconds: Stage -> wall time.
    """

    out: Path
    run: Path
    evaluation: Evaluation
    results: Path
    predictions: Path
    seconds: dict[str, float]


def run(config: DemoConfig, progress: Progress) -> DemoResult:
    """Render, preprocess, describe, train, evaluate and predict.

    Videos and face crops of an earlier run are reused.

    Raises:
        DataError: the detector did not find a drawn face.
        ArtifactError: the folder cannot be written.
    """
    out = config.out
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds[stage] = time.monotonic() - began

    total = config.train_identities + config.test_identities
    people = {
        "train": range(config.train_identities),
        "test": range(config.train_identities, total),  # never seen in training
    }
    with timed("render"):
        render_videos(config, people, progress)
    with timed("preprocess"):
        for part in people:
            _preprocess(config, part, progress)
    with timed("describe"):
        texts, _ = describe.describe_classes(read_label_list("7"), DescribeConfig(), progress)
        describe.save_texts(out / "descriptions.json", texts, overwrite=True)
    with timed("train"), _one_thread():
        trained = train.run(_train_config(config), progress)
    with timed("eval"):
        on_test = EvalConfig(checkpoint=trained.run, dataset=str(out / "faces-test"), workers=0)
        (measured,) = evaluate.run(on_test, progress)
    with timed("predict"):
        video = video_path(out / "videos" / "test", people["test"][0], "happiness")
        predict.run(
            PredictConfig(
                sources=(str(video),),
                model=str(trained.run),
                out=out / "predictions.csv",
                overwrite=True,
                detector="haar",
            ),
            progress,
        )
    return DemoResult(
        out=out,
        run=trained.run,
        evaluation=measured.evaluation,
        results=measured.folder,
        predictions=out / "predictions.csv",
        seconds=seconds,
    )


def _preprocess(config: DemoConfig, part: str, progress: Progress) -> None:
    result = preprocess.run(
        PreprocessConfig(
            sources=(str(config.out / "videos" / part),),
            out=config.out / f"faces-{part}",
            labels=config.out / f"labels-{part}.csv",
            detector="haar",  # the one that needs no download
            size=CROP_SIZE,
            margin=CROP_MARGIN,
            faces="largest",
            detect_every=DETECT_SECONDS,
            workers=config.workers,
        ),
        progress,
    )
    if result.failures:
        progress.note(f"{len(result.failures)} of {result.num_sources} drawn videos gave no face")
    if not result.clips:
        raise DataError(f"no drawn face was found in {config.out / 'videos' / part}")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: on matrices this small, several threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_config(config: DemoConfig) -> TrainConfig:
    epochs = {} if config.epochs is None else {"epochs": config.epochs}
    asked = {
        "dataset": str(config.out / "faces-train"),
        "recipe": "demo",
        "out": config.out / "runs",
        "seed": config.seed,
        "optim": epochs,
        "model": {"descriptions": config.out / "descriptions.json"},
        "data": {"workers": 1, "test": str(config.out / "faces-test")},
    }
    return layered(TrainConfig(), [options(asked, "dfer demo")])


def render_videos(config: DemoConfig, people: dict[str, range], progress: Progress) -> None:
    """Render `videos/<part>/<label>/person-<number>.mp4` and `labels-<part>.csv` of each part."""
    jobs = []
    for part, numbers in people.items():
        folder = config.out / "videos" / part
        jobs += [Person(folder, number, config.seed) for number in numbers]
        _write_labels(config.out / f"labels-{part}.csv", folder, numbers)
    workers = config.workers or os.cpu_count() or 1
    pool = WorkerPool(set_up_rendering, None, workers=workers, time_limit=PERSON_SECONDS)
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
