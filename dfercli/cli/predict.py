"""`dfer predict`: who shows what, and when."""

import sys
from dataclasses import replace
from io import TextIOWrapper
from json import dumps
from typing import TYPE_CHECKING, Any

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import PredictConfig
from dfercli.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dfercli.artifacts.timelines import EventRow
    from dfercli.prediction.result import PredictResult
    from dfercli.report.video_prediction import VideoPrediction

EPILOG = examples(
    "dfer predict clip.mp4",
    "dfer predict videos/ --out result.csv --html result.html",
    "dfer predict videos/ --out results/ --export eaf,boris",
    "dfer predict videos/ --clock events.csv --out results/",
    "dfer predict clip.mp4 --labels 'bored, confused, delighted'",
    "find . -name '*.mp4' | dfer predict - --out result.jsonl",
    "dfer predict --camera 0 --headless",
)


@offers(PredictConfig, "predict")
def predict(asked: Asked[PredictConfig], json: Json = False, quiet: Quiet = False) -> None:
    """Recognise expressions in videos: a table of who shows what, and when.

    The model and its labels are named on stderr. Sources that cannot be used are listed; the rest
    is kept.
    """
    config = asked.config()
    config = replace(config, sources=_read_list(config.sources))
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
        if result.events:
            _print_events(result)
        if config.out is not None:
            windows, spans = (
                sum(1 for _ in rows) for rows in (result.predictions(), result.spans())
            )
            print_line(f"{windows} windows, {spans} spans in {config.out}")
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
        sys.stdout.flush()  # a reader of the pipe wants it now

    run(config, ConsoleProgress(quiet=quiet), on_row)


def _read_list(sources: tuple[str, ...]) -> tuple[str, ...]:
    """The sources, with `-` replaced by the lines of standard input."""
    found: list[str] = []
    for source in sources:
        if source == "-":
            if isinstance(sys.stdin, TextIOWrapper):  # names of files are any bytes
                sys.stdin.reconfigure(errors="surrogateescape")
            found += [line for line in sys.stdin.read().splitlines() if line.strip()]
        else:
            found.append(source)
    if sources and not found:
        raise ConfigError("standard input holds no path")
    return tuple(found)


def _print_events(result: "PredictResult") -> None:
    rows = []
    for row in result.events:
        shares = sorted(row.shares.items(), key=lambda one: -(one[1] or 0.0))
        shown = ", ".join(f"{name} {share:.0%}" for name, share in shares if share)
        rows.append(
            (
                row.source,
                row.event,
                f"{row.start_seconds:.2f}",
                f"{row.end_seconds:.2f}",
                _who(row),
                f"{row.seen_seconds:.2f}",
                shown,
            )
        )
    columns = ("source", "event", "from s", "to s", "face", "seen s", "share of that time")
    print_table("events", columns, rows, left=7)


def _who(row: "EventRow") -> str:
    if row.outside:
        return "outside the video"
    return "nobody" if row.track is None else str(row.track)


def _print_video(video: "VideoPrediction", min_confidence: float, top: int) -> None:
    rows = []
    people = video.people
    for span in video.expression_spans():
        best = span.probabilities.argsort()[::-1][: max(top, 1)].tolist()
        first, *others = (f"{video.label_set[k]} {span.probabilities[k]:.0%}" for k in best)
        if span.probabilities[best[0]] < min_confidence:
            first += " (uncertain)"
        rows.append(
            (
                f"{span.track} ({people[span.track]})" if span.track in people else str(span.track),
                f"{span.start_seconds:.2f}",
                f"{span.end_seconds:.2f}",
                first,
                ", ".join(others),
            )
        )
    columns = ("face", "from s", "to s", "expression", "then")
    print_line(video.source)
    print_table("", columns, rows, left=5)
    for line in filter(None, (video.gap_line(), *video.remarks)):
        print_line(line)
