"""`dfer demo`: draw labelled videos, then run all five stages on them as anybody would.

The faces are drawn and the model is a toy; the code is the one that real videos go through.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dfercli.artifacts.evaluation import Evaluation
from dfercli.config import (
    DemoConfig,
    DescribeConfig,
    EvalConfig,
    PredictConfig,
    PreprocessConfig,
    TrainConfig,
)
from dfercli.descriptions.label_lists import read_label_list
from dfercli.errors import DataError
from dfercli.overrides import override
from dfercli.progress import Progress
from dfercli.recipes import read_recipe
from dfercli.stages import describe, evaluate, predict, preprocess, train
from dfercli.stages.demo_videos import render_videos, video_path

CROP_SIZE = 64
DETECT_EVERY = 4  # the Haar cascade is slow, and drawn heads move slowly
CROP_MARGIN = 0.0  # brows to chin: the tiny model sees 48 pixels only


@dataclass(frozen=True)
class DemoResult:
    """What the demo made and measured.

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

    Videos and face crops that an earlier run made are used again.

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
                checkpoint=trained.run,
                out=out / "predictions.csv",
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
            detect_every=DETECT_EVERY,
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
    """Compute on one thread: on matrices this small, several wait for one another, not work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_config(config: DemoConfig) -> TrainConfig:
    store = config.out / "faces-train"
    settings = TrainConfig(dataset=str(store), out=config.out / "runs", seed=config.seed)
    for table in read_recipe("demo", str(store)):
        settings = override(settings, table, where="recipe demo")
    optim = settings.optim
    if config.epochs is not None:
        optim = replace(optim, epochs=config.epochs)
    return replace(
        settings,
        optim=optim,
        model=replace(settings.model, descriptions=config.out / "descriptions.json"),
        data=replace(settings.data, workers=1),
    )
