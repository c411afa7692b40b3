"""`dfer preprocess`: from raw videos to a face store."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from dfercli.cli.console import ConsoleProgress, print_json, print_table
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import PreprocessConfig
from dfercli.errors import DataError

if TYPE_CHECKING:
    from dfercli.preprocessing.face_parts import PartsResult
    from dfercli.preprocessing.run import PreprocessResult

EPILOG = examples(
    "dfer preprocess videos/ --out faces/",
    "dfer preprocess talk.mp4 --fps 8 --start 60 --end 120",
    "dfer preprocess clips/ --labels labels.csv --faces largest",
    "dfer preprocess videos/ --streams landmarks,parsing",
    "dfer preprocess dfew --root /data/DFEW --streams landmarks,regions",
)


@offers(PreprocessConfig, "preprocess")
def preprocess(asked: Asked[PreprocessConfig], json: Json = False, quiet: Quiet = False) -> None:
    """Find, follow and crop the faces of videos: one clip for each face.

    Finished sources are skipped. Sources that cannot be used are listed in failures.jsonl; the rest
    is kept.
    """
    from dfercli.preprocessing.run import is_benchmark, run, run_on_benchmark

    config = asked.config()
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
            f"{len(result.failures)} of {result.num_sources} sources failed, wholly or in part",
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
    if tied := sum(bool(clip.soft_label) for clip in result.clips):
        by_label["several"] = tied
    if by_label:
        rows = [(label, str(count)) for label, count in sorted(by_label.items())]
        print_table("", ("label", "clips"), rows)
    if result.failures:
        rows = [tuple(asdict(failure).values()) for failure in result.failures]
        print_table("failed", ("source", "stage", "reason"), rows, left=3)
