"""Results as plain rows of text, for the terminal, CSV and LaTeX."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfercli.artifacts.atomic import write_text
from dfercli.artifacts.csv_cells import safe_cell
from dfercli.artifacts.evaluation import Evaluation, GroupRates, Interval

NO_VALUE = "-"
NO_ECE = "none: these clips fitted the temperature"


@dataclass(frozen=True)
class TextTable:
    """A table that is ready to print: every cell is plain text.

    Attributes:
        title: Its title.
        columns: Column names.
        rows: One tuple of cells per row, as many as there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(rate: float | None) -> str:
    """A rate of [0, 1] as per cent with two decimals, as papers print it; a dash for None."""
    return NO_VALUE if rate is None else f"{100 * rate:.2f}"


def percent_interval(interval: Interval | None) -> str:
    """An interval of rates, such as `48.10 to 52.93`; a dash for None."""
    if interval is None:
        return NO_VALUE
    return f"{percent(interval[0])} to {percent(interval[1])}"


def per_class_table(evaluation: Evaluation, title: str = "Recall per class") -> TextTable:
    """Clips, recall and the most frequent confusion of each class."""
    rows = []
    for number, name in enumerate(evaluation.label_set):
        counts = evaluation.confusion[number]
        wrong = counts.copy()
        wrong[number] = 0
        mistaken = int(wrong.argmax())
        confused = NO_VALUE
        if wrong[mistaken] > 0:
            confused = f"{evaluation.label_set[mistaken]} {percent(wrong[mistaken] / counts.sum())}"
        rows.append(
            (name, str(int(counts.sum())), percent(evaluation.recalls[name]), confused),
        )
    return TextTable(title, ("class", "clips", "recall %", "most often taken for %"), tuple(rows))


def summary_table(evaluation: Evaluation, title: str = "Result") -> TextTable:
    """WAR and UAR with their intervals and how these were made, F1 and the calibration error."""
    chance = 1 / (len(evaluation.label_set) - len(evaluation.classes_without_clips))
    rows = (
        (
            "UAR",
            percent(evaluation.uar),
            percent_interval(evaluation.uar_interval),
            evaluation.uar_method,
        ),
        (
            "WAR",
            percent(evaluation.war),
            percent_interval(evaluation.war_interval),
            evaluation.war_method,
        ),
        ("macro F1", percent(evaluation.macro_f1), NO_VALUE, ""),
        ("ECE", percent(evaluation.ece), NO_VALUE, "" if evaluation.ece is not None else NO_ECE),
        ("UAR of chance", percent(chance), NO_VALUE, ""),
        ("clips", str(evaluation.num_clips), NO_VALUE, ""),
    )
    return TextTable(title, ("", "%", "95 % interval", "by"), rows)


def group_table(groups: Sequence[GroupRates], label_set: Sequence[str]) -> TextTable:
    """Recalls, UAR and WAR of each group of clips."""
    rows = [
        (
            group.group,
            group.value,
            str(group.num_clips),
            percent(group.uar),
            percent(group.war),
            percent_interval(group.war_interval),
            *(percent(group.recalls[name]) for name in label_set),
        )
        for group in groups
    ]
    columns = ("group", "value", "clips", "UAR %", "WAR %", "95 % interval", *label_set)
    return TextTable("Per group", columns, tuple(rows))


def to_csv(table: TextTable) -> str:
    """The table as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([safe_cell(cell) for cell in row] for row in (table.columns, *table.rows))
    return text.getvalue()


def to_markdown(table: TextTable) -> str:
    """The table as Markdown; characters that would end a cell are escaped."""

    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"

    rule = ["---", *(["---:"] * (len(table.columns) - 1))]
    lines = [row(table.columns), row(rule), *(row(cells) for cells in table.rows)]
    return "\n".join(lines) + "\n"


def to_latex(table: TextTable) -> str:
    """The table as a LaTeX `tabular`, every special character escaped."""
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\hline",
        _latex_row(table.columns),
        r"\hline",
        *(_latex_row(row) for row in table.rows),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_latex_escape(cell) for cell in cells) + r" \\"


def _latex_escape(cell: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    special |= {"±": r"$\pm$", "→": r"$\to$", "<": r"\textless{}", ">": r"\textgreater{}"}
    # After the end of a row, these would be an option of it.
    special |= {"|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}"}
    printable = (character if character.isprintable() else " " for character in cell)
    return "".join(special.get(character, character) for character in printable)


def write_confusion_csv(evaluation: Evaluation, path: Path) -> None:
    """Write the confusion matrix as counts: a row per true class, a column per predicted one."""
    rows = tuple(
        (name, *(str(int(count)) for count in counts))
        for name, counts in zip(evaluation.label_set, evaluation.confusion, strict=True)
    )
    table = TextTable("confusion", ("true \\ predicted", *evaluation.label_set), rows)
    write_text(path, to_csv(table))
