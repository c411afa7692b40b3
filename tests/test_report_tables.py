import cv2
import numpy as np

from dfercli.metrics.rates import evaluate
from dfercli.report.plots import plot_confusion, plot_reliability
from dfercli.report.tables import (
    TextTable,
    per_class_table,
    summary_table,
    to_csv,
    to_latex,
    write_confusion_csv,
)

LABELS = ("a", "b", "c")


def evaluation():
    return evaluate(np.eye(3)[[0, 0, 1, 0]], np.array([0, 0, 1, 1]), LABELS)


def test_per_class_table_names_the_most_frequent_mistake_and_empty_classes():
    rows = per_class_table(evaluation()).rows
    assert rows == (("a", "2", "100.00", "-"), ("b", "2", "50.00", "a 50.00"), ("c", "0", "-", "-"))


def test_summary_table_gives_chance_over_the_classes_that_have_clips():
    rows = {row[0]: row[1] for row in summary_table(evaluation()).rows}
    assert rows["UAR"] == "75.00"
    assert rows["UAR of chance"] == "50.00"


def test_confusion_csv_has_a_row_per_true_class(tmp_path):
    write_confusion_csv(evaluation(), tmp_path / "confusion.csv")
    assert (tmp_path / "confusion.csv").read_text() == (
        "true \\ predicted,a,b,c\na,2,0,0\nb,1,1,0\nc,0,0,0\n"
    )


def test_csv_quotes_and_latex_escapes_names_of_users():
    table = TextTable("t", ("run", "WAR %"), (("my_run,1", "50 ± 1"),))
    assert '"my_run,1"' in to_csv(table)
    assert r"my\_run,1 & 50 $\pm$ 1 \\" in to_latex(table)


def test_plots_are_readable_pictures_for_any_title(tmp_path):
    for draw in (plot_confusion, plot_reliability):
        path = tmp_path / f"{draw.__name__}.png"
        draw(evaluation(), path, "a $broken_ title")
        assert cv2.imread(str(path)).std() > 10
