"""Settings of what is done with data and with trained models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dfercli.config.kinds import Count, CountOrNone, Positive, Precision, Share, Stream
from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.config.training import ModelConfig


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
        workers: As for training.
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
    workers: CountOrNone | None = None
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
class PredictConfig:
    """Settings of `dfer predict`.

    Attributes:
        sources: Videos, images, folders (recursively), globs, face stores; `-` reads a list of
            paths from standard input.
        camera: Number of a camera, or the address of a stream, instead of sources.
        show: Show what the camera sees in a window; None does where there is a display.
        checkpoint: A run, a fold, a checkpoint, a published .pth or an exported .onnx; None takes
            the newest finished run under `runs`, else zero-shot CLIP.
        trust_code: Load a .torchscript file, which is code and can do whatever its user may do.
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
        overwrite: With a camera, replace `out` where it exists; without one it is always replaced,
            by a table that is whole.
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
        max_pixels: Sources whose frames have more pixels are refused before they are decoded.
        workers: Processes that find faces; None for one per core, 0 to work in this process.
    """

    sources: tuple[str, ...] = ()
    camera: str | None = None
    show: bool | None = None
    checkpoint: Path | None = None
    trust_code: bool = False
    runs: Path = Path("runs")
    clip: str | None = None
    clip_weights: Path | None = None
    labels: tuple[str, ...] = ()
    templates: str = "five"
    window: float = 2.0
    stride: float = 0.5
    min_confidence: Share | None = None
    top: Count = 2
    out: Path | None = None
    overwrite: bool = False
    faces_out: Path | None = None
    video: Path | None = None
    html: Path | None = None
    embed_mb: Positive = 20.0
    batch_size: Count = 16
    device: str = "auto"
    precision: Precision = "auto"
    detector: Literal["auto", "yunet", "retinaface", "blazeface", "scrfd", "sfd", "haar"] = "auto"
    detector_weights: Path | None = None
    faces: str = "all"
    min_face: Count = 48
    region: tuple[CountOrNone, ...] = ()
    start: Positive = 0.0
    end: Positive | None = None
    max_pixels: Count = MAX_PIXELS
    workers: CountOrNone | None = None


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
        int8: For ONNX: weights of matrix products in 8 bits, about three times sooner on a CPU.
    """

    checkpoint: Path = Path("runs")
    format: Literal["onnx", "torchscript"] = "onnx"
    out: Path | None = None
    clip_weights: Path | None = None
    int8: bool = False


@dataclass(frozen=True)
class BenchConfig:
    """Settings of `dfer bench`.

    Attributes:
        parts: What is measured.
        clip: CLIP backbone of DFER-CLIP; `…/random` needs no weights.
        num_frames: T, frames per clip.
        classes: 7 or 11.
        batch_sizes: Clips per forward pass, one measurement each; the first gives the ratio.
        train_batch: Clips per training step; None for 4, and 48 on a GPU.
        runs: Repetitions, of which the median counts.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: As for training and prediction.
    """

    parts: tuple[Literal["loading", "inference", "training"], ...] = (
        "loading",
        "inference",
        "training",
    )
    clip: str = "ViT-B-32-quickgelu/random"
    num_frames: Count = 16
    classes: Literal["7", "11"] = "7"
    batch_sizes: tuple[int, ...] = (1, 8)
    train_batch: Count | None = None
    runs: Count = 5
    device: str = "auto"
    precision: Precision = "auto"


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
