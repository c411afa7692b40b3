"""Every setting of every stage: frozen dataclasses that alone hold the defaults.

The command line shows these defaults and passes what the user gave. Precedence: option, then
`--config` file, then environment (secrets and roots only), then the default here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from dfercli.overrides import Range

Count = Annotated[int, Range(1)]
CountOrNone = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Precision = Literal["auto", "32", "bf16-mixed", "16-mixed"]
Stream = Literal["frames", "landmarks", "parsing", "captions"]


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
        finecliper: What only FineCLIPER has.
    """

    method: Literal["dfer-clip", "finecliper", "mean-pooling"] = "dfer-clip"
    clip: str = "ViT-B-32-quickgelu/openai"
    clip_weights: Path | None = None
    num_frames: Count = 16
    normalization: Literal["none", "clip"] = "none"
    text_type: Literal["description", "name", "context", "pn"] = "description"
    descriptions: Path | None = None
    context_tokens: CountOrNone = 8
    class_specific: bool = True
    class_position: Literal["end", "middle", "front"] = "end"
    temporal_layers: CountOrNone = 1
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
    label_order: str | None = None
    workers: CountOrNone = 2
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
        precision: `auto`, `32`, `bf16-mixed` or `16-mixed`.
        accelerator: `auto`, `cpu`, `cuda`, `mps`.
        devices: Number of processes per node.
        num_nodes: Number of machines; torchrun or Slurm starts dfer on each.
        strategy: `ddp` keeps the whole model on each device, `fsdp` spreads it over them; `auto` is
            `ddp` where there are several.
        logger: Where epochs are logged to besides metrics.jsonl.
        checkpoint_every: Steps between saves within an epoch; 0 saves at the end of each.
        gradient_checkpointing: Compute activations twice instead of keeping them.
    """

    dataset: str = ""
    out: Path = Path("runs")
    name: str | None = None
    fold: str = "all"
    seed: Seed = 1
    select: Literal["last", "val", "best-on-test"] = "val"
    precision: Precision = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    num_nodes: Count = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    logger: Literal["none", "tensorboard", "wandb"] = "none"
    checkpoint_every: CountOrNone = 0
    gradient_checkpointing: bool = False
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
        streams: Look at these streams of the model only; empty is all of them.
        streams_from: As for training.
        classes: Where the data set has other classes than the model: `common` takes those present
            in both, `open` the data set's, by their texts; `auto` is the model's own where they
            hold all of the data set's, else `common`.
        descriptions: Texts of the data set's classes for `open`.
        clip_weights: File of the CLIP that a model was trained on, where it is not in its place.
        clip: For `--zero-shot`, as for training.
        template: For `--zero-shot`: `name`, `context`, `photo`, `five`, `ten`, or a text with
            `{name}`.
    """

    checkpoint: Path = Path("runs")
    dataset: str | None = None
    root: Path | None = None
    fold: int = 1
    label_order: str | None = None
    out: Path | None = None
    batch_size: Count = 16
    workers: CountOrNone = 2
    precision: Precision = "auto"
    device: str = "auto"
    bootstrap_samples: Count = 1000
    streams: tuple[Stream, ...] = ()
    streams_from: Path | None = None
    classes: Literal["auto", "common", "open"] = "auto"
    descriptions: Path | None = None
    clip_weights: Path | None = None
    clip: str = ModelConfig.clip
    template: str = "five"


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
        engine: `local` processes, or a `ray` cluster that sees the same files.
        ray_address: Of the cluster; None for a running one, else one on this machine.
        workers: Processes; None for one per core, 0 to work in this process.
        landmarks: Find 68 points on every crop.
        parsing: Map every pixel to a part of the face: `polygons` drawn from the 68 points, or
            `segformer`.
        parsing_model: SegFormer on the hub, or its folder.
        root: Folder of a benchmark's copy, where the source is `dfew`, `ferv39k` or `mafw`.
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
    landmarks: bool = False
    parsing: Literal["none", "polygons", "segformer"] = "none"
    parsing_model: str = "jonathandinu/face-parsing"
    root: Path | None = None
    preview: bool = False
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    workers: int | None = None
    time_limit: float = 120.0
    overwrite: bool = False


@dataclass(frozen=True)
class DemoConfig:
    """Settings of `dfer demo`.

    Attributes:
        out: Folder of everything that the demo makes.
        train_identities: Drawn people to train on, each with all seven expressions.
        test_identities: Drawn people never seen in training.
        epochs: Passes over the training clips; None for those of the recipe.
        seed: Seed of the people, the clips and the training.
        workers: Processes; None for one per core.
    """

    out: Path = Path("dfer-demo")
    train_identities: int = 56
    test_identities: int = 11
    epochs: int | None = None
    seed: int = 1
    workers: int | None = None


@dataclass(frozen=True)
class PredictConfig:
    """Settings of `dfer predict`.

    Attributes:
        sources: Videos, images, folders (recursively), globs, face stores; `-` reads a list of
            paths from standard input.
        camera: Number of a camera, or the address of a stream, instead of sources.
        show: Show what the camera sees in a window; None does where there is a display.
        checkpoint: A run, a fold, a checkpoint, a published .pth or an exported .onnx; None takes
            the newest finished run under `runs`, else zero-shot CLIP.
        runs: Folder of runs.
        clip: Zero-shot with this CLIP, MODEL/TAG; None where a checkpoint is meant.
        clip_weights: Local file with the weights of `clip`.
        labels: Classes of a zero-shot model, each a name or NAME=TEXT, or a .json file of
            descriptions; none for the seven.
        templates: Set of zero-shot templates: name, context, photo, five, ten.
        window: Seconds that a window lasts.
        stride: Seconds from one window to the next.
        min_confidence: Below it a prediction is `uncertain`; None for the checkpoint's own.
        top: Classes shown per span in the table.
        out: Table to write: .jsonl, .csv or .parquet.
        faces_out: Keep the face store here; None for a temporary one.
        video: Annotated video to write: a file for one source, else a folder.
        html: Report to write: a file.
        embed_mb: Megabytes of video that may go inside the report; the others are linked.
        batch_size: Windows per forward pass.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: As for training.
        detector: As for `dfer preprocess`.
        detector_weights: Its file.
        faces: Faces of each source to keep: `all`, `largest`, or a number.
        min_face: Longer side of the smallest face, in pixels of the source.
        region: Look for faces in x,y,width,height (pixels) only.
        start: Begin at this second.
        end: Stop at this second.
        workers: Processes that find faces; None for one per core, 0 to work in this process.
    """

    sources: tuple[str, ...] = ()
    camera: str | None = None
    show: bool | None = None
    checkpoint: Path | None = None
    runs: Path = Path("runs")
    clip: str | None = None
    clip_weights: Path | None = None
    labels: tuple[str, ...] = ()
    templates: str = "five"
    window: float = 2.0
    stride: float = 0.5
    min_confidence: float | None = None
    top: int = 2
    out: Path | None = None
    faces_out: Path | None = None
    video: Path | None = None
    html: Path | None = None
    embed_mb: float = 20.0
    batch_size: int = 16
    device: str = "auto"
    precision: Precision = "auto"
    detector: Literal["auto", "yunet", "retinaface", "blazeface", "scrfd", "sfd", "haar"] = "auto"
    detector_weights: Path | None = None
    faces: str = "all"
    min_face: int = 48
    region: tuple[int, ...] = ()
    start: float = 0.0
    end: float | None = None
    workers: int | None = None


@dataclass(frozen=True)
class ConvertConfig:
    """Settings of `dfer convert`.

    Attributes:
        source: A published .pth file; with `to` official, a run, fold or checkpoint of ours.
        out: The checkpoint folder to write; with `to` official, the .pth file.
        to: `dfer` or `official`.
        class_position: Where the class text stands, which a published file does not say.
        check: Read what was written, and compare its logits.
    """

    source: Path = Path()
    out: Path = Path()
    to: Literal["dfer", "official"] = "dfer"
    class_position: Literal["end", "middle", "front"] = "end"
    check: bool = False


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `dfer export`.

    Attributes:
        checkpoint: A run, a fold, a checkpoint, or a published .pth.
        format: `onnx` or `torchscript`.
        out: The file; None for `model` with the format's suffix.
        clip_weights: File of the CLIP that the model was trained on, where it is needed.
    """

    checkpoint: Path = Path("runs")
    format: Literal["onnx", "torchscript"] = "onnx"
    out: Path | None = None
    clip_weights: Path | None = None


@dataclass(frozen=True)
class SweepConfig:
    """Settings of `dfer sweep`.

    Attributes:
        file: TOML file of settings and a grid.
    """

    file: Path = Path("sweep.toml")
