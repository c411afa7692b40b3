"""`dfer train`: train a method on a data set, fold by fold."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning_fabric import Fabric

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.checkpoint import TRAINING_STATE_NAME, read_training_state
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.run_config import CONFIG_SCHEMA, dataset_name, read_train_config
from dfercli.artifacts.run_folder import FoldFolder, fold_folders
from dfercli.config import TrainConfig
from dfercli.data.clips import Clip, Fold
from dfercli.data.fold_clips import FoldClips, read_fold_clips, wanted_folds
from dfercli.data.folds import split_warning
from dfercli.data.loading import ClipDataset
from dfercli.data.streams import StreamReader
from dfercli.errors import ArtifactError, ConfigError, DataError, DferError
from dfercli.evaluation.clip_streams import available_streams, stream_reader
from dfercli.inference.collectives import first_failure
from dfercli.inference.devices import precision_for_training
from dfercli.inference.fabric import make_fabric
from dfercli.inference.fsdp import load_optimizer_state
from dfercli.inference.restore import RestoredModel, new_model, restore_model
from dfercli.models.batch_norm import synchronise_batch_norm
from dfercli.models.clip_backbone import split_clip_name
from dfercli.models.cost import cost_lines, cost_of
from dfercli.models.losses import make_criterion
from dfercli.models.method import Method
from dfercli.names import is_plain
from dfercli.overrides import to_plain
from dfercli.processes import StopSignals, stop_signals
from dfercli.progress import Progress, SilentProgress
from dfercli.training.cached_features import cached_datasets, require_frozen
from dfercli.training.calibrate import calibrate
from dfercli.training.continuing import is_begun, is_stillborn, refuse_other_settings
from dfercli.training.epoch_logger import open_logger, require_logger
from dfercli.training.fit import Position, Training, fit, set_up_training
from dfercli.training.fold_data import FoldData
from dfercli.training.fold_result import FoldResult, finish_fold, read_result
from dfercli.training.run_records import crop_settings, environment, trained_on
from dfercli.typed import typed

END_SECONDS = 10.0  # for the other processes of a training to end by themselves


@dataclass(frozen=True)
class TrainResult:
    """What `dfer train` made: the run folder and the result of each fold."""

    run: Path
    folds: tuple[FoldResult, ...]


def run(config: TrainConfig, progress: Progress) -> TrainResult:
    """Train all folds that `config` asks for, in a new run folder.

    Raises:
        ConfigError: settings that cannot be used, or a run folder that exists.
        DataError: clips that cannot be used.
        ArtifactError: weights that are missing, or a folder that cannot be written.
    """
    folds = wanted_folds(config)
    if config.name is not None and not is_plain(config.name):
        raise ConfigError(f"--name is one folder in {config.out}, got {config.name!r}")
    require_logger(config.logger)
    require_frozen(config)
    if config.model.clip_weights is None:
        split_clip_name(config.model.clip)  # refuses a wrong name before there is a folder
    fabric = _launch(config)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = config.name or f"{dataset_name(config.dataset)}-{config.model.method}-{stamp}"
    run_folder = config.out / fabric.broadcast(name)
    _refuse_existing(run_folder, fabric)
    with _locked(run_folder, fabric):
        _refuse_existing(run_folder, fabric)  # another may have been quicker
        return _train_folds(config, run_folder, folds, fabric, progress)


def run_or_resume(config: TrainConfig, progress: Progress) -> TrainResult:
    """Train in the run folder that `config` names, or continue what was begun there.

    Without a name it is `<dataset>-<method>`, with no time, so that the same settings always mean
    the same folder. A run that is finished is told again.

    Raises:
        ConfigError: settings that cannot be used, or that are not those of the run.
        DataError: clips that cannot be used.
        ArtifactError: a run that cannot be read, or that another process trains.
    """
    name = config.name or f"{dataset_name(config.dataset)}-{config.model.method}"
    config = replace(config, name=name)
    run_folder = config.out / name
    refuse_other_settings(run_folder, config, hint="choose another --name")
    if not is_begun(run_folder):
        return run(config, progress)
    if all(FoldFolder(run_folder / f"fold-{n}").is_finished for n in wanted_folds(config)):
        progress.note(f"{run_folder} is finished")
    return resume(run_folder, progress)


def resume(run_folder: Path, progress: Progress) -> TrainResult:
    """Continue a run where it stopped; finished folds are kept as they are.

    Raises:
        ArtifactError: no such run, one that cannot be read, or that another process trains.
    """
    folders = fold_folders(run_folder)
    if not folders:
        raise ArtifactError(f"no run to resume: {run_folder} has no fold-1/")
    config = read_train_config(folders[0])
    fabric = _launch(config)
    with _locked(run_folder, fabric):
        return _train_folds(config, run_folder, wanted_folds(config), fabric, progress)


def _refuse_existing(run_folder: Path, fabric: Fabric) -> None:
    if fabric.broadcast(run_folder.exists() and not is_stillborn(run_folder)):
        raise ConfigError(
            f"run folder exists: {run_folder}",
            hint=f"continue it with --resume {run_folder}, or choose another --name",
        )


@contextmanager
def _locked(run_folder: Path, fabric: Fabric) -> Iterator[None]:
    """Hold the lock of a run for all processes of this training."""
    with ExitStack() as stack:
        error = None
        if fabric.is_global_zero:
            busy = f"{run_folder} is being trained"
            try:
                stack.enter_context(exclusive(run_folder / ".lock", busy=busy, stays=False))
            except DferError as caught:
                error = caught
        if failure := first_failure(fabric, error):
            raise failure
        yield


def _launch(config: TrainConfig) -> Fabric:
    """Start the engine and, where there are to be several processes, the others.

    Raises:
        ConfigError: the device is not to be had, or batches cannot be shared equally.
    """
    num_processes = config.devices * config.num_nodes
    if config.optim.batch_size % num_processes:
        raise ConfigError(
            f"{num_processes} processes cannot share batches of {config.optim.batch_size} clips "
            "equally",
            hint=f"choose a multiple: --batch-size {num_processes * 8}",
        )
    fabric = make_fabric(
        config.accelerator,
        config.devices,
        precision_for_training(config),
        strategy=config.strategy,
        num_nodes=config.num_nodes,
    )
    fabric.launch()
    return fabric


def _train_folds(
    config: TrainConfig, run_folder: Path, folds: list[int], fabric: Fabric, progress: Progress
) -> TrainResult:
    progress = progress if fabric.is_global_zero else SilentProgress()
    results = []
    with stop_signals() as signals, _other_processes(fabric, signals):
        try:
            for number in folds:
                folder = FoldFolder(run_folder / f"fold-{number}")
                if folder.is_finished:
                    results.append(read_result(folder, number))
                else:
                    results.append(_train_fold(config, folder, number, fabric, progress, signals))
        except KeyboardInterrupt:
            progress.note(f"stopped; continue with: dfer train --resume {run_folder}")
            raise
    return TrainResult(run_folder, tuple(results))


@contextmanager
def _other_processes(fabric: Fabric, signals: StopSignals) -> Iterator[None]:
    """Part from the other processes of a training; those that were started here end with it."""
    try:
        yield
    except KeyboardInterrupt:
        for process in getattr(fabric.strategy.launcher, "procs", ()):
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS if signals.agreed.stop else 0)
            process.kill()
        raise
    finally:
        if dist.is_initialized():  # left to the interpreter's end, gloo's threads may abort it
            dist.destroy_process_group()


def _train_fold(
    config: TrainConfig,
    folder: FoldFolder,
    number: int,
    fabric: Fabric,
    progress: Progress,
    signals: StopSignals,
) -> FoldResult:
    clips = read_fold_clips(config, number)
    config = _with_streams(config, clips, progress)
    settings = _usable_settings(config, clips, fabric.world_size, progress)
    if fabric.is_global_zero:
        write_json(folder.config, {"schema": CONFIG_SCHEMA, **to_plain(config)})
        write_json(folder.environment, environment(config, fabric))
    if warning := split_warning(clips.fold):
        progress.note(warning)
    model, start, state = _begin(settings, clips.fold, folder)
    bare = model.module
    if config.gradient_checkpointing:
        bare.clip.set_grad_checkpointing()
    for line in cost_lines(cost_of(bare), settings.optim.batch_size // fabric.world_size):
        progress.info(line)
    if fabric.world_size > 1:
        synchronise_batch_norm(bare, fabric.device.type)
    data = (
        cached_datasets(settings, clips, model, fabric, progress)
        if settings.cache_features
        else _datasets(settings, clips, bare, fabric, progress)
    )
    bare.criterion = make_criterion(settings.optim, data.train.labels, clips.fold.label_set)
    module, optimizer = set_up_training(
        fabric,
        bare,
        settings.optim,
        precision_for_training(config),
        compile=config.compile,
    )
    if state is not None:
        try:
            load_optimizer_state(module, optimizer, state["optimizer"])
            fabric.strategy.precision.load_state_dict(state["precision"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ArtifactError(
                f"{folder.last}: its training state does not fit the model: {error!r}"
            ) from error
    logger = open_logger(config, folder) if fabric.is_global_zero else None
    training = Training(
        fabric=fabric,
        module=bare,
        model=module,
        optimizer=optimizer,
        data=data,
        config=settings,
        folder=folder,
        card=replace(
            model.card,
            crop=crop_settings(config.dataset),
            trained_on=trained_on(settings, clips),
        ),
        progress=progress,
        logger=logger,
        signals=signals,
    )
    fit(training, start)
    if logger is not None:
        logger.finalize("success")
    calibrate(folder.selected, training.data, fabric, settings, progress)
    return finish_fold(settings, folder, clips, fabric, progress)


def _usable_settings(
    config: TrainConfig, clips: FoldClips, world_size: int, progress: Progress
) -> TrainConfig:
    """The settings with a batch size that the clips and the processes allow."""
    num_clips, optim = len(clips.train), config.optim
    if num_clips < world_size:
        raise DataError(
            f"{config.dataset} has {num_clips} clips to train on, expected at least {world_size}"
        )
    if num_clips < optim.batch_size:
        usable = num_clips // world_size * world_size
        progress.note(
            f"batch size {optim.batch_size} is more than the {num_clips} training clips: "
            f"using {usable}"
        )
        optim = replace(optim, batch_size=usable)
    return replace(config, optim=optim)


def _with_streams(config: TrainConfig, clips: FoldClips, progress: Progress) -> TrainConfig:
    """The settings with the streams that FineCLIPER will look at, by name."""
    own = config.model.finecliper
    if config.model.method != "finecliper":
        return config
    there = available_streams(clips.train, config.data.streams_from)
    if absent := [name for name in own.streams if name not in there]:
        raise DataError(
            f"no training clip of {config.dataset} has {', '.join(absent)}",
            hint="dfer preprocess --landmarks --parsing polygons and dfer describe make them",
        )
    streams = own.streams or there
    progress.info(f"streams: {', '.join(streams)}")
    return replace(config, model=replace(config.model, finecliper=replace(own, streams=streams)))


def _begin(
    config: TrainConfig, fold: Fold, folder: FoldFolder
) -> tuple[RestoredModel, Position, dict[str, Any] | None]:
    """A new model, or the last checkpoint of a fold that was begun before and its state."""
    if not folder.last.exists():
        return new_model(config.model, fold.label_set, config.seed), Position(), None
    state = read_training_state(folder.last)
    model = restore_model(folder.last, clip_weights=config.model.clip_weights)
    where = str(folder.last / TRAINING_STATE_NAME)
    position: Position = typed(Position, state.get("position"), where, field="position")
    return model, position, state


def _datasets(
    config: TrainConfig, clips: FoldClips, module: Method, fabric: Fabric, progress: Progress
) -> FoldData:
    label_set, num_frames = clips.fold.label_set, config.model.num_frames
    image_size, folder = module.image_size, config.data.streams_from

    def streams(part: tuple[Clip, ...]) -> StreamReader:
        return stream_reader(module, part, label_set, folder, progress)

    train = ClipDataset(
        clips.train,
        label_set,
        num_frames=num_frames,
        image_size=image_size,
        augmentation=config.augment,
        seed=config.seed,
        streams=streams(clips.train),
        augment_on_device=fabric.device.type == "cuda",
    )
    held_out = None
    if clips.held_out:
        held_out = ClipDataset(
            clips.held_out,
            label_set,
            num_frames=num_frames,
            image_size=image_size,
            streams=streams(clips.held_out),
        )
    return FoldData(train, held_out, clips.held_out_name)
