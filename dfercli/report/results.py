"""Tables of runs: each fold, their mean, all clips pooled, and published numbers."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dfercli.artifacts.evaluation import Evaluation, FoldSummary, Interval, PairedTest
from dfercli.report.published_results import SELECTION, published_for
from dfercli.report.tables import NO_VALUE, TextTable, percent, percent_interval

COLUMNS = (
    "run",
    "fold",
    "clips",
    "UAR %",
    "95 %",
    "WAR %",
    "95 %",
    "F1 %",
    "ECE %",
    "measured on",
    "split",
    "selected on",
    "intervals by",
)
TOLD_BELOW = 4  # the last columns, which a terminal shows as notes


@dataclass(frozen=True)
class RunSummary:
    """One run, ready for a table.

    Attributes:
        name: Its name.
        dataset: The training data.
        folds: Numbers of the finished folds, in the order of `summary.folds`.
        summary: Its results.
        selected_on: How its checkpoints were chosen, as text.
        measured_on: The measured clips of each fold, as text.
        official_split: Whether every fold is a published one.
        seed: Of the training.
        settings: Its differences from other runs besides the seed; empty if unknown.
    """

    name: str
    dataset: str
    folds: tuple[int, ...]
    summary: FoldSummary
    selected_on: str
    measured_on: tuple[str, ...]
    official_split: bool
    seed: int = 1
    settings: str = ""


def results_table(
    dataset: str, runs: Sequence[RunSummary], *, with_published: bool = True
) -> TextTable:
    """All runs on one data set; below them the published numbers, if any."""
    rows = [row for run in runs for row in _run_rows(run)]
    if with_published:
        rows += _published_rows(dataset)
    return TextTable(dataset, COLUMNS, tuple(rows))


def compact(table: TextTable) -> TextTable:
    """The table of `results_table` for a terminal, without the columns in `selection_notes`."""
    rows = []
    for number, row in enumerate(table.rows):
        is_same_run = number > 0 and table.rows[number - 1][0] == row[0]
        rows.append(("" if is_same_run else row[0], *row[1:-TOLD_BELOW]))
    return TextTable(table.title, table.columns[:-TOLD_BELOW], tuple(rows))


def selection_notes(table: TextTable) -> list[str]:
    """The columns that `compact` omits: clips, split and selection rule of each run."""
    runs: dict[tuple[str, ...], list[str]] = {}
    for row in table.rows:
        measured_on, split, rule, method = row[-TOLD_BELOW:]
        names = runs.setdefault((_without_fold(measured_on), split, rule, method), [])
        if row[0] not in names:
            names.append(row[0])
    return [
        f"{'published' if rule == SELECTION else ', '.join(names)}: measured on {measured_on}, "
        f"{split} split, selected on: {rule}"
        + (f"; 95 % intervals: {method}" if method != NO_VALUE else "")
        for (measured_on, split, rule, method), names in runs.items()
    ]


def seeds_table(runs: Sequence[RunSummary]) -> TextTable | None:
    """Runs that differ only in their seed, together: the effect of the seed, and of the fold.

    The deviation over seeds is that of the runs' means; the one over folds is the mean over the
    runs of their deviation over folds.

    Returns:
        None if no two runs differ only in their seed.
    """
    groups: dict[tuple[str, str], list[RunSummary]] = {}
    for run in runs:
        if run.settings:
            groups.setdefault((run.dataset, run.settings), []).append(run)
    rows = []
    for group in groups.values():
        if len({run.seed for run in group}) < 2:
            continue
        rows.append(
            (
                re.sub(r"[-_]seed-\d+$", "", group[0].name),
                ", ".join(str(run.seed) for run in group),
                str(len(group[0].folds)),
                *_over_seeds(
                    [r.summary.mean_uar for r in group], [r.summary.std_uar for r in group]
                ),
                *_over_seeds(
                    [r.summary.mean_war for r in group], [r.summary.std_war for r in group]
                ),
            )
        )
    if not rows:
        return None
    columns = ("runs", "seeds", "folds", "UAR %", "± seeds", "± folds")
    return TextTable("Over seeds", (*columns, "WAR %", "± seeds", "± folds"), tuple(rows))


def _over_seeds(means: list[float], deviations: list[float | None]) -> tuple[str, str, str]:
    known = [deviation for deviation in deviations if deviation is not None]
    return (
        percent(statistics.mean(means)),
        percent(statistics.stdev(means)),
        percent(statistics.mean(known)) if known else NO_VALUE,
    )


def paired_table(test: PairedTest, name_a: str, name_b: str) -> TextTable:
    """Run A against run B on the same clips."""
    only = f"only {name_a} right {test.only_a_right}, only {name_b} right {test.only_b_right}"
    rows = (
        ("UAR", _signed(test.uar_difference), _signed_interval(test.uar_interval), ""),
        ("WAR", _signed(test.war_difference), _signed_interval(test.war_interval), ""),
        ("McNemar, exact", NO_VALUE, NO_VALUE, f"p = {test.mcnemar_p:.3g} ({only})"),
    )
    title = f"{name_a} minus {name_b} on {test.num_clips} clips"
    return TextTable(title, ("", "difference, points", "95 % interval", "test"), rows)


def _run_rows(run: RunSummary) -> list[tuple[str, ...]]:
    split = "official" if run.official_split else "own"
    uar_method, war_method = run.summary.mean_uar_method, run.summary.mean_war_method
    methods = uar_method if uar_method == war_method else f"UAR {uar_method}; WAR {war_method}"
    rows: list[tuple[str, ...]] = [
        (run.name, str(number), *_values(evaluation), measured_on, split, run.selected_on, methods)
        for number, evaluation, measured_on in zip(
            run.folds, run.summary.folds, run.measured_on, strict=True
        )
    ]
    if len(run.folds) == 1:
        return rows
    together = " / ".join(dict.fromkeys(map(_without_fold, run.measured_on)))
    ending = (together, split, run.selected_on, methods)
    summary = run.summary
    mean = (
        run.name,
        f"mean of {len(run.folds)}",
        str(summary.pooled.num_clips),
        _with_deviation(summary.mean_uar, summary.std_uar),
        percent_interval(summary.mean_uar_interval),
        _with_deviation(summary.mean_war, summary.std_war),
        percent_interval(summary.mean_war_interval),
        percent(sum(fold.macro_f1 for fold in summary.folds) / len(summary.folds)),
        NO_VALUE,
        *ending,
    )
    return [*rows, mean, (run.name, "pooled", *_values(summary.pooled), *ending)]


def _values(evaluation: Evaluation) -> tuple[str, ...]:
    return (
        str(evaluation.num_clips),
        percent(evaluation.uar),
        percent_interval(evaluation.uar_interval),
        percent(evaluation.war),
        percent_interval(evaluation.war_interval),
        percent(evaluation.macro_f1),
        percent(evaluation.ece),
    )


def _published_rows(dataset: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for result in published_for(dataset):
        uar, war = (NO_VALUE if rate is None else f"{rate:.2f}" for rate in result.results[dataset])
        fold = NO_VALUE if dataset == "ferv39k" else "mean of 5"
        name = f"{result.method} ({result.modality})"
        rates = (NO_VALUE, uar, NO_VALUE, war, NO_VALUE, NO_VALUE, NO_VALUE)
        rows.append(
            (name, fold, *rates, f"test clips of {dataset}", "official", SELECTION, NO_VALUE)
        )
    return rows


def _without_fold(measured_on: str) -> str:
    return re.sub(r" fold \d+$", "", measured_on)


def _with_deviation(rate: float, deviation: float | None) -> str:
    return percent(rate) if deviation is None else f"{percent(rate)} ± {percent(deviation)}"


def _signed(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def _signed_interval(interval: Interval) -> str:
    return f"{_signed(interval[0])} to {_signed(interval[1])}"
