"""`dfer sweep`: train a grid of settings, one run folder each, and put the results in a table.

A sweep is a TOML file:

    dataset = "faces/"                  # and any other setting of `dfer train`
    out = "runs/streams"

    [optim]
    epochs = 10

    [grid]                              # name = values; every combination is trained
    "model.method" = ["finecliper"]
    "model.finecliper.streams" = ["frames", "frames,landmarks"]
    seed = [1, 2, 3]

Several tables, as of a paper, each have a title and a grid; a run that two of them want is trained
once. Published numbers may be added, by data set and the values of the grid:

    [[tables]]
    title = "Layers"
    grid = { "model.temporal_layers" = [0, 1] }
    published = { dfew = { 1 = [59.61, 71.25] } }
"""

import itertools
import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import write_text
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.own_outputs import check_places
from dfercli.config import SweepConfig, TrainConfig
from dfercli.errors import ConfigError
from dfercli.layers import Layer, assigned, layered
from dfercli.overrides import read_toml, to_plain
from dfercli.progress import Progress
from dfercli.recipes import sweep_file
from dfercli.report.tables import NO_VALUE, TextTable, percent, to_csv
from dfercli.training import run as train
from dfercli.training.continuing import refuse_other_settings
from dfercli.typed import shown

SEED = "seed"
REMEDY = "choose another `out`, or remove the run"
MAX_RUNS = 10_000
TABLE = ("title", "grid", "published")


@dataclass(frozen=True)
class SweepRun:
    """One combination of the grid.

    Attributes:
        values: Setting -> value, as text.
        config: All settings.
        title: Of the table that it is for.
        published: UAR and WAR that a paper gives for it, in per cent.
        has_published: Whether a paper gives any for this table.
    """

    values: dict[str, str]
    config: TrainConfig
    title: str = "Sweep"
    published: tuple[float, float] | None = None
    has_published: bool = False

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.config.out / str(self.config.name)


@dataclass(frozen=True)
class SweepRow:
    """The runs that differ only in their seed.

    Attributes:
        values: Setting -> value, without the seed.
        war: WAR of each run, the mean over its folds.
        uar: UAR of each run.
        runs: Their folders.
        of: The first of them.
    """

    values: dict[str, str]
    war: tuple[float, ...]
    uar: tuple[float, ...]
    runs: tuple[Path, ...]
    of: SweepRun


def run(config: SweepConfig, progress: Progress) -> tuple[SweepRow, ...]:
    """Train the missing runs, continue begun ones, and summarise all.

    Raises:
        ConfigError: the file is not a sweep, or settings are wrong; before any training.
        DataError: clips that cannot be used.
        ArtifactError: a run of an earlier sweep that cannot be read.
    """
    runs = plan(sweep_file(config.file), config.settings)
    for planned in runs:
        refuse_other_settings(planned.folder, planned.config, hint=REMEDY)
    out = runs[0].config.out
    with exclusive(out / ".sweep.lock", busy=f"a sweep of {out} is under way"):
        try:
            rows = _train_all(runs, progress)
        except KeyboardInterrupt:
            progress.note(f"continue it with: dfer sweep {config.file}")
            raise
        tables = sweep_tables(rows)
        for number, table in enumerate(tables, start=1):
            name = "sweep.csv" if len(tables) == 1 else f"sweep-{number}.csv"
            write_text(out / name, to_csv(table))
    return rows


def _train_all(runs: list[SweepRun], progress: Progress) -> tuple[SweepRow, ...]:
    measured = []
    for number, planned in enumerate(runs, start=1):
        progress.info(f"run {number} of {len(runs)}: {planned.folder.name}")
        result = train.run_or_resume(planned.config, progress)
        found = [fold.evaluation for fold in result.folds if fold.evaluation is not None]
        if not found:
            raise ConfigError(
                f"{planned.config.dataset} has no clips to measure on",
                hint='give some: [data] test = "faces-test/"',
            )
        measured.append(
            (
                planned,
                statistics.mean(evaluation.war for evaluation in found),
                statistics.mean(evaluation.uar for evaluation in found),
            )
        )
    return _rows(measured)


def plan(file: Path, settings: Sequence[str] = ()) -> list[SweepRun]:
    """Read a sweep: every combination of its grids, with all settings checked.

    Args:
        file: The sweep.
        settings: NAME=VALUE, over those of the file.

    Raises:
        ConfigError: not a sweep, or settings that are wrong (named with the combination).
    """
    content = read_toml(file)
    tables = content.pop("tables", None)
    if tables is None:
        tables = [{"grid": content.pop("grid", None)}]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{file}: tables: expected [[tables]], got {shown(tables)}")
    names: dict[str, str] = {}
    runs = []
    for table in tables:
        for planned in _plan_table(table, content, file, settings):
            # Two tables may want the same run.
            key = json.dumps(to_plain(replace(planned.config, name=None)), sort_keys=True)
            name = names.setdefault(key, str(planned.config.name))
            runs.append(replace(planned, config=replace(planned.config, name=name)))
    return runs


def _plan_table(
    table: dict[str, Any], content: dict[str, Any], file: Path, settings: Sequence[str]
) -> list[SweepRun]:
    if unknown := [shown(name) for name in table if name not in TABLE]:
        raise ConfigError(
            f"{file}: a table of a sweep has no {', '.join(unknown)} (known: {', '.join(TABLE)})"
        )
    grid, published = table.get("grid"), table.get("published", {})
    if not isinstance(grid, dict) or not grid:
        raise ConfigError(f"{file} has no grid", hint="add for example: [grid] seed = [1, 2, 3]")
    if not isinstance(published, dict):
        raise ConfigError(f"{file}: published: expected a table, got {shown(published)}")
    choices = {name: _texts(values, f"{file}: grid.{name}") for name, values in grid.items()}
    if (size := math.prod(map(len, choices.values()))) > MAX_RUNS:
        raise ConfigError(
            f"{file}: the grid has {size} combinations, at most {MAX_RUNS} are trained"
        )
    runs = []
    for combination in itertools.product(*choices.values()):
        values = dict(zip(choices, combination, strict=True))
        config = _config(content, values, file, settings)
        runs.append(
            SweepRun(
                values,
                replace(config, name=_name(values)),
                title=str(table.get("title", SweepRun.title)),
                published=_published(published.get(config.dataset.lower(), {}), values, file),
                has_published=bool(published),
            )
        )
    return runs


def _published(known: Any, values: dict[str, str], file: Path) -> tuple[float, float] | None:
    """UAR and WAR that a paper gives for these values, in per cent."""
    key = ", ".join(value.lower() for name, value in values.items() if name != SEED)
    rates = known.get(key) if isinstance(known, dict) else None
    if rates is None:
        return None
    if not isinstance(rates, list) or [type(rate) for rate in rates] != [float, float]:
        raise ConfigError(f"{file}: published, {key}: expected UAR and WAR, got {shown(rates)}")
    return rates[0], rates[1]


def sweep_tables(rows: Sequence[SweepRow]) -> list[TextTable]:
    """Each table of a sweep."""
    titles = dict.fromkeys(row.of.title for row in rows)
    return [sweep_table([row for row in rows if row.of.title == title]) for title in titles]


def sweep_table(rows: Sequence[SweepRow]) -> TextTable:
    """The rows as text: each setting, then UAR and WAR with their deviation over seeds."""
    settings = list(rows[0].values)
    beside = rows[0].of.has_published
    columns = ("published UAR %", "published WAR %") if beside else ()
    return TextTable(
        rows[0].of.title,
        (*map(_short(settings).__getitem__, settings), "seeds", "UAR %", "WAR %", *columns),
        tuple(
            (
                *row.values.values(),
                str(len(row.war)),
                _with_deviation(row.uar),
                _with_deviation(row.war),
                *(_shown_published(row) if beside else ()),
            )
            for row in rows
        ),
    )


def _shown_published(row: SweepRow) -> tuple[str, str]:
    if row.of.published is None:
        return NO_VALUE, NO_VALUE
    uar, war = row.of.published
    return f"{uar:.2f}", f"{war:.2f}"


def _config(
    content: dict[str, Any], values: dict[str, str], file: Path, settings: Sequence[str]
) -> TrainConfig:
    """The settings of one combination."""
    chosen = assigned(
        [f"{name}={value}" for name, value in values.items()], f"{file}, {_name(values)}"
    )
    config = layered(TrainConfig(), [Layer(content, str(file)), assigned(settings), chosen])
    check_places(config)
    if not config.dataset:
        raise ConfigError(f"{file} names no dataset", hint="name it: --set dataset=faces/")
    if config.seeds:
        raise ConfigError(f"{file}: seeds of a sweep stand in its grid", hint="seed = [1, 2, 3]")
    if config.devices > 1:
        raise ConfigError(
            f"{file}: a sweep trains in one process", hint="or start it with torchrun, devices = 1"
        )
    return config


def _texts(values: Any, where: str) -> list[str]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{where}: expected a list of values, got {shown(values)}")
    texts = [
        ",".join(map(str, value)) if isinstance(value, list) else str(value) for value in values
    ]
    if len(set(texts)) < len(texts):
        raise ConfigError(f"{where}: a value comes twice")
    return texts


def _name(values: dict[str, str]) -> str:
    """The run folder of a combination."""
    short = _short(list(values))
    text = "_".join(f"{short[name]}-{value}" for name, value in values.items())
    return "".join(letter if letter.isalnum() or letter in "-_.+" else "+" for letter in text)


def _short(names: list[str]) -> dict[str, str]:
    """Each setting's name without its tables, if that is unambiguous."""
    last = {name: name.rpartition(".")[2] for name in names}
    counts = Counter(last.values())
    return {name: own if counts[own] == 1 else name for name, own in last.items()}


def _rows(measured: Sequence[tuple[SweepRun, float, float]]) -> tuple[SweepRow, ...]:
    groups: dict[tuple[str, ...], list[tuple[SweepRun, float, float]]] = {}
    for entry in measured:
        own = entry[0].values.items()
        values = (entry[0].title, *(f"{name}={value}" for name, value in own if name != SEED))
        groups.setdefault(values, []).append(entry)
    return tuple(
        SweepRow(
            values={name: v for name, v in group[0][0].values.items() if name != SEED},
            war=tuple(entry[1] for entry in group),
            uar=tuple(entry[2] for entry in group),
            runs=tuple(entry[0].folder for entry in group),
            of=group[0][0],
        )
        for group in groups.values()
    )


def _with_deviation(rates: Sequence[float]) -> str:
    if len(rates) == 1:
        return percent(rates[0])
    return f"{percent(statistics.mean(rates))} ± {percent(statistics.stdev(rates))}"
