"""`dfer train`: train a method on a data set, fold by fold."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch.distributed as dist
from lightning_fabric import Fabric

from dfercli.artifacts.atomic import telling_what_is_kept
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.run_config import (
    dataset_name,
    read_asked_config,
)
from dfercli.artifacts.run_folder import FoldFolder, fold_folders
from dfercli.config import TrainConfig
from dfercli.data.fold_clips import wanted_folds
from dfercli.errors import ArtifactError, ConfigError, DferError
from dfercli.inference.collectives import first_failure
from dfercli.inference.devices import precision_for_training
from dfercli.inference.fabric import make_fabric
from dfercli.models.clip_backbone import require_clip
from dfercli.names import is_plain
from dfercli.processes import StopSignals, stop_signals
from dfercli.progress import Progress, SilentProgress
from dfercli.training.cached_features import require_frozen
from dfercli.training.continuing import (
    is_begun,
    is_stillborn,
    name_by_the_time,
    refuse_other_settings,
)
from dfercli.training.epoch_logger import require_logger
from dfercli.training.fold import train_fold
from dfercli.training.fold_result import FoldResult, read_result
from dfercli.training.published_texts import require_texts

END_SECONDS = 10.0  # for the other processes of a training to end by themselves


@dataclass(frozen=True)
class TrainResult:
    """The result of `dfer train`: the run folder and the result of each fold."""

    run: Path
    folds: tuple[FoldResult, ...]


def run(config: TrainConfig, progress: Progress) -> TrainResult:
    """Train all folds that `config` asks for, in a new run folder.

    Raises:
        ConfigError: settings that cannot be used, or a run folder that exists.
        DataError: clips that cannot be used.
        ArtifactError: weights that are missing, or a folder that cannot be written.
    """
    require_clip(config.model.clip, config.model.clip_weights)
    folds = wanted_folds(config)
    if config.name is not None and not is_plain(config.name):
        raise ConfigError(f"--name is one folder in {config.out}, got {config.name!r}")
    require_logger(config.logger)
    require_frozen(config)
    require_texts(config)
    fabric = _launch(config)
    run_folder = config.out / fabric.broadcast(config.name or name_by_the_time(config))
    _refuse_existing(run_folder, fabric)
    with _locked(run_folder, fabric):
        _refuse_existing(run_folder, fabric)  # another process may have been faster
        return _train_folds(config, run_folder, folds, fabric, progress)


def run_or_resume(config: TrainConfig, progress: Progress) -> TrainResult:
    """Train in the run folder that `config` names, or continue the run in it.

    The default name is `<dataset>-<method>`, without a time, so the same settings always mean the
    same folder. A finished run only has its results reported again.

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
    return resume(run_folder, progress, config.features_in)


def resume(run_folder: Path, progress: Progress, features_in: Path | None = None) -> TrainResult:
    """Continue a run where it stopped; finished folds are kept as they are.

    A run may come from a stranger, so the features folder in its `config.json` is not used:
    nothing is written outside the run and the user's own folders.

    Args:
        run_folder: The run.
        progress: Where to report.
        features_in: Folder of cached features, see `TrainConfig`.

    Raises:
        ArtifactError: no such run, one that cannot be read, or that another process trains.
    """
    folders = fold_folders(run_folder)
    if not folders:
        raise ArtifactError(f"no run to resume: {run_folder} has no fold-1/")
    config = read_asked_config(folders[0])
    if config.cache_features and config.features_in not in (None, features_in):
        progress.note(
            f"the run names the features folder {config.features_in}, but only "
            f"--features-in {config.features_in} uses it"
        )
    config = replace(config, features_in=features_in)
    if all(FoldFolder(run_folder / f"fold-{n}").is_finished for n in wanted_folds(config)):
        progress.note(f"{run_folder} is finished")
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
    """Start Fabric and, for several processes, the other ones.

    Raises:
        ConfigError: the device is not available, or batches cannot be shared equally.
    """
    num_processes = config.devices * config.num_nodes
    if config.optim.batch_size % num_processes:
        raise ConfigError(
            f"{num_processes} processes cannot share batches of {config.optim.batch_size} clips "
            "equally",
            hint=f"choose a multiple: --batch-size {num_processes * 8}",
        )
    augment = config.augment
    if augment.ema and config.strategy == "fsdp":
        raise ConfigError(
            "augment.ema needs whole weights, but fsdp shards them", hint="use --strategy ddp"
        )
    if (augment.mixup or augment.cutmix) and config.optim.batch_size < 2 * num_processes:
        raise ConfigError(
            f"mixup and cutmix need two clips in each process, got batches of "
            f"{config.optim.batch_size}",
            hint=f"--batch-size {num_processes * 8}",
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
    kept = telling_what_is_kept(lambda: _kept(run_folder))
    with stop_signals() as signals, _other_processes(fabric, signals), kept:
        try:
            for number in folds:
                folder = FoldFolder(run_folder / f"fold-{number}")
                if folder.is_finished:
                    results.append(read_result(folder, number))
                else:
                    results.append(train_fold(config, folder, number, fabric, progress, signals))
        except KeyboardInterrupt:
            progress.note(f"stopped; continue with: dfer train --resume {run_folder}")
            raise
    return TrainResult(run_folder, tuple(results))


def _kept(run_folder: Path) -> str | None:
    """How to go on after an error; None if no state of the training is there."""
    if not any(fold.last_name or fold.is_finished for fold in fold_folders(run_folder)):
        return None
    return f"what is trained so far is kept; go on with: dfer train --resume {run_folder}"


@contextmanager
def _other_processes(fabric: Fabric, signals: StopSignals) -> Iterator[None]:
    """Leave the process group; child processes end with this one."""
    try:
        yield
    except KeyboardInterrupt:
        for process in getattr(fabric.strategy.launcher, "procs", ()):
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS if signals.agreed.stop else 0)
            process.kill()
        raise
    finally:
        if dist.is_initialized():  # gloo's threads may abort the interpreter at its exit
            dist.destroy_process_group()
