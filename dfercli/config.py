"""Every setting of every stage: frozen dataclasses that alone hold the defaults.

The command line shows these defaults and passes what the user gave. Precedence: option, then
`--config` file, then environment (secrets and roots only), then the default here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["auto", "32", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class ModelConfig:
    """What a model is, apart from its weights and its label set.

    Attributes:
        method: `dfer-clip`.
        clip: CLIP backbone as open_clip's MODEL/TAG; `tiny/random` is a toy.
        clip_weights: Local file with the backbone's weights, instead of the tag's download.
        num_frames: T, frames sampled per clip.
        normalization: `none` feeds [0, 1] as published, `clip` CLIP's mean and deviation.
        text_type: Class text: an LLM's `description`, the bare `name`, or the name in `context`.
        descriptions: JSON file of class texts by `dfer describe`, instead of the shipped ones.
        context_tokens: N, learned context tokens.
        class_specific: Own context tokens per class, else shared ones.
        class_position: Where the class text stands among the context tokens.
        temporal_layers: Blocks of the temporal encoder; 0 is mean pooling.
    """

    method: Literal["dfer-clip"] = "dfer-clip"
    clip: str = "ViT-B-32-quickgelu/openai"
    clip_weights: Path | None = None
    num_frames: int = 16
    normalization: Literal["none", "clip"] = "none"
    text_type: Literal["description", "name", "context"] = "description"
    descriptions: Path | None = None
    context_tokens: int = 8
    class_specific: bool = True
    class_position: Literal["end", "middle", "front"] = "end"
    temporal_layers: int = 1


@dataclass(frozen=True)
class OptimConfig:
    """How a model is optimised; the defaults are DFER-CLIP's published values.

    Attributes:
        optimizer: `sgd` with momentum, or `adamw`.
        epochs: Passes over the training clips.
        batch_size: Clips per step, over all devices together; the last incomplete batch is dropped.
        lr_temporal: Learning rate of the temporal encoder.
        lr_image: Learning rate of the image encoder.
        lr_context: Learning rate of the context tokens.
        momentum: Of SGD.
        weight_decay: Of either optimiser.
        schedule: `step` multiplies by `gamma` at each milestone, `cosine` falls to 0.
        milestones: Epochs (counted from 0) at which `step` multiplies.
        gamma: The factor of `step`.
        warmup_epochs: Linear warm-up from 0.
        gradient_clip: Largest norm of the gradient; 0 is no clipping.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    epochs: int = 50
    batch_size: int = 48
    lr_temporal: float = 1e-2
    lr_image: float = 1e-5
    lr_context: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = (30, 40)
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    gradient_clip: float = 0.0


@dataclass(frozen=True)
class AugmentConfig:
    """Training augmentation, one draw for all frames of a clip.

    Attributes:
        crop_scale: Smallest share of the picture that a random crop keeps; 1 is no crop.
        flip: Probability of a horizontal flip.
        brightness: Brightness factor in 1 - b .. 1 + b (DFEW: 0.5).
        rotation_degrees: Largest rotation (FERV39k: 4).
    """

    crop_scale: float = 0.08
    flip: float = 0.5
    brightness: float = 0.0
    rotation_degrees: float = 0.0


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
        label_order: Index order of a list file with numeric labels.
        workers: Processes that read frames.
    """

    root: Path | None = None
    frames: str | None = None
    classes: Literal["single", "compound"] = "single"
    captions: bool = False
    folds: int | None = None
    group: str | None = None
    test: str | None = None
    validation: float = 0.1
    label_order: str | None = None
    workers: int = 2


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
        precision: `auto`, `32`, `bf16-mixed` or `16-mixed`.
        accelerator: `auto`, `cpu`, `cuda`, `mps`.
        devices: Number of processes per node.
        checkpoint_every: Steps between saves within an epoch; 0 saves at the end of each.
    """

    dataset: str = ""
    out: Path = Path("runs")
    name: str | None = None
    fold: str = "all"
    seed: int = 1
    select: Literal["last", "val", "best-on-test"] = "val"
    precision: Precision = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    checkpoint_every: int = 0
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()


@dataclass(frozen=True)
class EvalConfig:
    """Settings of `dfer eval`.

    Attributes:
        checkpoint: A run folder, a fold folder, or a checkpoint folder.
        dataset: What to evaluate on; by default the test list of the run's own data set, or its
            held-out part where there is none.
        root: Folder of a benchmark's copy.
        fold: 1-based fold of the data set.
        out: Folder for the results; by default `evaluation/<data set>` beside the checkpoint.
        batch_size: Clips per forward pass.
        workers: Processes that read frames.
        precision: As for training.
        device: `auto`, `cpu`, `cuda`.
        bootstrap_samples: Resamples of the clips for the intervals.
    """

    checkpoint: Path = Path("runs")
    dataset: str | None = None
    root: Path | None = None
    fold: int = 1
    label_order: str | None = None
    out: Path | None = None
    batch_size: int = 16
    workers: int = 2
    precision: Precision = "auto"
    device: str = "auto"
    bootstrap_samples: int = 1000


@dataclass(frozen=True)
class DescribeConfig:
    """What `dfer describe` writes: texts for classes, captions for the clips of a face store.

    Attributes:
        style: `description`, `name`, `context` or `pn` (positive and negative texts).
        model: The LLM to ask; None takes the shipped texts where there are any, else
            `default_model`.
        default_model: The LLM that is asked where one is needed and none was named.
        refine_model: The LLM that shortens captions; None takes the one that wrote them.
        variants: Texts per class.
        language: Language of the texts.
        no_names: Refuse a description that holds the name of a class.
        prompt: The user's own LLM prompt template, in place of the shipped one.
        temperature: Sampling temperature of the LLM.
        seed: Seed of the LLM's sampling, for the servers that know one.
        send_sampling: Send temperature and seed; some models refuse requests that have them.
        frames: Frames of each clip that are shown for its caption.
        images: `sheet` (all frames on one contact sheet) or `separate` images.
        context_tokens: Learned tokens that a class text shares CLIP's 77 tokens with.
        concurrency: Requests under way at a time.
        rate: Most requests per minute; None for no limit.
        max_requests: Most requests of one run, the client's own retries not counted.
        timeout_seconds: Longest wait for one answer.
        max_retries: Retries after 429, 5xx, time-outs and broken connections.
        cache: Folder of cached answers; None takes `DFER_CACHE`, else the user's cache folder.
        refresh: Ask again for what the cache holds.
        overwrite: Replace a file with other texts, and captions made with other settings.
    """

    style: Literal["description", "name", "context", "pn"] = "description"
    model: str | None = None
    default_model: str = "gpt-4.1-mini"
    refine_model: str | None = None
    variants: int = 1
    language: str = "English"
    no_names: bool = False
    prompt: Path | None = None
    temperature: float = 0.0
    seed: int = 1
    send_sampling: bool = True
    frames: int = 8
    images: Literal["sheet", "separate"] = "sheet"
    context_tokens: int = 8
    concurrency: int = 4
    rate: float | None = None
    max_requests: int | None = None
    timeout_seconds: float = 120.0
    max_retries: int = 4
    cache: Path | None = None
    refresh: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class CheckConfig:
    """Settings of `dfer data check`.

    Attributes:
        dataset: `dfew`, `ferv39k`, `mafw`, a face store, or a list file.
        root: Folder of a benchmark's copy; else `DFER_DATA/<name>`, else `data/<name>`.
        frames: Folder of clips within the copy, where it holds several.
        classes: MAFW's `single` or `compound` classes.
        captions: Whether MAFW's lists with captions are meant.
        label_order: Index order of a list file with numeric labels.
        subset: The copy is a part of the data on purpose: do not compare with published sizes.
        deep: Read every frame.
        pictures: Frames that are shown to the face detector.
    """

    dataset: str = ""
    root: Path | None = None
    frames: str | None = None
    classes: Literal["single", "compound"] = "single"
    captions: bool = False
    label_order: str | None = None
    subset: bool = False
    deep: bool = False
    pictures: int = 48


@dataclass(frozen=True)
class PreprocessConfig:
    """Settings of `dfer preprocess`.

    Attributes:
        sources: Videos, images, folders (recursively) or globs.
        out: The face store.
        labels: CSV of `source,label[,subject]`; else a label is the name of the parent folder.
        classes: The label set: `7`, `11`, or names; else found from the labels.
        detector: Face detector; `auto` is yunet where it is at hand or can be fetched, else haar.
        detector_weights: Its file; None for the one in the cache.
        device: Where the detectors of face-alignment run; `auto` is a GPU where there is one.
        size: Side of a face crop in pixels.
        align: `square` around the box, or turned and scaled by the detector's five points.
        margin: Part of the face box's longer side that is added on each side.
        jpeg_quality: Of the face crops.
        faces: `all`, `largest`, or how many of the largest tracks of each source to keep.
        min_face: Longer side of the smallest face, in pixels of the source.
        min_seconds: Shortest time that a face must be seen to count.
        region: Look for faces in x,y,width,height (pixels) only.
        detect_every: Detect on every n-th frame; None for one detection each 0.12 seconds.
        lost_seconds: How long a face may be hidden and keep its identity.
        smooth: Boxes are averaged with so many frames before and after.
        fps: Keep at most so many frames per second.
        every: Keep every n-th frame.
        start: Begin at this second.
        end: Stop at this second.
        folder_fps: Frame rate of folders of numbered images.
        workers: Processes; None for one per core, 0 to work in this process.
        preview: Draw a contact sheet and an annotated video of each source.
        time_limit: Seconds without a new frame after which a source is given up.
        overwrite: Empty an existing store first.
    """

    sources: tuple[str, ...] = ()
    out: Path = Path("faces")
    labels: Path | None = None
    classes: tuple[str, ...] = ()
    detector: Literal["auto", "yunet", "retinaface", "blazeface", "scrfd", "sfd", "haar"] = "auto"
    detector_weights: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    size: int = 224
    align: Literal["square", "points"] = "square"
    margin: float = 0.25
    jpeg_quality: int = 95
    faces: str = "all"
    min_face: int = 48
    min_seconds: float = 0.5
    region: tuple[int, ...] = ()
    detect_every: int | None = None
    lost_seconds: float = 1.0
    smooth: int = 4
    fps: float | None = None
    every: int = 1
    start: float = 0.0
    end: float | None = None
    folder_fps: float = 25.0
    preview: bool = False
    workers: int | None = None
    time_limit: float = 120.0
    overwrite: bool = False
