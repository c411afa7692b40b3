"""Settings of models and of training them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from dfercli.config.kinds import (
    Count,
    CountOrNone,
    Frames,
    Layers,
    Positive,
    Precision,
    Seed,
    Share,
    Stream,
    Tokens,
)
from dfercli.typed import Range


@dataclass(frozen=True)
class FineCliperConfig:
    """FineCLIPER's own settings; what the paper leaves open follows AIM (Yang et al., ICLR 2023).

    Attributes:
        adapters: Which adapters each adapted block of the image encoder gets.
        second_temporal_adapter: One more adapter in front of the attention over time.
        adapter_ratio: Width of an adapter's bottleneck by the width of the tower.
        adapter_scale: What the MLP adapter's output is multiplied by.
        mlp_placement: The MLP adapter works beside the MLP (`parallel`) or on its output.
        adapted_blocks: Only the last so many blocks of a tower are adapted; 0 is all.
        drop_path: Chance that an adapter is skipped, rising from 0 to this over the blocks.
        text_adapters: Which adapters each block of the text encoder gets.
        logits: `difference` of the similarities to the positive and the negative text of a class,
            `binary` (similarity to the positive text; a binary loss of both is added in training),
            or `positive` (no negative texts).
        binary_weight: Weight of the binary loss.
        temperature: `fixed` (0.01) or `learned`.
        streams: Views of a clip: `frames`, `landmarks`, `parsing`, `captions`; empty takes the
            frames and all else that the training data have.
        fusion: Weights of the streams are `learned`, or `fixed` to be equal.
        stream_dropout: Chance in training that a stream of a clip is left out.
    """

    adapters: tuple[Literal["temporal", "spatial", "mlp"], ...] = ("temporal", "spatial", "mlp")
    second_temporal_adapter: bool = False
    adapter_ratio: Share = 0.25
    adapter_scale: Positive = 0.5
    mlp_placement: Literal["parallel", "sequential"] = "parallel"
    adapted_blocks: CountOrNone = 0
    drop_path: Share = 0.2
    text_adapters: tuple[Literal["attention", "mlp"], ...] = ("attention", "mlp")
    logits: Literal["difference", "binary", "positive"] = "difference"
    binary_weight: Positive = 1.0
    temperature: Literal["fixed", "learned"] = "fixed"
    streams: tuple[Stream, ...] = ()
    fusion: Literal["learned", "fixed"] = "learned"
    stream_dropout: Share = 0.1


@dataclass(frozen=True)
class ModelConfig:
    """What a model is, apart from its weights and its label set.

    Attributes:
        method: `dfer-clip`, `finecliper`, or the baseline `mean-pooling`.
        clip: CLIP backbone as open_clip's MODEL/TAG; `tiny/random` is a toy.
        clip_weights: Local file with the backbone's weights, instead of the tag's download.
        num_frames: T, frames sampled per clip.
        normalization: `none` feeds [0, 1] as published, `clip` CLIP's mean and deviation.
        text_type: Class text: an LLM's `description`, the bare `name`, the name in `context`, or
            `pn`, FineCLIPER's sentence with and without the expression.
        descriptions: JSON file of class texts by `dfer describe`, instead of the shipped ones.
        context_tokens: N, learned context tokens.
        class_specific: Own context tokens per class, else shared ones.
        class_position: Where the class text stands among the context tokens.
        temporal_layers: Blocks of the temporal encoder; 0 is mean pooling.
        freeze_image: DFER-CLIP's image encoder stays as it is; only what comes after is trained.
        finecliper: What only FineCLIPER has.
    """

    method: Literal["dfer-clip", "finecliper", "mean-pooling"] = "dfer-clip"
    clip: str = "ViT-B-32-quickgelu/openai"
    clip_weights: Path | None = None
    num_frames: Frames = 16
    normalization: Literal["none", "clip"] = "none"
    text_type: Literal["description", "name", "context", "pn"] = "description"
    descriptions: Path | None = None
    context_tokens: Tokens = 8
    class_specific: bool = True
    class_position: Literal["end", "middle", "front"] = "end"
    temporal_layers: Layers = 1
    freeze_image: bool = False
    finecliper: FineCliperConfig = FineCliperConfig()


@dataclass(frozen=True)
class OptimConfig:
    """How a model is optimised; the defaults are DFER-CLIP's published values.

    Attributes:
        optimizer: `sgd` with momentum, or `adamw`.
        epochs: Passes over the training clips.
        batch_size: Clips per step, over all devices together; the last incomplete batch is dropped.
        accumulate: Pieces that each device's share of a batch is worked on in, to save memory.
        lr_temporal: Learning rate of the temporal encoder.
        lr_image: Learning rate of the image encoder.
        lr_context: Learning rate of the context tokens.
        lr_adapter: Learning rate of FineCLIPER's adapters, fusion and temperature.
        momentum: Of SGD.
        weight_decay: Of either optimiser.
        schedule: `step` multiplies by `gamma` at each milestone, `cosine` falls to 0.
        milestones: Epochs (counted from 0) at which `step` multiplies.
        gamma: The factor of `step`.
        warmup_epochs: Linear warm-up from 0.
        gradient_clip: Largest norm of the gradient; 0 is no clipping.
        loss: `cross-entropy`, or `focal`, to which clips that are easily recognised matter less.
        focal_gamma: How much less.
        label_smoothing: Share of a clip's label that is spread over all classes.
        class_weights: Rare classes count for more: `inverse` to their number of clips, or to the
            `effective` number.
        effective_beta: Of the effective number; the nearer to 1, the nearer to `inverse`.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    epochs: Count = 50
    batch_size: Count = 48
    accumulate: Count = 1
    lr_temporal: Positive = 1e-2
    lr_image: Positive = 1e-5
    lr_context: Positive = 1e-3
    lr_adapter: Positive = 3e-4
    momentum: Positive = 0.9
    weight_decay: Positive = 1e-4
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = (30, 40)
    gamma: Positive = 0.1
    warmup_epochs: Positive = 0.0
    gradient_clip: Positive = 0.0
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    focal_gamma: Positive = 2.0
    label_smoothing: Share = 0.0
    class_weights: Literal["none", "inverse", "effective"] = "none"
    effective_beta: Annotated[float, Range(0, 1 - 1e-9)] = 0.999


@dataclass(frozen=True)
class AugmentConfig:
    """Training augmentation, one draw for all frames of a clip.

    Attributes:
        crop_scale: Smallest share of the picture that a random crop keeps; 1 is no crop.
        flip: Probability of a horizontal flip.
        brightness: Brightness factor in 1 - b .. 1 + b (DFEW: 0.5).
        rotation_degrees: Largest rotation (FERV39k: 4).
    """

    crop_scale: Share = 0.08
    flip: Share = 0.5
    brightness: Share = 0.0
    rotation_degrees: Positive = 0.0

    @property
    def is_off(self) -> bool:
        """Whether every clip stays as it is."""
        changes = self.flip or self.brightness or self.rotation_degrees
        return self.crop_scale == 1 and not changes


@dataclass(frozen=True)
class DataConfig:
    """Which clips are read, and how.

    Attributes:
        root: Folder of a benchmark's copy; else `DFER_DATA/<name>`, else `data/<name>`.
        frames: Folder of clips within the copy, where it holds several.
        classes: MAFW's `single` or `compound` classes.
        captions: Whether MAFW's lists with captions are meant.
        folds: Split a face store into so many folds, by `group`.
        group: `subject`: no subject is in training and test at once.
        test: A second data set to test on, for data without a test list.
        validation: Share of the training clips held out to choose the checkpoint on.
        test_share: Share of one's own clips, by subject, that are held out to measure on where
            there is no test list and no `test`; 0 measures on the validation clips.
        split_seed: Seed of the splits into folds, test and validation; None is that of training.
        sampler: Clips of an epoch: `shuffled` all once; `balanced` as many of each class;
            `square-root` in between, by the square root of their numbers.
        label_order: Index order of a list file with numeric labels.
        workers: Processes that read frames; None for two, and on a GPU one per core, at most 16.
        streams_from: Folder with `landmarks/`, `parsing/` and `captions.jsonl` by clip, for data
            that are no face store.
    """

    root: Path | None = None
    frames: str | None = None
    classes: Literal["single", "compound"] = "single"
    captions: bool = False
    folds: int | None = None
    group: str | None = None
    test: str | None = None
    validation: Share = 0.1
    test_share: Share = 0.2
    split_seed: Seed | None = None
    sampler: Literal["shuffled", "square-root", "balanced"] = "shuffled"
    label_order: str | None = None
    workers: CountOrNone | None = None
    streams_from: Path | None = None


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `dfer train`.

    Attributes:
        dataset: `dfew`, `ferv39k`, `mafw`, a face store, or a list file.
        out: Folder of runs.
        name: Name of the run folder; by default data set, method and time.
        fold: 1-based fold, or `all`.
        seed: Seed of weights, order, sampling and augmentation.
        select: Which checkpoint is reported: `last`, `val` (best on the held-out part), or
            `best-on-test` (as published; optimistic).
        select_by: What the best checkpoint is best in: `war`, `uar`, or the `mean` of both.
        precision: `auto`, `32`, `bf16-mixed` or `16-mixed`.
        accelerator: `auto`, `cpu`, `cuda`, `mps`.
        devices: Number of processes per node.
        num_nodes: Number of machines; torchrun or Slurm starts dfer on each.
        strategy: `ddp` keeps the whole model on each device, `fsdp` spreads it over them; `auto` is
            `ddp` where there are several.
        logger: Where epochs are logged to besides metrics.jsonl.
        checkpoint_every: Steps between saves within an epoch; 0 saves at the end of each.
        gradient_checkpointing: Compute activations twice instead of keeping them.
        compile: Have torch.compile fuse the model's operations: minutes at the start, then faster.
        cache_features: Encode every frame once with the frozen image encoder, keep the features
            on disk, and train on them.
        cached_views: Augmented views of each training clip that are encoded, of which each epoch
            takes one; 0 is no augmentation.
        features_in: Folder of the features; None takes `DFER_CACHE`, else the user's cache folder.
    """

    dataset: str = ""
    out: Path = Path("runs")
    name: str | None = None
    fold: str = "all"
    seed: Seed = 1
    select: Literal["last", "val", "best-on-test"] = "val"
    select_by: Literal["war", "uar", "mean"] = "war"
    precision: Precision = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    num_nodes: Count = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    logger: Literal["none", "tensorboard", "wandb"] = "none"
    checkpoint_every: CountOrNone = 0
    gradient_checkpointing: bool = False
    compile: bool = False
    cache_features: bool = False
    cached_views: CountOrNone = 0
    features_in: Path | None = None
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()


@dataclass(frozen=True)
class SweepConfig:
    """Settings of `dfer sweep`.

    Attributes:
        file: TOML file of settings and a grid.
    """

    file: Path = Path("sweep.toml")
