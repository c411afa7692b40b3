"""Tables of runs: each fold, their mean, all clips pooled, and published numbers beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from dfercli.artifacts.evaluation import Evaluation, FoldSummary, Interval, PairedTest
from dfercli.report.published import SELECTION, published_for
from dfercli.report.tables import NO_VALUE, TextTable, percent, percent_interval

COLUMNS = (
    "run",
    "fold",
    "clips",
    "UAR %",
    "95 %",
    "WAR %",
    "95 %",
    "ECE %",
    "split",
    "selected on",
)


@dataclass(frozen=True)
class RunSummary:
    """One run, ready for a table.

    Attributes:
        name: Its name.
        dataset: What it was trained on.
        folds: Numbers of the folds that are finished, in the order of `summary.folds`.
        summary: Its results.
        selected_on: How its checkpoints were chosen, in words.
        measured_on: On which clips, in words.
        official_split: Whether every fold is a published one.
    """

    name: str
    dataset: str
    folds: tuple[int, ...]
    summary: FoldSummary
    selected_on: str
    measured_on: str
    official_split: bool


def results_table(
    dataset: str, runs: Sequence[RunSummary], *, with_published: bool = True
) -> TextTable:
    """All runs on one data set; below them the published numbers, where there are any."""
    rows = [row for run in runs for row in _run_rows(run)]
    if with_published:
        rows += _published_rows(dataset)
    return TextTable(dataset, COLUMNS, tuple(rows))


def compact(table: TextTable) -> TextTable:
    """The table of `results_table` for a terminal: without what `selection_notes` tells."""
    rows = []
    for number, row in enumerate(table.rows):
        is_same_run = number > 0 and table.rows[number - 1][0] == row[0]
        rows.append(("" if is_same_run else row[0], *row[1:-2]))
    return TextTable(table.title, table.columns[:-2], tuple(rows))


def selection_notes(table: TextTable) -> list[str]:
    """One line per run of `results_table` with its split and selection rule."""
    rules: dict[tuple[str, ...], list[str]] = {}
    for row in table.rows:
        rules.setdefault(row[-2:], [])
        if row[0] not in rules[row[-2:]]:
            rules[row[-2:]].append(row[0])
    return [
        f"{'published' if rule == SELECTION else ', '.join(names)}: {split} split, "
        f"selected on: {rule}"
        for (split, rule), names in rules.items()
    ]


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
    ending = (split, run.selected_on)
    rows: list[tuple[str, ...]] = [
        (run.name, str(number), *_values(evaluation), *ending)
        for number, evaluation in zip(run.folds, run.summary.folds, strict=True)
    ]
    if len(run.folds) == 1:
        return rows
    summary = run.summary
    mean = (
        run.name,
        f"mean of {len(run.folds)}",
        str(summary.pooled.num_clips),
        _with_deviation(summary.mean_uar, summary.std_uar),
        percent_interval(summary.mean_uar_interval),
        _with_deviation(summary.mean_war, summary.std_war),
        percent_interval(summary.mean_war_interval),
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
        percent(evaluation.ece),
    )


def _published_rows(dataset: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for result in published_for(dataset):
        uar, war = (NO_VALUE if rate is None else f"{rate:.2f}" for rate in result.results[dataset])
        fold = NO_VALUE if dataset == "ferv39k" else "mean of 5"
        name = f"{result.method} ({result.modality})"
        rows.append(
            (name, fold, NO_VALUE, uar, NO_VALUE, war, NO_VALUE, NO_VALUE, "official", SELECTION)
        )
    return rows


def _with_deviation(rate: float, deviation: float | None) -> str:
    return percent(rate) if deviation is None else f"{percent(rate)} ± {percent(deviation)}"


def _signed(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def _signed_interval(interval: Interval) -> str:
    return f"{_signed(interval[0])} to {_signed(interval[1])}"
