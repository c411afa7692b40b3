"""`dfer predict`: who shows what, and when."""

import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.settings import settle
from dfercli.config import PredictConfig
from dfercli.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dfercli.report.video_prediction import VideoPrediction

EPILOG = (
    "Examples: dfer predict clip.mp4 · dfer predict videos/ --out result.csv · "
    "dfer predict clip.mp4 --labels 'bored, confused, delighted' · "
    "dfer predict --camera 0 --headless · find . -name '*.mp4' | dfer predict - --out result.jsonl"
)


def predict(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, images, folders (recursively), quoted globs, face stores; - reads a "
            "list of paths from standard input.",
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Watch a camera (0 is the first) or a stream instead."),
    ] = PredictConfig.camera,
    show: Annotated[
        bool | None,
        typer.Option(
            "--show/--headless",
            help="With --camera: show a window, or only print JSON lines. By default a window "
            "where there is a display.",
        ),
    ] = PredictConfig.show,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A run, a fold, a checkpoint, a published .pth or an exported .onnx. By default "
            "the newest finished run, else zero-shot CLIP."
        ),
    ] = PredictConfig.checkpoint,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Run the code in a .torchscript file: it can do whatever you may do.",
        ),
    ] = PredictConfig.trust_code,
    runs: Annotated[Path, typer.Option(help="Folder of runs.")] = PredictConfig.runs,
    clip: Annotated[
        str | None, typer.Option(metavar="MODEL/TAG", help="Zero-shot with this CLIP.")
    ] = PredictConfig.clip,
    clip_weights: Annotated[
        Path | None, typer.Option(help="Local file with the weights of --clip.")
    ] = PredictConfig.clip_weights,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Zero-shot classes: names or NAME=TEXT with commas between, or a .json file of "
            "descriptions by `dfer describe`.",
        ),
    ] = None,
    templates: Annotated[
        str, typer.Option(help="Zero-shot templates: name, context, photo, five or ten.")
    ] = PredictConfig.templates,
    window: Annotated[float, typer.Option(help="Seconds that a window lasts.")] = (
        PredictConfig.window
    ),
    stride: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = (
        PredictConfig.stride
    ),
    min_confidence: Annotated[
        float | None,
        typer.Option(help="Below it a prediction is uncertain. By default the checkpoint's own."),
    ] = PredictConfig.min_confidence,
    top: Annotated[int, typer.Option(help="Classes shown per span in the table.")] = (
        PredictConfig.top
    ),
    out: Annotated[
        Path | None, typer.Option(help="Write all windows to a .jsonl, .csv or .parquet file.")
    ] = PredictConfig.out,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --camera: replace --out where it exists.")
    ] = PredictConfig.overwrite,
    faces_out: Annotated[
        Path | None, typer.Option(help="Keep the face store here, for another run.")
    ] = PredictConfig.faces_out,
    video: Annotated[
        Path | None,
        typer.Option(help="Write the annotated video: an .mp4, or a folder for several sources."),
    ] = PredictConfig.video,
    html: Annotated[
        Path | None, typer.Option(help="Write a report to look at: one .html file.")
    ] = PredictConfig.html,
    embed_mb: Annotated[
        float,
        typer.Option(help="Megabytes of video that go inside the report; others are linked."),
    ] = PredictConfig.embed_mb,
    batch_size: Annotated[int, typer.Option(help="Windows per forward pass.")] = (
        PredictConfig.batch_size
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = PredictConfig.device,
    precision: Annotated[
        str, typer.Option(help="auto, 32, bf16-mixed or 16-mixed.")
    ] = PredictConfig.precision,
    detector: Annotated[
        str, typer.Option(help="Face detector, as for `dfer preprocess`.")
    ] = PredictConfig.detector,
    detector_weights: Annotated[Path | None, typer.Option(help="Its file.")] = (
        PredictConfig.detector_weights
    ),
    faces: Annotated[
        str, typer.Option(metavar="all|largest|N", help="Which faces of a source to keep.")
    ] = PredictConfig.faces,
    min_face: Annotated[int, typer.Option(help="Longer side of the smallest face, in pixels.")] = (
        PredictConfig.min_face
    ),
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="Look for faces here only; in pixels.")
    ] = None,
    start: Annotated[float, typer.Option(help="Begin at this second.")] = PredictConfig.start,
    end: Annotated[float | None, typer.Option(help="Stop at this second.")] = PredictConfig.end,
    max_pixels: Annotated[
        int, typer.Option(help="Refuse sources whose frames have more pixels. By default 8K.")
    ] = PredictConfig.max_pixels,
    workers: Annotated[
        int | None, typer.Option(help="Processes that find faces. By default one per core.")
    ] = PredictConfig.workers,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, in its table `predict`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Recognise expressions in videos: a table of who shows what, and when.

    Which model is used and its labels are said on stderr. A source that cannot be used is listed,
    and the rest is kept.
    """
    context.params["sources"] = _read_list(sources or [])
    config = settle(context, PredictConfig(), command="predict", config_file=config_file)
    if config.camera is not None:
        _watch(config, quiet)
        return
    from dfercli.prediction.run import run

    result = run(config, ConsoleProgress(quiet=quiet))
    if json:
        print_json(result.to_json())
    else:
        for found in result.videos:
            if found.predictions:
                _print_video(found, result.min_confidence, config.top)
        if config.out is not None:
            print_line(f"{sum(1 for _ in result.predictions())} windows in {config.out}")
        if result.failures:
            rows = [(row.source, row.stage, row.reason) for row in result.failures]
            print_table("failed", ("source", "stage", "reason"), rows, left=3)
    if result.failures:
        raise DataError(
            f"{len(result.failures)} of {len(result.videos)} sources failed, wholly or in part"
        )


def _watch(config: PredictConfig, quiet: bool) -> None:
    """Print a line of JSON for each prediction as it comes."""
    from dfercli.prediction.live import run

    def on_row(row: dict[str, Any]) -> None:
        print_line(dumps(row, sort_keys=True))
        sys.stdout.flush()  # whoever reads along wants it now

    run(config, ConsoleProgress(quiet=quiet), on_row)


def _read_list(sources: list[str]) -> list[str]:
    """The sources, with `-` replaced by the lines of standard input."""
    found = []
    for source in sources:
        if source == "-":
            found += [line for line in sys.stdin.read().splitlines() if line.strip()]
        else:
            found.append(source)
    if sources and not found:
        raise ConfigError("standard input holds no path")
    return found


def _print_video(video: "VideoPrediction", min_confidence: float, top: int) -> None:
    rows = []
    for span in video.spans():
        best = span.probabilities.argsort()[::-1][: max(top, 1)].tolist()
        first, *others = (f"{video.label_set[k]} {span.probabilities[k]:.0%}" for k in best)
        if span.probabilities[best[0]] < min_confidence:
            first += " (uncertain)"
        rows.append(
            (
                str(span.track),
                f"{span.start_seconds:.2f}",
                f"{span.end_seconds:.2f}",
                first,
                ", ".join(others),
            )
        )
    columns = ("face", "from s", "to s", "expression", "then")
    print_line(video.source)
    print_table("", columns, rows, left=5)
    if video.gaps:
        shown = ", ".join(f"{start:.2f} to {end:.2f}" for start, end in video.gaps[:5])
        more = f" and {len(video.gaps) - 5} more" if len(video.gaps) > 5 else ""
        print_line(f"no face seen from {shown} s{more}")
