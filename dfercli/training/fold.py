"""One fold of a training: its clips, model and loop, then calibration and measurement."""

from dataclasses import asdict, replace
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.cache_folder import cache_folder
from dfercli.artifacts.checkpoint import TRAINING_STATE_NAME, read_training_state
from dfercli.artifacts.run_config import (
    read_train_config,
    write_train_config,
)
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import TrainConfig
from dfercli.config.kinds import Accelerator
from dfercli.data.clips import Clip, Fold
from dfercli.data.fold_clips import FoldClips, read_fold_clips, split_seed
from dfercli.data.folds import dataset_kind, split_warning
from dfercli.data.layout import dataset_root
from dfercli.data.loading import ClipDataset
from dfercli.data.open_sets import faces_of
from dfercli.data.sampling import AS_PUBLISHED, Sampling
from dfercli.data.streams import StreamReader
from dfercli.errors import ArtifactError, DataError
from dfercli.evaluation.clip_streams import available_streams, how_made, stream_reader
from dfercli.inference.devices import precision_for_training
from dfercli.inference.fsdp import load_optimizer_state
from dfercli.inference.predict_logits import num_readers
from dfercli.inference.restore import RestoredModel, new_model, restore_model
from dfercli.models.batch_norm import synchronise_batch_norm
from dfercli.models.cost import cost_lines, cost_of
from dfercli.models.losses import make_criterion
from dfercli.models.method import Method
from dfercli.processes import StopSignals
from dfercli.progress import Progress
from dfercli.training.averaged_weights import AveragedWeights
from dfercli.training.cached_features import cached_datasets
from dfercli.training.calibrate import calibrate
from dfercli.training.epoch_logger import open_logger
from dfercli.training.fit import fit
from dfercli.training.fold_data import FoldData
from dfercli.training.fold_result import FoldResult, finish_fold
from dfercli.training.leaks import refuse_leaks
from dfercli.training.published_texts import with_class_texts
from dfercli.training.run_records import crop_settings, environment, trained_on
from dfercli.training.state import Position, Training
from dfercli.training.step import set_up_training
from dfercli.typed import typed


def train_fold(
    asked: TrainConfig,
    folder: FoldFolder,
    number: int,
    fabric: Fabric,
    progress: Progress,
    signals: StopSignals,
) -> FoldResult:
    """Train one fold, from its start or from its last checkpoint, and measure it.

    Args:
        asked: The settings as the user gave them.
        folder: The folder of the fold.
        number: The fold, 1-based.
        fabric: The engine, launched.
        progress: Where to report.
        signals: A stop that these hold back ends the training once its work is saved.

    Raises:
        DataError: clips that cannot be used.
        ArtifactError: a checkpoint that does not fit, or a folder that cannot be written.
        Stopped: a signal asked for it; the work is saved.
    """
    clips = refuse_leaks(asked, read_fold_clips(asked, number), fabric, progress)
    if fabric.broadcast(folder.config.is_file()):
        config = read_train_config(folder)
    else:
        config = _with_streams(asked, clips, progress)
        config = with_class_texts(config, clips.fold.label_set, progress)
        config = _with_batch_size(config, clips, fabric.world_size, progress)
    config = _with_what_is_here(config, asked, folder, fabric)
    if fabric.is_global_zero:
        write_train_config(folder, config, asked)
        write_json(folder.environment, environment(config, fabric))
    if warning := split_warning(clips.fold):
        progress.note(warning)
    model, start, state = _begin(config, clips.fold, folder)
    bare = model.module
    if config.gradient_checkpointing:
        bare.clip.set_grad_checkpointing()
    for line in cost_lines(cost_of(bare), config.optim.batch_size // fabric.world_size):
        progress.info(line)
    if fabric.world_size > 1:
        synchronise_batch_norm(bare, fabric.device.type)
    data = (
        cached_datasets(config, clips, model, fabric, progress)
        if config.cache_features
        else _datasets(config, clips, bare, fabric, progress)
    )
    targets = data.train.labels if data.train.targets is None else data.train.targets
    bare.criterion = make_criterion(config.optim, targets, clips.fold.label_set)
    module, optimizer = set_up_training(
        fabric,
        bare,
        config.optim,
        precision_for_training(config),
        compile=config.compile is True,
    )
    averaged = AveragedWeights(bare, config.augment.ema) if config.augment.ema else None
    if state is not None:
        _restore_state(module, optimizer, averaged, fabric, state, folder)
    logger = open_logger(config, folder) if fabric.is_global_zero else None
    training = Training(
        fabric=fabric,
        module=bare,
        model=module,
        optimizer=optimizer,
        data=data,
        config=config,
        folder=folder,
        card=replace(
            model.card,
            crop=crop_settings(clips.fold),
            sampling={**model.card.sampling, **_sampling_for_card(config)},
            trained_on=trained_on(config, clips),
            streams_made=how_made(bare.streams, clips.train, config.data.streams_from),
        ),
        progress=progress,
        logger=logger,
        signals=signals,
        averaged=averaged,
    )
    fit(training, start)
    if logger is not None:
        logger.finalize("success")
    calibrate(folder.selected, training.data, fabric, config, progress)
    return finish_fold(config, folder, clips, fabric, progress)


def _with_what_is_here(
    config: TrainConfig, asked: TrainConfig, folder: FoldFolder, fabric: Fabric
) -> TrainConfig:
    """The settings with `auto` and None resolved for this machine.

    A run may resume elsewhere, so each start resolves the requested settings again.
    """
    data = asked.data
    root, kind = data.root, dataset_kind(asked.dataset)
    if root is None and kind == "benchmark":
        root = dataset_root(asked.dataset.lower(), None)
    elif root is None and kind == "open set":
        root = faces_of(asked.dataset.lower(), None)
    features_in = asked.features_in or cache_folder("features")
    on_several = fabric.world_size > 1
    return replace(
        config,
        name=folder.path.absolute().parent.name,
        precision=precision_for_training(asked) if asked.precision == "auto" else asked.precision,
        accelerator=cast(Accelerator, fabric.device.type),
        strategy="ddp" if on_several and asked.strategy == "auto" else asked.strategy,
        features_in=features_in if asked.cache_features else asked.features_in,
        data=replace(
            config.data,
            root=root,
            split_seed=split_seed(asked),
            workers=num_readers(data.workers, fabric),
        ),
    )


def _with_batch_size(
    config: TrainConfig, clips: FoldClips, world_size: int, progress: Progress
) -> TrainConfig:
    """The settings with a batch size that fits the clips and the processes."""
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
    """The settings with the streams that FineCLIPER will use, by name."""
    own = config.model.finecliper
    if config.model.method != "finecliper":
        return config
    there = available_streams(clips.train, config.data.streams_from)
    if absent := [name for name in own.streams if name not in there]:
        raise DataError(
            f"no training clip of {config.dataset} has {', '.join(absent)}",
            hint="dfer preprocess --streams makes them",
        )
    streams = own.streams or there
    progress.info(f"streams: {', '.join(streams)}")
    return replace(config, model=replace(config.model, finecliper=replace(own, streams=streams)))


def _begin(
    config: TrainConfig, fold: Fold, folder: FoldFolder
) -> tuple[RestoredModel, Position, dict[str, Any] | None]:
    """A new model, or the last checkpoint of a fold that was begun earlier, with its state."""
    if not folder.last.exists():
        return new_model(config.model, fold.label_set, config.seed), Position(), None
    state = read_training_state(folder.last)
    model = restore_model(folder.last, clip_weights=config.model.clip_weights)
    where = str(folder.last / TRAINING_STATE_NAME)
    position: Position = typed(Position, state.get("position"), where, field="position")
    return model, position, state


def _restore_state(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedWeights | None,
    fabric: Fabric,
    state: dict[str, Any],
    folder: FoldFolder,
) -> None:
    """Give the optimiser and the loss scaling the state of the last checkpoint."""
    try:
        load_optimizer_state(model, optimizer, state["optimizer"])
        if averaged is not None:
            averaged.resume(state["weights"])
        fabric.strategy.precision.load_state_dict(state["precision"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ArtifactError(
            f"{folder.last}: its training state does not fit the model: {error!r}"
        ) from error


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
        sampling=_sampling(config),
    )
    held_out = None
    if clips.held_out:
        held_out = ClipDataset(
            clips.held_out,
            label_set,
            num_frames=num_frames,
            image_size=image_size,
            streams=streams(clips.held_out),
            sampling=_sampling(config),
        )
    return FoldData(train, held_out, clips.held_out_name)


def _sampling(config: TrainConfig) -> Sampling:
    own = config.augment
    return Sampling(own.stride, own.views, own.mirrored)


def _sampling_for_card(config: TrainConfig) -> dict[str, Any]:
    """The differences from the published training."""
    usual = asdict(AS_PUBLISHED)
    return {name: own for name, own in asdict(_sampling(config)).items() if own != usual[name]}
