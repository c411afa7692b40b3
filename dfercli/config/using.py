"""Settings for using data and trained models."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from dfercli.config.data import A_DATASET, DATASETS, OPEN_SETS, CopyConfig, DatasetConfig
from dfercli.config.kinds import (
    DEVICES,
    TEMPLATES,
    Accelerator,
    AnswerPrecision,
    Count,
    CountOrNone,
    Precision,
    Stream,
    TimelineFormat,
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
from dfercli.config.training import BACKBONES, ModelConfig
from dfercli.typed import Range


@dataclass(frozen=True)
class CheckConfig(DatasetConfig):
    """Settings of `dfer data check`."""

    dataset: str = argument("", A_DATASET, suggestions=DATASETS, required=True)
    subset: bool = option(
        False, "The copy is a part of the data: ignore the published sizes.", DATA, "--subset"
    )
    deep: bool = option(False, "Read every frame.", DATA, "--deep")
    duplicates: bool = option(
        False, "Find clips with the same content, within a list and across.", DATA, "--duplicates"
    )
    test: str | None = option(None, "A test set: report what it shares with the first.", DATA)
    pictures: int = setting(48, "Frames that are shown to the face detector.")


@dataclass(frozen=True)
class GetConfig:
    """Settings of `dfer data get`."""

    dataset: str = argument(
        "", "Open data set: ravdess or crema-d.", suggestions=OPEN_SETS, required=True
    )
    root: Path | None = option(
        None, "Folder for the data.", DATA, default="data/NAME", writes="folder"
    )
    actors: str = option("", "These actors only.", DATA, metavar="1-3,7", default="all")


@dataclass(frozen=True)
class EvalConfig(CopyConfig):
    """Settings of `dfer eval`."""

    checkpoint: Path = argument(
        Path("runs"),
        "A run, a fold, a checkpoint, a published .pth file, a name of `dfer models`, or "
        "OWNER/NAME on the hub. The data set with --zero-shot.",
        metavar="MODEL",
        required=True,
    )
    dataset: str | None = argument(
        None,
        "Data to measure on. By default the test clips of the run's own data set, or its held-out "
        "part.",
    )
    fold: int = option(1, "1-based fold of DATASET.", DATA)
    on: tuple[str, ...] = option(
        (),
        "Measure every given run on each of these data sets, as a matrix.",
        DATA,
        metavar="DATASET,DATASET",
    )
    mafw_classes: Literal["single", "compound"] = option(
        "single", "For DATASET mafw: its 11 single or 43 compound classes.", DATA
    )
    out: Path | None = option(
        None,
        "Folder of the results. By default evaluation/DATASET in the run.",
        OUTPUT,
        writes="folder",
    )
    batch_size: Count = option(16, "Clips per forward pass.", DEVICE)
    workers: CountOrNone | None = option(
        None,
        "Processes that read frames; 0: this one.",
        DEVICE,
        default="2; on a GPU one per core, at most 16",
    )
    precision: Precision = option("auto", "Precision of the computation.", DEVICE)
    device: Accelerator = option("auto", "Where to compute.", DEVICE)
    bootstrap_samples: Count = option(1000, "Resamples for the 95 % intervals.", OUTPUT)
    streams: tuple[Stream, ...] = option((), "Use only these streams of the model.", MODEL)
    streams_from: Path | None = option(
        None, "Folder of landmarks, parsing and captions by clip.", DATA
    )
    classes: Literal["auto", "common", "open"] = option(
        "auto",
        "For another label set: common (present in both) or open (the data set's, by their texts); "
        "auto: the model's own if they contain all of the data set's, else common.",
        MODEL,
    )
    descriptions: Path | None = option(None, "Class texts for --classes open.", MODEL)
    clip_weights: Path | None = option(None, "File of the CLIP weights, if they have moved.", MODEL)
    clip: str = option(
        ModelConfig.clip,
        "CLIP for --zero-shot, MODEL/TAG.",
        MODEL,
        metavar="MODEL/TAG",
        suggestions=BACKBONES,
    )
    models: tuple[str, ...] = option(
        (),
        "For --zero-shot: zero-shot models of `dfer models`, separated by commas; one table "
        "compares them.",
        MODEL,
        "--model",
        metavar="NAME,NAME",
    )
    template: str = option(
        "five",
        "For --zero-shot: name, context, photo, five, ten, or a text with {name}.",
        MODEL,
        suggestions=TEMPLATES,
    )

    @property
    def data(self) -> DatasetConfig:
        """The copy and the classes of `dataset`."""
        copy = {field.name: getattr(self, field.name) for field in fields(CopyConfig)}
        return DatasetConfig(classes=self.mafw_classes, **copy)


@dataclass(frozen=True)
class ConvertTimelineConfig:
    """Settings of `dfer convert-timeline`."""

    results: Path = argument(
        Path(), "A folder that `dfer predict --out` wrote.", metavar="FOLDER", required=True
    )
    to: tuple[TimelineFormat, ...] = option(
        (),
        "vtt, srt, eaf (ELAN), textgrid (Praat), boris, noldus, label-studio.",
        OUTPUT,
        metavar="FORMAT,…",
        required=True,
    )
    out: Path | None = option(
        None, "Folder for the files.", OUTPUT, default="exports/ in the folder", writes="folder"
    )
    names: Path | None = option(
        None,
        "CSV of source,track,person: names of faces, such as the table that the page saves.",
        DATA,
    )
    overwrite: bool = option(False, "Replace existing files.", OUTPUT, "--overwrite")


@dataclass(frozen=True)
class ConvertConfig:
    """Settings of `dfer convert`."""

    source: Path = argument(
        Path(),
        "A published .pth file, or a run, fold or checkpoint of ours for --to official.",
        metavar="FILE|RUN|CHECKPOINT",
        required=True,
    )
    out: Path = option(
        Path(),
        "Checkpoint folder to write, or .pth file for --to official.",
        OUTPUT,
        required=True,
        writes="either",
    )
    to: Literal["dfer", "official"] = option("dfer", "official: the published code.", OUTPUT)
    class_position: Literal["end", "middle", "front"] = option(
        "end", "Position of the class text; a published file does not record it.", MODEL
    )
    check: bool = option(
        False, "Read the result back and print how much its logits differ.", OUTPUT, "--check"
    )


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `dfer export`."""

    checkpoint: Path = argument(
        Path("runs"),
        "A run, a fold, a checkpoint, a published .pth file, a name of `dfer models`, or "
        "OWNER/NAME on the hub.",
        metavar="MODEL",
        required=True,
    )
    streams: tuple[Stream, ...] = option(
        (), "The file takes only these streams of the model.", MODEL
    )
    format: Literal["onnx", "torchscript"] = option("onnx", "Format of the file.", OUTPUT)
    out: Path | None = option(
        None, "The file. By default model.onnx or model.torchscript.", OUTPUT, writes="file"
    )
    clip_weights: Path | None = option(
        None, "CLIP's weights, if the checkpoint leaves them out.", MODEL
    )
    int8: bool = option(
        False,
        "ONNX with 8-bit weights: smaller, faster on a CPU, less exact.",
        OUTPUT,
        "--int8",
    )


@dataclass(frozen=True)
class BenchConfig:
    """Settings of `dfer bench`."""

    parts: tuple[Literal["loading", "inference", "training"], ...] = option(
        ("loading", "inference", "training"),
        "Parts to measure: loading, inference, training.",
        OUTPUT,
        "--only",
        metavar="PART,…",
    )
    clip: str = option(
        "ViT-B-32-quickgelu/random",
        "CLIP backbone; …/random needs no weights.",
        MODEL,
        metavar="MODEL/TAG",
    )
    num_frames: Count = option(16, "Frames per clip.", MODEL)
    classes: Literal["7", "11"] = option("7", "Number of classes.", MODEL)
    batch_sizes: tuple[int, ...] = option(
        (1, 8), "Clips per forward pass; the first gives the ratio.", OPTIMISATION, metavar="N,…"
    )
    train_batch: Count | None = option(
        None, "Clips per training step.", OPTIMISATION, default="4; on a GPU 48"
    )
    runs: Count = option(5, "Repetitions; the median counts.", OPTIMISATION)
    device: str = option("auto", "auto, cpu, cuda or mps.", DEVICE, suggestions=DEVICES)
    precision: AnswerPrecision = option("auto", "Precision of the computation.", DEVICE)


@dataclass(frozen=True)
class DemoConfig:
    """Settings of `dfer demo`."""

    out: Path = option(
        Path("dfer-demo"), "Folder for everything that the demo makes.", OUTPUT, writes="folder"
    )
    train_identities: Annotated[int, Range(4)] = option(
        56, "Drawn people to train on, each with all seven expressions.", DATA
    )
    test_identities: Count = option(11, "Drawn people to test on, not in training.", DATA)
    epochs: Count | None = option(
        None, "Passes over the training clips.", OPTIMISATION, default="the recipe's"
    )
    seed: int = option(1, "Seed of people, clips and training.", OPTIMISATION)
    workers: Count | None = option(None, "Processes.", DEVICE, default="one per core")
    real: Literal["ravdess", "crema-d"] | None = option(
        None, "Real faces instead of drawn ones: an open data set.", DATA
    )
    actors: str = option("1-4", "Actors for --real.", DATA, metavar="1-3,7")
    root: Path | None = option(
        None, "Folder of the videos for --real, if they are here already.", DATA, writes="folder"
    )
    clip: str | None = option(
        None, "CLIP backbone for --real.", MODEL, default="the recipe's", suggestions=BACKBONES
    )
    clip_weights: Path | None = option(None, "Local file with its weights, for --real.", MODEL)
