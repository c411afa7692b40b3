"""Text of strangers is printed and written so that no terminal or spreadsheet obeys it."""

import csv
import io
import json

import pytest

from dfercli.artifacts.predictions import WindowPrediction, write_predictions
from dfercli.cli.console import ConsoleProgress, print_error, print_json, print_line, print_table
from dfercli.report.tables import TextTable, to_csv

HOSTILE = "a\x1b[2J\x07\x9b31m\u202eb\udcff\r\x7f"
FORBIDDEN = set("\x1b\x07\x9b\u202e\udcff\r\x7f")


def progress_note(text):
    ConsoleProgress().note(text)


def error_and_hint(text):
    print_error(text, text)


def table(text):
    print_table(text, (text,), ((text,),))


@pytest.mark.parametrize("show", [error_and_hint, print_line, print_json, table, progress_note])
def test_what_moves_a_cursor_is_spelt_out(show, capsys):
    show(HOSTILE)
    printed = "".join(capsys.readouterr())
    assert "a" in printed
    assert not FORBIDDEN & set(printed)
    assert "\\u202e" in printed


def test_json_means_the_same_and_plain_text_stays(capsys):
    value = {"label": "müde\x9b\u202e", "other": "日本\n\t"}
    print_json(value)
    assert json.loads(capsys.readouterr().out) == value
    print_line("müde 日本 😀\tend\nnext")
    assert capsys.readouterr().out == "müde 日本 😀\tend\nnext\n"


def test_no_cell_of_a_table_is_a_formula():
    names = ("=cmd()", "+1+1", "-a", "@x", "\tx", "-1.5", "+0.5", "-", "a=b")
    (cells,) = csv.reader(io.StringIO(to_csv(TextTable("", names, ()))))
    assert cells == ["'=cmd()", "'+1+1", "'-a", "'@x", "'\tx", "-1.5", "+0.5", "-", "a=b"]


def test_no_cell_of_predictions_is_a_formula(tmp_path):
    row = WindowPrediction("=x.mp4", 0, 0.0, 1.0, "@a", 1.0, False, (1.0,), (-1.0, 0, 0, 0))
    write_predictions(tmp_path / "a.csv", [row], ["@a"])
    ((read),) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert (read["source"], read["label"], read["box_left_px"]) == ("'=x.mp4", "'@a", "-1.0")
