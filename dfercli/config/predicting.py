"""Settings of `dfer predict`."""

from dataclasses import dataclass
from pathlib import Path

from dfercli.config.descriptions import DEFAULT_LLM
from dfercli.config.kinds import (
    DEVICES,
    TEMPLATES,
    AnswerPrecision,
    Classes,
    Count,
    Positive,
    Share,
    Stream,
    TimelineFormat,
)
from dfercli.config.options import (
    DATA,
    DEVICE,
    LLM,
    MODEL,
    OUTPUT,
    argument,
    option,
)
from dfercli.config.preprocessing import FacesConfig
from dfercli.config.training import BACKBONES


@dataclass(frozen=True)
class PredictConfig(FacesConfig):
    """Settings of `dfer predict`."""

    sources: tuple[str, ...] = argument(
        (),
        "Videos, images, folders (recursively), quoted globs, face stores; - reads a list of paths "
        "from standard input.",
        metavar="SOURCE",
    )
    camera: str | None = option(
        None,
        "Watch a camera (0 is the first) or a stream instead.",
        DATA,
        metavar="NUMBER",
    )
    show: bool | None = option(
        None,
        "With --camera: show a window, or only print JSON lines. By default a window if there "
        "is a display.",
        OUTPUT,
        "--show/--headless",
    )
    model: str | None = option(
        None,
        "A run, a fold, a checkpoint, a published .pth, an exported .onnx; a name of "
        "`dfer models`; OWNER/NAME on the hub; or several, separated by commas, to average their "
        "probabilities. By default the newest finished run, else the best model that is here, else "
        "zero-shot CLIP.",
        MODEL,
        "--model",
        "--checkpoint",
        metavar="NAME|RUN|FILE|HUB",
    )
    trust_code: bool = option(
        False,
        "Run the code in a .torchscript file; it can do anything that you can.",
        MODEL,
        "--trust-code",
    )
    runs: Path = option(Path("runs"), "Folder of runs.", MODEL)
    clip: str | None = option(
        None, "Zero-shot with this CLIP.", MODEL, metavar="MODEL/TAG", suggestions=BACKBONES
    )
    clip_weights: Path | None = option(None, "Local file with the weights of --clip.", MODEL)
    labels: Classes = option(
        (),
        "Zero-shot classes: names or NAME=TEXT, separated by commas, or a .json file from "
        "`dfer describe`. Quote a text with a comma: 'happy,\"shy=a shy, small smile\"'.",
        MODEL,
        metavar="A,B=TEXT,…",
    )
    templates: str | None = option(
        None,
        "Zero-shot templates: name, context, photo, five or ten. By default the model's own.",
        MODEL,
        suggestions=TEMPLATES,
    )
    streams: tuple[Stream, ...] = option((), "Use only these streams of the model.", MODEL)
    captions: bool = option(
        False,
        "For a model with captions: ask an LLM to caption each window; else leave captions out.",
        LLM,
        "--captions",
    )
    model_for_captions: str | None = option(
        None, "The LLM for --captions.", LLM, default=DEFAULT_LLM
    )
    window: float = option(2.0, "Length of a window in seconds.", MODEL)
    stride: float = option(0.5, "Seconds from one window to the next.", MODEL)
    min_confidence: Share | None = option(
        None,
        "Threshold below which a prediction is uncertain. By default the checkpoint's own.",
        MODEL,
    )
    top: Count = option(2, "Classes shown per span in the table.", OUTPUT)
    out: Path | None = option(
        None,
        "Write all windows to a .jsonl, .csv or .parquet file; or, to a folder, everything: "
        "windows, spans, summary, failures, page, and a record of the run.",
        OUTPUT,
        metavar="FILE|FOLDER",
        writes="either",
    )
    spans: Path | None = option(
        None,
        "Write who shows what, and when, to a .jsonl, .csv or .parquet file.",
        OUTPUT,
        writes="file",
    )
    summary: Path | None = option(
        None,
        "Write a row per video and per person to a .jsonl, .csv or .parquet file: time seen, share "
        "and mean probability of each class, changes, strongest moment, size of the face.",
        OUTPUT,
        writes="file",
    )
    export: tuple[TimelineFormat, ...] = option(
        (),
        "Timelines for other tools, below --out FOLDER: vtt, srt, eaf (ELAN), textgrid (Praat), "
        "boris, noldus, label-studio.",
        OUTPUT,
        metavar="FORMAT,…",
    )
    clock: Path | None = option(
        None,
        "CSV of the events of an experiment, video,name,start,end[,offset]: a table of what each "
        "person shows during each of them; with --out also in the file events.csv.",
        DATA,
    )
    clock_offset: float = option(
        0.0, "Seconds of the video at which the clock of --clock begins.", DATA
    )
    overwrite: bool = option(
        False,
        "Replace the results of other videos in --out FOLDER; with --camera, any existing file.",
        OUTPUT,
        "--overwrite",
    )
    faces_out: Path | None = option(
        None, "Keep the face store here, for another run.", OUTPUT, writes="folder"
    )
    video: Path | None = option(
        None,
        "Write the annotated video: an .mp4, or a folder for several sources.",
        OUTPUT,
        writes="either",
    )
    record: Path | None = option(
        None,
        "With --camera: keep its picture as an .mp4, for a report or another run.",
        OUTPUT,
        writes="file",
    )
    html: Path | None = option(None, "Write a report as one .html file.", OUTPUT, writes="file")
    embed_mb: Positive = option(
        20.0,
        "Total megabytes of video to put inside the report; further videos are linked.",
        OUTPUT,
    )
    batch_size: Count = option(16, "Windows per forward pass.", DEVICE)
    device: str = option("auto", "auto, cpu, cuda or mps.", DEVICE, suggestions=DEVICES)
    precision: AnswerPrecision = option(
        "auto",
        "Precision of the computation; int8: CPUs only; auto: DFER_PRECISION, else the fastest.",
        DEVICE,
    )
    compile: bool | None = option(
        None,
        "Compile the model (torch.compile). By default if there is enough work to pay for it.",
        DEVICE,
        "--compile/--no-compile",
    )
