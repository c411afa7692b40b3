"""`dfer preprocess`: from raw videos to a face store."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_table
from dfercli.cli.settings import settle
from dfercli.config import PreprocessConfig
from dfercli.errors import DataError

if TYPE_CHECKING:
    from dfercli.preprocessing.face_parts import PartsResult
    from dfercli.preprocessing.run import PreprocessResult

EPILOG = (
    "Examples: dfer preprocess videos/ --out faces/ · "
    "dfer preprocess talk.mp4 --fps 8 --start 60 --end 120 · "
    "dfer preprocess clips/ --labels labels.csv --faces largest"
)


def preprocess(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Videos, images, folders (recursively), or quoted globs."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The face store to make or to add to.")] = (
        PreprocessConfig.out
    ),
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV of source,label[,subject]. Without it, the name of a source's folder is "
            "its label where it is the name of a class. Of crema-d: acted or face-votes."
        ),
    ] = PreprocessConfig.labels,
    calm: Annotated[
        str,
        typer.Option(help="Of ravdess: the class calm is left out (drop), its own, or neutral."),
    ] = PreprocessConfig.calm,
    classes: Annotated[
        str | None, typer.Option(metavar="7|11|A,B,…", help="The label set, if it is your own.")
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            help="auto, yunet, retinaface, blazeface, scrfd, sfd or haar. auto is yunet where it "
            "is at hand or can be fetched, else haar. See `dfer weights`."
        ),
    ] = PreprocessConfig.detector,
    detector_weights: Annotated[
        Path | None, typer.Option(help="The detector's file, instead of the one in the cache.")
    ] = PreprocessConfig.detector_weights,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda, for retinaface, blazeface, scrfd and sfd.")
    ] = PreprocessConfig.device,
    size: Annotated[int, typer.Option(help="Side of a face crop in pixels.")] = (
        PreprocessConfig.size
    ),
    align: Annotated[
        str,
        typer.Option(
            help="`square` around the face, or turned and scaled by the detector's five `points`, "
            "or by its 68 `landmarks`."
        ),
    ] = PreprocessConfig.align,
    margin: Annotated[
        float, typer.Option(help="Part of the face's longer side added on each side.")
    ] = PreprocessConfig.margin,
    jpeg_quality: Annotated[int, typer.Option(help="Of the face crops.")] = (
        PreprocessConfig.jpeg_quality
    ),
    faces: Annotated[
        str,
        typer.Option(
            metavar="all|largest|N", help="Which faces of a source to keep; N: the N largest."
        ),
    ] = PreprocessConfig.faces,
    min_face: Annotated[int, typer.Option(help="Longer side of the smallest face, in pixels.")] = (
        PreprocessConfig.min_face
    ),
    min_seconds: Annotated[
        float | None,
        typer.Option(
            help="Shortest time a face must be seen. By default 0.5, or half of a source that is "
            "shorter than 1 s."
        ),
    ] = PreprocessConfig.min_seconds,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="Look for faces here only; in pixels.")
    ] = None,
    detect_every: Annotated[
        int | None,
        typer.Option(help="Detect on every n-th frame. By default about each 0.12 seconds."),
    ] = PreprocessConfig.detect_every,
    lost_seconds: Annotated[
        float, typer.Option(help="How long a face may be hidden and keep its identity.")
    ] = PreprocessConfig.lost_seconds,
    smooth: Annotated[
        int, typer.Option(help="Average boxes with so many frames before and after.")
    ] = PreprocessConfig.smooth,
    fps: Annotated[float | None, typer.Option(help="Keep at most so many frames a second.")] = (
        PreprocessConfig.fps
    ),
    every: Annotated[int, typer.Option(help="Keep every n-th frame.")] = PreprocessConfig.every,
    start: Annotated[float, typer.Option(help="Begin at this second.")] = PreprocessConfig.start,
    end: Annotated[float | None, typer.Option(help="Stop at this second.")] = (
        PreprocessConfig.end
    ),
    folder_fps: Annotated[
        float, typer.Option(help="Frame rate of folders of numbered images.")
    ] = PreprocessConfig.folder_fps,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="Find 68 points on every crop.")
    ] = PreprocessConfig.landmarks,
    parsing: Annotated[
        str,
        typer.Option(
            help="Map pixels to parts of the face: none, polygons (from the 68 points) or "
            "segformer (extra dfercli\\[parsing])."
        ),
    ] = PreprocessConfig.parsing,
    parsing_model: Annotated[
        str, typer.Option(help="SegFormer on the hub, or its folder.")
    ] = PreprocessConfig.parsing_model,
    root: Annotated[
        Path | None,
        typer.Option(help="With SOURCE dfew, ferv39k, mafw, ravdess or crema-d: its folder."),
    ] = PreprocessConfig.root,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="Draw a contact sheet and an annotated video per source."),
    ] = PreprocessConfig.preview,
    engine: Annotated[
        str,
        typer.Option(help="local, or ray: a cluster that sees the same files (dfercli\\[ray])."),
    ] = PreprocessConfig.engine,
    ray_address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster. By default one that is running here.")
    ] = PreprocessConfig.ray_address,
    workers: Annotated[
        int | None, typer.Option(help="Processes. By default one per core; 0: no process.")
    ] = PreprocessConfig.workers,
    time_limit: Annotated[
        float, typer.Option(help="Give a source up after so many seconds without a new frame.")
    ] = PreprocessConfig.time_limit,
    max_pixels: Annotated[
        int, typer.Option(help="Refuse sources whose frames have more pixels. By default 8K.")
    ] = PreprocessConfig.max_pixels,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Empty an existing store (of a benchmark: its parts) first."
        ),
    ] = PreprocessConfig.overwrite,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file of settings, in its table `preprocess`."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Find, follow and crop the faces of videos: one clip for each face.

    What was done before is passed over; a source that cannot be used is listed in failures.jsonl
    and the rest is kept.
    """
    from dfercli.preprocessing.run import is_benchmark, run, run_on_benchmark

    config = settle(context, PreprocessConfig(), command="preprocess", config_file=config_file)
    progress = ConsoleProgress(quiet=quiet)
    if is_benchmark(config):
        _print_parts(run_on_benchmark(config, progress), json=json)
        return
    result = run(config, progress)
    if json:
        print_json(_as_json(result))
    else:
        _print_summary(result)
    if result.failures:
        raise DataError(
            f"{len(result.failures)} of {result.num_sources} sources gave no clip",
            hint=f"see {result.store / 'failures.jsonl'}",
        )


def _print_parts(result: "PartsResult", *, json: bool) -> None:
    if json:
        print_json({**asdict(result), "store": str(result.store)})
    else:
        print_table(
            str(result.store),
            ("clips", "done before", "failed"),
            [tuple(str(n) for n in (result.num_clips, result.num_skipped, len(result.failures)))],
        )
    if result.failures:
        raise DataError(
            f"{len(result.failures)} of {result.num_clips} clips could not be read",
            hint=f"see {result.store / 'failures.jsonl'}",
        )


def _as_json(result: "PreprocessResult") -> dict[str, object]:
    return {
        "store": str(result.store),
        "sources": result.num_sources,
        "skipped": result.num_skipped,
        "frames": result.num_frames,
        "clips": [clip.to_row() for clip in result.clips],
        "failures": [failure.to_row() for failure in result.failures],
        "warnings": list(result.warnings),
    }


def _print_summary(result: "PreprocessResult") -> None:
    crops = sum(clip.num_frames for clip in result.clips)
    print_table(
        str(result.store),
        ("sources", "done before", "failed", "clips", "face crops"),
        [
            tuple(
                str(number)
                for number in (
                    result.num_sources,
                    result.num_skipped,
                    len(result.failures),
                    result.num_clips,
                    crops,
                )
            )
        ],
    )
    by_label = Counter(clip.label for clip in result.clips if clip.label is not None)
    if by_label:
        rows = [(label, str(count)) for label, count in sorted(by_label.items())]
        print_table("", ("label", "clips"), rows)
    if result.failures:
        rows = [tuple(asdict(failure).values()) for failure in result.failures]
        print_table("no clip from", ("source", "stage", "reason"), rows, left=3)
