"""The tables of `dfer predict`, each in its place, and the folder of all results.

results/
run.json          settings, model and versions; written last: all others are whole then
windows.csv       a row per face track and window
spans.csv         a row per stretch in which a person shows the same expression
summary.csv       a row per video, each followed by those of its persons
events.csv        with --clock: a row per event and person
failures.jsonl    sources that could not be used, wholly or in part, where there are any
page.html         the page
exports/          timelines for other tools
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.artifacts.bug_log import BUGS_FILE
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.predictions import write_predictions
from dfercli.artifacts.removing import remove_inside
from dfercli.artifacts.tables import write_table
from dfercli.artifacts.timelines import event_columns, span_columns, summary_columns
from dfercli.config import PredictConfig
from dfercli.errors import ArtifactError, ConfigError
from dfercli.overrides import to_plain
from dfercli.prediction.result import PredictResult
from dfercli.typed import typed

RESULTS_SCHEMA = "dfer.results/1"
RUN, WINDOWS, SPANS, SUMMARY = "run.json", "windows.csv", "spans.csv", "summary.csv"
EVENTS, FAILURES, PAGE, EXPORTS = "events.csv", "failures.jsonl", "page.html", "exports"
OWN_NAMES = (RUN, WINDOWS, SPANS, SUMMARY, EVENTS, FAILURES, PAGE, EXPORTS, BUGS_FILE)
VERSIONED = ("dfercli", "torch", "torchvision", "open_clip_torch", "numpy", "opencv-python", "av")


@dataclass(frozen=True)
class ResultsRecord:
    """The entries of `run.json` that later commands read.

    Attributes:
        model: Where the model comes from.
        folder: The folder that paths of videos are relative to.
        label_set: The classes.
    """

    model: str
    folder: str
    label_set: tuple[str, ...] = ()


def is_folder(out: Path) -> bool:
    """Tell whether `--out` names a folder: one that exists, or a name without a suffix."""
    return out.is_dir() or not out.suffix


def with_page(config: PredictConfig) -> PredictConfig:
    """The settings, with the page of a folder unless another was requested."""
    if config.out is None or not is_folder(config.out) or config.html is not None:
        return config
    return replace(config, html=config.out / PAGE)


def check_folder(folder: Path) -> None:
    """Refuse a folder with other content, before any work.

    Raises:
        ConfigError: it is a file, or holds a file that is not from results.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file and would be a folder: it has no suffix")
    if not folder.is_dir() or (folder / RUN).is_file():
        return
    for path in sorted(folder.iterdir()):
        if path.name not in OWN_NAMES and not path.name.startswith("."):
            raise ConfigError(
                f"--out {folder} is a folder of something else: it holds {path.name}",
                hint="name a new or empty folder, or a file in .csv, .jsonl or .parquet",
            )


def tables_of(config: PredictConfig) -> dict[str, list[Path]]:
    """Where each table goes: windows, spans, summary, events."""
    folder = config.out if config.out is not None and is_folder(config.out) else None
    asked = {"windows": config.out, "spans": config.spans, "summary": config.summary}
    paths = {
        name: [path for path in (place,) if path is not None and path != folder]
        for name, place in asked.items()
    }
    paths["events"] = []
    if folder is not None:
        for name, file in (("windows", WINDOWS), ("spans", SPANS), ("summary", SUMMARY)):
            paths[name].append(folder / file)
    if config.clock is not None and config.out is not None:
        beside = config.out.with_name(f"{config.out.stem}.events.csv")
        paths["events"].append(beside if folder is None else folder / EVENTS)
    return paths


def failures_path(out: Path) -> Path:
    """The file of failures of a folder, or of a table of predictions."""
    return out / FAILURES if is_folder(out) else out.with_name(f"{out.stem}.{FAILURES}")


def write_tables(config: PredictConfig, result: PredictResult) -> None:
    """Write all requested tables.

    Raises:
        ArtifactError: the system refused a write.
    """
    labels, paths = result.model.label_set, tables_of(config)
    if config.out is not None and is_folder(config.out):
        _remove_stale(config.out, paths, result)
    for path in paths["windows"]:
        write_predictions(path, result.predictions(), labels)
    for path in paths["spans"]:
        write_table(path, (row.to_row() for row in result.spans()), span_columns(labels))
    for path in paths["summary"]:
        write_table(path, (row.to_row() for row in result.summary()), summary_columns(labels))
    for path in paths["events"]:
        write_table(path, (row.to_row() for row in result.events), event_columns(labels))
    if config.out is not None:
        beside = failures_path(config.out)
        if result.failures:
            write_rows(beside, (failure.to_row() for failure in result.failures))
        else:
            beside.unlink(missing_ok=True)


def _remove_stale(folder: Path, tables: Mapping[str, list[Path]], result: PredictResult) -> None:
    """Remove files of an earlier run that this one does not replace, so all files are of one run.

    The record goes first, as it says that all others are whole; the page and the exports are
    written after the tables.
    """
    kept = {path for paths in tables.values() for path in paths}
    if result.failures:
        kept |= {folder / FAILURES, folder / BUGS_FILE}
    for name in OWN_NAMES:
        if folder / name not in kept:
            remove_inside(folder, name)


def write_record(config: PredictConfig, result: PredictResult) -> None:
    """Record the run in its folder once all else is written; without a folder do nothing.

    Raises:
        ArtifactError: the system refused the write.
    """
    if config.out is None or not is_folder(config.out):
        return
    record: Mapping[str, Any] = {
        "schema": RESULTS_SCHEMA,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "folder": os.getcwd(),
        "model": result.model.name,
        "label_set": list(result.model.label_set),
        "min_confidence": result.min_confidence,
        "precision": result.precision,
        "num_videos": len(result.videos),
        "num_failures": len(result.failures),
        "versions": _versions(),
        "settings": to_plain(config),
        "card": result.model.card.to_json(),
    }
    write_json(config.out / RUN, record)


def read_record(folder: Path) -> ResultsRecord:
    """Read the record of a folder of results.

    Raises:
        ArtifactError: it is no such folder, or the record is broken.
    """
    path = folder / RUN
    if not path.is_file():
        raise ArtifactError(
            f"{folder} is no folder of results: no {RUN} in it",
            hint=f"dfer predict VIDEO --out {folder}",
        )
    record: ResultsRecord = typed(ResultsRecord, read_json(path), str(path), schema=RESULTS_SCHEMA)
    return record


def _versions() -> dict[str, str]:
    found = {}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
