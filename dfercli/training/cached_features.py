"""`dfer train --cache-features`: encode every frame once, then train on the features on disk."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor

from dfercli.artifacts.cache_folder import cache_folder
from dfercli.artifacts.feature_files import features_key, write_features
from dfercli.config import TrainConfig
from dfercli.data.clips import Clip
from dfercli.data.features import (
    ClipContents,
    FeatureDataset,
    FramesToEncode,
    ViewFile,
    ViewSource,
    content_digest,
    items_in_order,
)
from dfercli.data.fold_clips import FoldClips
from dfercli.data.sampling import Sampling
from dfercli.errors import ArtifactError, ConfigError, DataError, DferError
from dfercli.inference.collectives import first_failure
from dfercli.inference.devices import precision_for_training
from dfercli.inference.predict_logits import num_readers
from dfercli.inference.restore import RestoredModel
from dfercli.models.dfer_clip import DferClip
from dfercli.progress import Progress
from dfercli.training.fold_data import FoldData

ValueT = TypeVar("ValueT")

NOT_FROZEN = {
    "mean-pooling": "it trains nothing but its image encoder",
    "clip-lora": "it trains low-rank matrices inside its image encoder",
    "finecliper": "it trains adapters inside its image encoder",
}


def require_frozen(config: TrainConfig) -> None:
    """Refuse settings that do not allow a frozen image encoder or cached features.

    Raises:
        ConfigError: settings that exclude each other; the hint names the way out.
    """
    model = config.model
    if config.cached_views and not config.cache_features:
        raise ConfigError(
            f"--cached-views {config.cached_views} without cached features",
            hint="add --cache-features --freeze-image",
        )
    if not config.cache_features and not model.freeze_image:
        return
    asked = "--cache-features" if config.cache_features else "--freeze-image"
    if why := NOT_FROZEN.get(model.method):
        raise ConfigError(
            f"{asked} does not go with {model.method}: {why}", hint="use --method dfer-clip"
        )
    if not model.freeze_image:
        raise ConfigError(
            "--cache-features needs an image encoder that is not trained",
            hint="add --freeze-image",
        )
    if not model.temporal_layers and not model.context_tokens:
        raise ConfigError(
            f"{asked}: without temporal layers and context tokens there is nothing to train",
            hint="add --temporal-layers 1 or --context-tokens 8",
        )
    on_frames = [name for name in ("mixup", "cutmix", "mirrored") if getattr(config.augment, name)]
    if config.cache_features and on_frames:
        raise ConfigError(
            f"cached features do not go with augment.{on_frames[0]}, which works on frames",
            hint="train without --cache-features",
        )
    if config.cached_views and config.augment.is_off:
        raise ConfigError(
            f"--cached-views {config.cached_views}: without augmentation all views are the same",
            hint="omit --cached-views",
        )


def cached_datasets(
    config: TrainConfig, clips: FoldClips, model: RestoredModel, fabric: Fabric, progress: Progress
) -> FoldData:
    """Encode the clips that are not cached yet, and return data sets that read the cache.

    Every process must call this, with the bare model; each encodes its share.

    Args:
        config: The settings of the training.
        clips: The clips of the fold.
        model: The model; its image encoder is moved to the device.
        fabric: The engine.
        progress: Where to report.

    Raises:
        DataError: frames that cannot be read.
        ArtifactError: a folder that cannot be written, or that another process cannot see.
    """
    module = model.module
    assert isinstance(module, DferClip)
    if not config.cached_views and not config.augment.is_off:
        progress.note("cached features: no augmentation (--cached-views N would draw N views)")
    source = ViewSource(
        config.features_in or cache_folder("features"),
        _encoder_digest(model, config, fabric),
        module.image_size,
        config.augment,
        config.seed,
    )
    views = tuple(range(config.cached_views)) or (None,)
    wanted = [(clip, views) for clip in clips.train]
    wanted += [(clip, (None,)) for clip in clips.held_out]
    files = _look_for(wanted, source, num_readers(config.data.workers, fabric), fabric, progress)
    encoded = _encode(
        _missing(files, progress),
        source,
        module,
        num_readers(config.data.workers, fabric),
        fabric,
        progress,
    )
    paths = [[file.path for file in of_clip] for of_clip in files]
    _say_size({path for of_clip in paths for path in of_clip}, encoded, source.folder, progress)
    label_set, num_train = clips.fold.label_set, len(clips.train)

    def dataset(part: Sequence[Clip], where: slice, *, training: bool) -> FeatureDataset:
        return FeatureDataset(
            part,
            label_set,
            paths[where],
            num_frames=config.model.num_frames,
            image_size=module.image_size,
            training=training,
            seed=config.seed,
            sampling=Sampling(config.augment.stride, config.augment.views),
        )

    train = dataset(clips.train, slice(num_train), training=True)
    held_out = None
    if clips.held_out:
        held_out = dataset(clips.held_out, slice(num_train, None), training=False)
    return FoldData(train, held_out, clips.held_out_name)


def _encoder_digest(model: RestoredModel, config: TrainConfig, fabric: Fabric) -> str:
    """Digest of everything that a frame's features depend on, except the frame."""
    weights = hashlib.sha256()
    for name, tensor in sorted(model.module.clip.visual.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        weights.update(_bytes(tensor))
    architecture: dict[str, Any] = dict(model.card.backbone["architecture"])
    architecture.pop("text_cfg", None)
    return features_key(
        {
            "weights": weights.hexdigest(),
            "architecture": architecture,
            "normalization": model.config.normalization,
            "image_size": model.module.image_size,
            "precision": precision_for_training(config),
            "device": fabric.device.type,
        }
    )


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _look_for(
    wanted: Sequence[tuple[Clip, tuple[int | None, ...]]],
    source: ViewSource,
    workers: int,
    fabric: Fabric,
    progress: Progress,
) -> list[list[ViewFile]]:
    """Look up the files of each clip; each process checks its share and shares the result."""
    own = wanted[fabric.global_rank :: fabric.world_size]
    found: list[list[ViewFile]] = []
    error: DferError | None = None
    try:
        with progress.task("reading frames", total=len(wanted)) as task:
            for files in items_in_order(ClipContents(own, source), workers, progress.note):
                found.append(files)
                task.advance(fabric.world_size)
    except DferError as caught:
        error = caught
    if failure := first_failure(fabric, error):
        raise failure
    together: list[list[ViewFile]] = [[] for _ in wanted]
    for rank, share in enumerate(_of_all(fabric, found)):
        together[rank :: fabric.world_size] = share
    return together


def _missing(files: Sequence[Sequence[ViewFile]], progress: Progress) -> list[ViewFile]:
    """The views to encode, each content once; reports the number of damaged files."""
    unique = {file.path: file for of_clip in files for file in of_clip}.values()
    damaged = [file for file in unique if file.state == "damaged"]
    if damaged:
        progress.note(
            f"{len(damaged)} files of cached features were damaged and are computed again: "
            f"{damaged[0].path}" + (", …" if len(damaged) > 1 else "")
        )
    return [file for file in unique if file.state != "whole"]


def _encode(
    files: Sequence[ViewFile],
    source: ViewSource,
    module: DferClip,
    workers: int,
    fabric: Fabric,
    progress: Progress,
) -> int:
    """Encode and write views, each process its share; return how many were encoded in all."""
    own = files[fabric.global_rank :: fabric.world_size]
    error: DferError | None = None
    if files:
        module.to(fabric.device)
        try:
            _encode_own(own, len(files), source, module, workers, fabric, progress)
        except DferError as caught:
            error = caught
    if failure := first_failure(fabric, error):
        raise failure
    absent = [file.path for file in files if not file.path.is_file()]
    if absent:
        error = ArtifactError(
            f"{len(absent)} feature files that other processes wrote are not in {source.folder}",
            hint="name a folder that all machines share: --features-in FOLDER",
        )
    if failure := first_failure(fabric, error):
        raise failure
    return len(files)


def _encode_own(
    files: Sequence[ViewFile],
    total: int,
    source: ViewSource,
    module: DferClip,
    workers: int,
    fabric: Fabric,
    progress: Progress,
) -> None:
    began, done = time.monotonic(), 0
    digests: list[bytes] = []
    features: list[Tensor] = []
    with torch.no_grad(), progress.task("encoding frames", total=total) as task:
        for piece in items_in_order(FramesToEncode(files, source), workers, progress.note):
            with fabric.autocast():
                encoded = module.frame_features(piece.frames.to(fabric.device))
            features.append(encoded.cpu())
            digests += piece.digests
            if not piece.is_last:
                continue
            if content_digest(digests) != piece.file.content:
                raise DataError(
                    f"clip {piece.file.clip.clip_id}: the frames in {piece.file.clip.location} "
                    "changed while they were being encoded",
                    hint="run the same command again when they are complete",
                )
            write_features(piece.file.path, torch.cat(features))
            digests, features = [], []
            done += 1
            task.advance(fabric.world_size)
            rate = done * fabric.world_size / (time.monotonic() - began)
            task.status(clips_per_s=rate)


def _say_size(paths: Iterable[Path], encoded: int, folder: Path, progress: Progress) -> None:
    sizes = [path.stat().st_size for path in paths]
    progress.info(
        f"cached features: {len(sizes)} files, {sum(sizes) / 1e6:,.1f} MB in {folder} "
        f"({encoded} encoded now)"
    )


def _of_all(fabric: Fabric, value: ValueT) -> list[ValueT]:
    """The values of all processes, by rank."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values
