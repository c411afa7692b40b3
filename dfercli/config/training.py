"""Settings of models and of training them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from dfercli.config.data import A_DATASET, DATASETS, DataConfig
from dfercli.config.kinds import (
    Accelerator,
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
from dfercli.config.options import (
    DATA,
    DEVICE,
    MODEL,
    OPTIMISATION,
    OUTPUT,
    argument,
    option,
    setting,
)
from dfercli.typed import Range

BACKBONES = ("ViT-B-32-quickgelu/openai", "ViT-B-16-quickgelu/openai", "ViT-L-14-quickgelu/openai")
RECIPES = (
    "clip-lora",
    "crema-d",
    "demo",
    "dfer-clip",
    "dfer-clip-published",
    "finecliper",
    "mean-pooling",
    "ravdess",
)


@dataclass(frozen=True)
class FineCliperConfig:
    """FineCLIPER's own settings.

    They follow AIM (Yang et al., ICLR 2023) where the paper is silent.
    """

    adapters: tuple[Literal["temporal", "spatial", "mlp"], ...] = setting(
        ("temporal", "spatial", "mlp"),
        "Adapters that each adapted block of the image encoder gets.",
    )
    second_temporal_adapter: bool = setting(
        False, "One more adapter before the attention over time."
    )
    adapter_ratio: Share = setting(
        0.25, "Width of an adapter's bottleneck over the width of the tower."
    )
    adapter_scale: Positive = setting(0.5, "Factor of the MLP adapter's output.")
    mlp_placement: Literal["parallel", "sequential"] = setting(
        "parallel",
        "Whether the MLP adapter works beside the MLP (parallel) or on its output (sequential).",
    )
    adapted_blocks: CountOrNone = setting(0, "Adapt only this many last blocks of a tower; 0: all.")
    drop_path: Share = setting(
        0.2, "Probability of skipping an adapter, rising from 0 to this over the blocks."
    )
    text_adapters: tuple[Literal["attention", "mlp"], ...] = setting(
        ("attention", "mlp"), "Adapters that each block of the text encoder gets."
    )
    logits: Literal["difference", "binary", "positive"] = setting(
        "difference",
        "difference of the similarities to the positive and the negative text of a class, binary "
        "(similarity to the positive text; training adds a binary loss of both), or positive (no "
        "negative texts).",
    )
    binary_weight: Positive = setting(1.0, "Weight of the binary loss.")
    temperature: Literal["fixed", "learned"] = setting("fixed", "fixed (0.01) or learned.")
    streams: tuple[Stream, ...] = option(
        (),
        "For FineCLIPER: frames,landmarks,parsing,captions. By default all that exist.",
        MODEL,
    )
    fusion: Literal["learned", "fixed"] = setting(
        "learned", "Weights of the streams: learned, or equal."
    )
    stream_dropout: Share = setting(0.1, "Probability that training drops a stream of a clip.")


@dataclass(frozen=True)
class ClipLoraConfig:
    """Settings of clip-lora only; the defaults are CLAIP-Emo's."""

    rank: Annotated[int, Range(1, 1024)] = setting(8, "Rank of the added matrices.")
    alpha: Positive = setting(32.0, "They are scaled by alpha / rank.")
    dropout: Share = setting(0.1, "Share of their input features that each step leaves out.")
    targets: tuple[Literal["q", "k", "v", "out", "mlp"], ...] = setting(
        ("q", "k", "v", "out", "mlp"), "Matrices of a block to adapt."
    )
    adapted_blocks: CountOrNone = setting(
        0, "Adapt only this many last blocks of the image encoder; 0: all."
    )
    head: Literal["linear", "texts"] = setting(
        "linear", "A linear layer, or cosines with the class texts, which you can change later."
    )
    feature: Literal["auto", "before", "after"] = setting(
        "auto", "Feature of a frame: before CLIP's projection or after it; auto: before for linear."
    )


@dataclass(frozen=True)
class ModelConfig:
    """Settings of a model, apart from its weights and its label set."""

    method: Literal["clip-lora", "dfer-clip", "finecliper", "mean-pooling"] = option(
        "dfer-clip", "The method; mean-pooling is the baseline.", MODEL
    )
    clip: str = option(
        "ViT-B-32-quickgelu/openai",
        "CLIP backbone, MODEL/TAG of open_clip; tiny/random is a toy.",
        MODEL,
        metavar="MODEL/TAG",
        suggestions=BACKBONES,
    )
    clip_weights: Path | None = option(None, "Local file with the backbone's weights.", MODEL)
    num_frames: Frames = setting(16, "T, frames sampled per clip.")
    normalization: Literal["none", "clip", "imagenet"] = setting(
        "none",
        "none: feed [0, 1] as published; else use the mean and deviation of CLIP or ImageNet.",
    )
    text_type: Literal["description", "name", "context", "pn", "published"] = option(
        "description",
        "Class texts: an LLM's description, the bare name, the name in context, or pn: a sentence "
        "with and one without the expression.",
        MODEL,
    )
    descriptions: Path | None = option(
        None,
        "Class texts from `dfer describe`, or a published checkpoint (.pth) to take them from.",
        MODEL,
    )
    own_texts: bool = option(
        False,
        "If published class texts are missing, use ours instead; results are labelled so.",
        MODEL,
        "--own-texts",
    )
    class_texts: tuple[str, ...] = setting(
        (), "One text per class, in order; a training writes them that took them from a file."
    )
    context_tokens: Tokens = option(8, "Learned tokens around each class text.", MODEL)
    class_specific: bool = option(
        True, "Tokens per class, or shared ones.", MODEL, "--class-specific/--generic-context"
    )
    class_position: Literal["end", "middle", "front"] = option(
        "end", "Position of the class text among the learned tokens.", MODEL
    )
    temporal_layers: Layers = option(
        1, "Blocks of the temporal encoder; 0: mean over frames.", MODEL
    )
    freeze_image: bool = option(
        False, "Leave DFER-CLIP's image encoder as it is.", MODEL, "--freeze-image"
    )
    finecliper: FineCliperConfig = FineCliperConfig()
    clip_lora: ClipLoraConfig = ClipLoraConfig()


@dataclass(frozen=True)
class OptimConfig:
    """How a model is optimised; the defaults are DFER-CLIP's published values."""

    optimizer: Literal["sgd", "adamw"] = setting("sgd", "sgd with momentum, or adamw.")
    epochs: Count = option(
        50, "Passes over the training clips.", OPTIMISATION, default="the recipe's"
    )
    batch_size: Count = option(
        48,
        "Clips per step, over all devices together; the last incomplete batch is dropped.",
        OPTIMISATION,
        default="the recipe's",
    )
    accumulate: Count = setting(
        1, "Gradient accumulation: pieces of each device's share of a batch, to save memory."
    )
    lr_temporal: Positive = setting(
        1e-2, "Learning rate of the temporal encoder, and of clip-lora's linear head."
    )
    lr_image: Positive = setting(1e-5, "Learning rate of the image encoder.")
    lr_context: Positive = setting(1e-3, "Learning rate of the context tokens.")
    lr_adapter: Positive = setting(
        3e-4, "Learning rate of adapters: clip-lora's, and FineCLIPER's with fusion, temperature."
    )
    momentum: Positive = setting(0.9, "Momentum of SGD.")
    weight_decay: Positive = setting(1e-4, "Weight decay of either optimiser.")
    schedule: Literal["step", "cosine"] = setting(
        "step", "step multiplies by gamma at each milestone, cosine falls to 0."
    )
    milestones: tuple[int, ...] = setting((30, 40), "Epochs (from 0) at which step multiplies.")
    gamma: Positive = setting(0.1, "The factor of step.")
    warmup_epochs: Positive = setting(0.0, "Linear warm-up from 0.")
    gradient_clip: Positive = setting(0.0, "Largest norm of the gradient; 0: no clipping.")
    loss: Literal["cross-entropy", "focal"] = option(
        "cross-entropy",
        "focal: clips that are easy to recognise count less.",
        OPTIMISATION,
    )
    focal_gamma: Positive = setting(2.0, "Exponent of the focal loss: how much less they count.")
    label_smoothing: Share = option(
        0.0, "Share of a clip's label to spread over all classes.", OPTIMISATION
    )
    class_weights: Literal["none", "inverse", "effective"] = option(
        "none",
        "Let rare classes count more: by the inverse of their number of clips, or of the "
        "effective number.",
        OPTIMISATION,
    )
    effective_beta: Annotated[float, Range(0, 1 - 1e-9)] = setting(
        0.999, "Beta of the effective number; the closer to 1, the closer to inverse."
    )


@dataclass(frozen=True)
class AugmentConfig:
    """Training augmentation, one draw for all frames of a clip, and other regularisers."""

    crop_scale: Share = setting(
        0.08, "Smallest share of the picture that a random crop keeps; 1: no crop."
    )
    flip: Share = setting(0.5, "Probability of a horizontal flip.")
    brightness: Share = setting(0.0, "Brightness factor in 1 - b .. 1 + b (DFEW: 0.5).")
    rotation_degrees: Positive = setting(0.0, "Largest rotation (FERV39k: 4).")
    rotation_pixels: Literal["bilinear", "nearest"] = setting(
        "bilinear", "How to read a rotated pixel; the published trainer takes the nearest."
    )

    rand_augment: CountOrNone = setting(
        0, "RandAugment: operations per clip, the same for all of its frames; 0 is off."
    )
    rand_magnitude: Annotated[float, Range(0, 10)] = setting(7.0, "Their strength, 0 to 10.")
    erasing: Share = setting(
        0.0, "Probability of erasing a rectangle of a clip, the same in all frames."
    )
    mixup: Positive = setting(
        0.0, "Mix clips in pairs: parameter of the Beta distribution of their shares; 0 is off."
    )
    cutmix: Positive = setting(
        0.0, "Likewise, by a rectangle of the other clip; with mixup, each batch draws one of them."
    )
    ema: Annotated[float, Range(0, 1 - 1e-9)] = setting(
        0.0, "Measure and keep a moving average of the weights: decay per step; 0 is off."
    )
    stride: CountOrNone = setting(
        0, "Frames from a sampled one to the next; 0 spreads them over the clip, as published."
    )
    views: Annotated[int, Range(1, 64)] = setting(
        1, "Draws of frames per clip over which a measurement averages."
    )
    mirrored: bool = setting(
        False, "Let a measurement average over each clip and its mirror image, too."
    )

    @property
    def is_off(self) -> bool:
        """Whether the pictures of every clip stay as they are."""
        changes = self.flip or self.brightness or self.rotation_degrees
        operations = self.rand_augment or self.erasing
        return self.crop_scale == 1 and not changes and not operations

    @property
    def of_pictures(self) -> dict[str, Any]:
        """The settings that change pictures: what features of augmented frames depend on."""
        always = ("crop_scale", "flip", "brightness", "rotation_degrees", "rotation_pixels")
        made = {name: getattr(self, name) for name in always}
        if self.rand_augment:
            made |= {"rand_augment": self.rand_augment, "rand_magnitude": self.rand_magnitude}
        if self.erasing:
            made["erasing"] = self.erasing
        return made


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `dfer train`."""

    dataset: str = argument("", A_DATASET, suggestions=DATASETS)
    recipe: str | None = option(
        None,
        "Recipe by name or TOML file; all other settings override it. By default the method's own.",
        OPTIMISATION,
        suggestions=RECIPES,
    )
    out: Path = option(Path("runs"), "Folder of runs.", OUTPUT, writes="folder")
    name: str | None = option(
        None, "Name of the run. By default data set, method and time.", OUTPUT
    )
    fold: str = option("all", "1-based fold, or all.", DATA)
    seed: Seed = option(1, "Seed of weights, order, sampling and augmentation.", OPTIMISATION)
    seeds: tuple[Seed, ...] = option(
        (),
        "Train once with each seed on the same splits; report mean and deviation over them.",
        OPTIMISATION,
        metavar="N,N",
    )
    select: Literal["last", "val", "best-on-test"] = option(
        "val",
        "Checkpoint to report: the last, the best on the held-out part (val), or best-on-test (as "
        "published; optimistic).",
        OPTIMISATION,
    )
    select_by: Literal["war", "uar", "mean"] = option(
        "war", "Measure of the best checkpoint; mean: the mean of both.", OPTIMISATION
    )
    precision: Precision = option("auto", "Precision of the computation.", DEVICE)
    accelerator: Accelerator = option("auto", "Where to compute.", DEVICE)
    devices: Count = option(1, "Processes, one per device, on each machine.", DEVICE)
    num_nodes: Count = option(1, "Machines; torchrun or Slurm starts dfer on each.", DEVICE)
    strategy: Literal["auto", "ddp", "fsdp"] = option(
        "auto",
        "With several processes: ddp keeps the whole model on each device, fsdp shards it over "
        "them; auto is ddp.",
        DEVICE,
    )
    logger: Literal["none", "tensorboard", "wandb"] = option(
        "none", "Also log epochs here (extras).", OUTPUT
    )
    checkpoint_every: CountOrNone = option(
        0, "Steps between saves within an epoch; 0: at the end of each.", OUTPUT
    )
    gradient_checkpointing: bool = option(
        False, "Save memory by computing activations twice.", DEVICE
    )
    compile: bool | None = option(
        None,
        "Compile the model (torch.compile): slow start, faster steps. By default on a CPU if there "
        "is enough work to pay for it.",
        DEVICE,
        "--compile/--no-compile",
    )
    cache_features: bool = option(
        False,
        "With --freeze-image: encode each frame once, train on features kept on disk.",
        OPTIMISATION,
        "--cache-features",
    )
    cached_views: CountOrNone = option(
        0, "Augmented views of each clip in the cache; 0: no augmentation.", OPTIMISATION
    )
    features_in: Path | None = option(
        None, "Folder of the features; else DFER_CACHE/features.", OPTIMISATION, writes="folder"
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()


@dataclass(frozen=True)
class SweepConfig:
    """Settings of `dfer sweep`."""

    file: Path = argument(
        Path("sweep.toml"),
        "TOML file: settings of `dfer train`, and a grid; or dfer-clip-ablations, "
        "finecliper-ablations.",
        required=True,
    )
    settings: tuple[str, ...] = setting((), "NAME=VALUE of `dfer train`; they override the file.")
