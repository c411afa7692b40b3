"""Text of strangers commands nothing where it is printed, drawn or written: no terminal, browser,
spreadsheet, LaTeX or plot."""

import csv
import io
import json
import os
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes, urljoin

import cv2
import numpy as np
import pytest

from dfercli.artifacts.atomic import read_json, write_json, write_text
from dfercli.artifacts.jsonl import append_row, read_rows
from dfercli.artifacts.predictions import WindowPrediction, write_predictions
from dfercli.cli.app import run
from dfercli.cli.console import (
    ConsoleProgress,
    print_error,
    print_json,
    print_line,
    print_table,
    print_text,
)
from dfercli.metrics.rates import evaluate
from dfercli.prediction.players import _player
from dfercli.report.drawn_text import drawn_text
from dfercli.report.overlay import Overlay, ShownFace
from dfercli.report.pages import render
from dfercli.report.plots import plot_confusion, plot_reliability
from dfercli.report.tables import TextTable, to_csv, to_latex
from dfercli.report.timeline import Timeline
from dfercli.video.probe import VideoFacts

HOSTILE = "a\x1b[2J\x07\x9b31m\u202eb\udcff\r\x7f"
FORBIDDEN = set("\x1b\x07\x9b\u202e\udcff\r\x7f")


def progress_note(text):
    ConsoleProgress().note(text)


def error_and_hint(text):
    print_error(text, text)


def table(text):
    print_table(text, (text,), ((text,),))


def heading(text):
    print_table(text, ("a",), (("b",),))


@pytest.mark.parametrize("show", [error_and_hint, print_line, print_json, table, progress_note])
def test_characters_that_move_a_cursor_are_spelt_out(show, capsys):
    show(HOSTILE)
    printed = "".join(capsys.readouterr())
    assert "a" in printed
    assert not FORBIDDEN & set(printed)
    assert "\\u202e" in printed


def test_json_means_the_same_and_plain_text_stays(capsys):
    value = {"label": "müde\x9b\u202e", "other": "日本\n\t"}
    print_json(value)
    assert json.loads(capsys.readouterr().out) == value
    print_text("müde 日本 😀\tend\nnext")
    assert capsys.readouterr().out == "müde 日本 😀\tend\nnext\n"


@pytest.mark.parametrize("show", [print_line, heading])
def test_a_line_break_in_a_name_breaks_no_line(show, capsys):
    show("a.mp4")
    usual = "".join(capsys.readouterr()).count("\n")
    show("a\nface 0: happy.mp4")
    printed = "".join(capsys.readouterr())
    assert printed.count("\n") == usual
    assert "a\\u000aface 0: happy.mp4" in printed
    assert "\nface 0" not in printed


def test_no_cell_of_a_table_is_a_formula():
    names = ("=cmd()", "+1+1", "-a", "@x", "\tx", "-1.5", "+0.5", "-", "a=b")
    (cells,) = csv.reader(io.StringIO(to_csv(TextTable("", names, ()))))
    assert cells == ["'=cmd()", "'+1+1", "'-a", "'@x", "'\tx", "-1.5", "+0.5", "-", "a=b"]


def test_no_cell_of_predictions_is_a_formula(tmp_path):
    row = WindowPrediction("=x.mp4", 0, 0.0, 1.0, "@a", 1.0, False, (1.0,), (-1.0, 0, 0, 0))
    write_predictions(tmp_path / "a.csv", [row], ["@a"])
    ((read),) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert (read["source"], read["label"], read["box_left_px"]) == ("'=x.mp4", "'@a", "-1.0")


def test_a_note_is_one_line(capsys):
    ConsoleProgress().note("left out a\nerror: all is lost\nhint: pay")
    assert capsys.readouterr().err == "left out a error: all is lost hint: pay\n"


NO_UTF8 = "b\udcff\ud800"


def test_bytes_of_names_are_spelt_out_in_every_file(tmp_path):
    write_text(tmp_path / "a.html", f"<p>{NO_UTF8}</p>")
    assert (tmp_path / "a.html").read_text("utf-8") == "<p>b\\udcff\\ud800</p>"
    write_json(tmp_path / "a.json", {NO_UTF8: [NO_UTF8, "ü", "\\u00e4"]})
    assert read_json(tmp_path / "a.json") == {
        "b\\udcff\\ud800": ["b\\udcff\\ud800", "ü", "\\u00e4"]
    }
    append_row(tmp_path / "a.jsonl", {"source": NO_UTF8})
    assert list(read_rows(tmp_path / "a.jsonl")) == [{"source": "b\\udcff\\ud800"}]


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "a.mp4", "--labels", NO_UTF8, "--labels", "b"],
        ["describe", "--classes", "7", "--variants", "2", "--language", NO_UTF8, "--dry-run"],
        ["describe", "--classes", NO_UTF8],
        ["info", NO_UTF8],
        ["results", NO_UTF8],
        ["preprocess", NO_UTF8, "--out", "faces"],
        ["train", NO_UTF8],
        ["data", "check", NO_UTF8],
    ],
)
def test_arguments_that_are_not_utf8_end_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    code = run(arguments)
    said = "".join(capsys.readouterr())
    assert code in (0, 2, 3, 4)
    assert not set(NO_UTF8[1:]) & set(said)
    assert said.count("error: ") == (code != 0)


NAMES_IN_LINKS = {
    "javascript:alert(1).mp4": "javascript%3Aalert%281%29.mp4",
    'a"onerror=x.mp4': "a%22onerror%3Dx.mp4",
    "<b>&'.mp4": "%3Cb%3E%26%27.mp4",
    "50%20#1?.mp4": "50%2520%231%3F.mp4",
    "a\u2028b.mp4": "a%E2%80%A8b.mp4",
    "b\udcff.mp4": "b%FF.mp4",
}


@pytest.mark.parametrize("name", NAMES_IN_LINKS)
def test_a_link_in_a_page_leads_to_its_file_whatever_the_name(name, tmp_path):
    file = tmp_path / "videos" / name
    file.parent.mkdir()
    file.write_bytes(b"video")
    page = tmp_path / "page.html"
    facts = VideoFacts(1.0, "h264", "yuv420p")
    link, note, size = _player(file, facts, page, 0.0)
    assert link == f"videos/{NAMES_IN_LINKS[name]}"
    assert os.fsencode(tmp_path) + b"/" + unquote_to_bytes(link) == os.fsencode(file)
    assert size == 0
    write_text(page, render("predictions.html", name, **a_page(link, note, name)))
    found = Attributes(page.read_text())
    assert json.loads(found.data["player-0"]) == link
    assert urljoin("file:///x/page.html", link).startswith("file:///x/videos/")
    plain = Attributes(render("predictions.html", "a", **a_page("videos/a.mp4", "", "a")))
    assert found.names == plain.names
    assert not any(name.startswith("on") for tag in found.of.values() for name in tag)


class Attributes(HTMLParser):
    """The attributes of the last tag of each name, and the content of data scripts by their id."""

    def __init__(self, html):
        super().__init__()
        self.of, self.names, self.data = {}, set(), {}
        self._script = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.of[tag] = dict(attributes)
        self.names.add(tag)
        self._script = self.of[tag].get("id") if tag == "script" else None

    def handle_data(self, data):
        if self._script is not None:
            self.data[self._script] = self.data.get(self._script, "") + data

    def handle_endtag(self, _tag):
        self._script = None


def a_page(link, note, name):
    """The values of a page with one video; its name, its classes and the rest are `name`."""
    return {
        "overview": {"key": "0", "labels": [name], "colours": ["#fff"], "videos": [{"name": name}]},
        "videos": [{"name": name, "note": note, "failure": name, "remarks": [name]}],
        "players": [link],
        "model_name": name, "settings": [(name, name)], "card": [(name, name)],
    }  # fmt: skip


HOSTILE_TEXTS = [
    *("</script><script>fuzz(1)</script>", "\"'><img src=x onerror=fuzz(1)>", "{{ 7 * 7 }}"),
    *("\u2028fuzz(1)\u2029", "<!--", "]]>", "&lt;script&gt;", "javascript:fuzz(1)", "\0\x1b[2J"),
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_text_in_a_page_stays_text_everywhere(text):
    html = render("predictions.html", text, **a_page("data:video/mp4;base64,", text, text))
    found = Attributes(html)
    plain = Attributes(render("predictions.html", "a", **a_page("data:,", "a", "a")))
    assert found.names == plain.names
    assert {tag: set(of) for tag, of in found.of.items()} == {
        tag: set(of) for tag, of in plain.of.items()
    }
    for data in found.data.values():
        assert data.isascii()
    assert json.loads(found.data["overview"])["labels"] == [text]
    assert json.loads(found.data["video-0"])["remarks"] == [text]
    assert ">49<" not in html


LATEX = {
    "50 % of $x_1$ & #2": r"50 \% of \$x\_1\$ \& \#2",
    r"\input{/etc/passwd}": r"\textbackslash{}input\{/etc/passwd\}",
    "[2cm]": "{[}2cm{]}",
    "*": "{*}",
    "a^^5cb~": r"a\textasciicircum{}\textasciicircum{}5cb\textasciitilde{}",
    "<a|b>": r"\textless{}a\textbar{}b\textgreater{}",
    "two\n\nlines\x1b": "two  lines ",
    "53.61 ± 0.5": r"53.61 $\pm$ 0.5",
}


@pytest.mark.parametrize("text", LATEX)
def test_text_in_latex_stays_text(text):
    table = TextTable("", ("a", "b"), ((text, "1"),))
    (row,) = (line for line in to_latex(table).splitlines() if line.endswith(r"& 1 \\"))
    assert row == rf"{LATEX[text]} & 1 \\"


DRAWN = {
    "fear": "fear",
    "Müdigkeit é": "Mudigkeit e",
    "日本": "??",
    "a\nb\tc": "a b c",
    "\x1b[2J\0": "[2J",
    NO_UTF8: "b",
    "x" * 100_000: "x" * 45 + "...",
    "": "",
}


@pytest.mark.parametrize("text", DRAWN)
def test_text_in_a_picture_is_short_and_can_be_drawn(text):
    assert drawn_text(text) == DRAWN[text]
    timeline = Timeline(0, np.array([0.0, 1.0]), np.array([[0.6, 0.4]]))
    overlay = Overlay([text, "b"], [timeline], (64, 64), length_seconds=1.0, min_confidence=0.9)
    face = ShownFace(0, np.array([5.0, 20.0, 40.0, 60.0]), np.array([0.6, 0.4]))
    drawn = overlay.draw(np.zeros((64, 64, 3), np.uint8), 0.5, [face])
    assert drawn.shape == (64, 64, 3)
    assert drawn.any()


@pytest.mark.parametrize("text", [r"$\frac$", "$$", "a_b^{", "\\", *HOSTILE_TEXTS, "x" * 5000])
def test_text_in_a_plot_is_no_mathematics(text, tmp_path):
    evaluation = evaluate(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1]), (text, "b"))
    plot_confusion(evaluation, tmp_path / "a.png", text)
    plot_reliability(evaluation, tmp_path / "b.png", text)
    for name in ("a.png", "b.png"):
        height, width = cv2.imread(str(tmp_path / name)).shape[:2]
        assert max(height, width) < 2000
