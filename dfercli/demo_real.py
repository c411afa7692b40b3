"""`dfer demo --real ravdess`: from a download to a table and a page, on real faces of a few actors.

One actor is never seen in training. Four actors are far too few to say anything about others: the
demo shows the way, and `docs/open-data.md` how to go it with all of them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dfercli.artifacts.evaluation import Evaluation
from dfercli.config import DemoConfig, GetConfig, PredictConfig, PreprocessConfig, TrainConfig
from dfercli.config.data import DATASETS
from dfercli.data.fold_clips import read_fold_clips
from dfercli.data.layout import dataset_root
from dfercli.data.open_sets import RAW_SETS
from dfercli.data.raw_sets import find_takes
from dfercli.data.store_folds import read_store_clips
from dfercli.errors import DataError
from dfercli.open_data import run as get
from dfercli.overrides import override
from dfercli.prediction import run as predict
from dfercli.preprocessing import run as preprocess
from dfercli.progress import Progress
from dfercli.recipes import read_recipe
from dfercli.training import run as train

MOST_FOLDS = 6


@dataclass(frozen=True)
class RealDemoResult:
    """The results of the demo.

    Attributes:
        videos: Folder of the raw videos.
        store: The face store.
        run: The run folder.
        evaluation: On the actor who was never seen in training.
        measured_on: Which clips these are, as text.
        page: The page of one of these videos.
        seconds: Stage -> wall time.
    """

    videos: Path
    store: Path
    run: Path
    evaluation: Evaluation
    measured_on: str
    page: Path
    seconds: dict[str, float]


def plan(config: DemoConfig, progress: Progress) -> get.Plan | None:
    """The files to fetch first; None if the user has fetched the videos.

    Raises:
        ConfigError: no such data set or actors.
        DataError: a data set that is not fetched here, and is not there.
        ArtifactError: too little room, or a record that is broken.
        ServiceError: the server does not answer.
    """
    wanted = GetConfig(config.real or "", videos_folder(config), config.actors)
    raw_set, root = get.wanted_set(wanted)
    if raw_set.zenodo is not None and config.root is None:
        return get.plan(wanted, progress)
    dataset_root(raw_set.name, root)  # it exists, or the error names the place
    return None


def videos_folder(config: DemoConfig) -> Path:
    """The folder of the raw videos: `--root`, else below the demo's own folder."""
    return config.root or config.out / "videos" / str(config.real)


def run(config: DemoConfig, wanted: get.Plan | None, progress: Progress) -> RealDemoResult:
    """Fetch, find faces, train on all actors but one, measure on that one, and draw a page.

    Files that an earlier run fetched and preprocessed are used again.

    Args:
        config: The settings.
        wanted: The result of `plan`.
        progress: Where to report.

    Raises:
        ConfigError: settings that cannot be used.
        DataError: fewer than two actors, or no face in their videos.
        ArtifactError: weights that are missing, or a folder that cannot be written.
        ServiceError: the server does not answer.
    """
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds[stage] = time.monotonic() - began

    name, videos, store = str(config.real).lower(), videos_folder(config), config.out / "faces"
    with timed("fetch"):
        if wanted is not None and wanted.files:
            get.run(wanted, progress)
    with timed("preprocess"):
        preprocess.run(
            PreprocessConfig(sources=(name,), root=videos, out=store, workers=config.workers),
            progress,
        )
    with timed("train"):
        trained = train.run(_train_config(config, name, store), progress)
    (fold,) = trained.folds
    if fold.evaluation is None:
        raise DataError(f"{store}: no clip of an actor to measure on")
    with timed("predict"):
        page = config.out / "report.html"
        predict.run(
            PredictConfig(
                sources=(str(_video_of_test(config, name, videos, store)),),
                model=str(trained.run),
                html=page,
                out=config.out / "predictions.csv",
                overwrite=True,
                faces="largest",
            ),
            progress,
        )
    return RealDemoResult(
        videos=videos,
        store=store,
        run=trained.run,
        evaluation=fold.evaluation,
        measured_on=fold.measured_on,
        page=page,
        seconds=seconds,
    )


def _train_config(config: DemoConfig, name: str, store: Path) -> TrainConfig:
    """The recipe of the data set, on a CPU with a frozen image encoder and its features kept."""
    settings = TrainConfig(dataset=str(store), out=config.out / "runs", seed=config.seed)
    for table in read_recipe(name, name, DATASETS):
        settings = override(settings, table, where=f"recipe {name}")
    if config.clip is not None:
        settings = replace(settings, model=replace(settings.model, clip=config.clip))
    if config.epochs is not None:
        settings = replace(settings, optim=replace(settings.optim, epochs=config.epochs))
    on_cpu = not torch.cuda.is_available()
    actors = {clip.subject for clip in read_store_clips(store)[1]}
    return replace(
        settings,
        fold="1",
        select="last",  # too few people to choose by
        cache_features=on_cpu,
        model=replace(settings.model, freeze_image=on_cpu, clip_weights=config.clip_weights),
        data=replace(settings.data, folds=min(len(actors), MOST_FOLDS), group="subject"),
    )


def _video_of_test(config: DemoConfig, name: str, videos: Path, store: Path) -> Path:
    """A video of the tested actor: a happy one, as anybody can check it."""
    clips = read_fold_clips(_train_config(config, name, store), 1)
    tested = {clip.subject for clip in clips.test}
    takes = find_takes(RAW_SETS[name], videos).takes
    return next(
        path for take, path in takes if take.subject in tested and take.emotion == "happiness"
    )
