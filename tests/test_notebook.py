"""Results in a notebook, as figures and data frames; the examples run as they stand."""

import base64
import io
import json
import re
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from drawn_videos import write_drawn_video
from PIL import Image
from stores import write_store
from test_timeline_tables import VIDEO
from toy_model import write_toy_checkpoint

import dfercli
from dfercli.artifacts.face_store import FailureRow
from dfercli.cli.app import run
from dfercli.progress import LogProgress, NotebookProgress, usual_progress
from dfercli.report.video_prediction import Moment

EXAMPLES = Path(__file__).parents[1] / "examples"
CROP = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("DFER_OFFLINE", "1")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=CROP)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_drawn_video(tmp_path_factory.mktemp("videos") / "happy" / "face.mp4")


def image_of(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_figure_has_a_lane_per_person_and_is_shown_once():
    figure = VIDEO.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["face 0", "face 1"]
    assert figure.axes[0].get_xlim() == (0, 8.0)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert image_of(figure._repr_png_()).std() > 20  # something is drawn
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []  # so nothing else draws it again


def test_a_gap_is_empty_in_the_picture():
    picture = image_of(VIDEO._repr_png_())
    axes = VIDEO.plot().axes[0]
    left, right = (
        int(picture.shape[1] * axes.get_position().x0),
        int(picture.shape[1] * axes.get_position().x1),
    )
    row = picture[int(picture.shape[0] * 0.25)]

    def colour_at(seconds):
        return row[int(left + (right - left) * seconds / 8)].tolist()

    assert colour_at(4.5) == [255, 255, 255]  # face 0 is not seen from 3 to 5
    assert colour_at(1.0) != [255, 255, 255]


def test_many_persons_and_odd_names_are_drawn():
    windows = [replace(VIDEO.predictions[0], track=track) for track in range(20)]
    many = replace(VIDEO, source="$x$^\n<b>.mp4", predictions=tuple(windows))
    assert len(many.plot().axes) == 12
    assert "8 more faces" in many.plot().get_suptitle()
    assert "<b>" not in many._repr_html_()


def test_a_notebook_shows_picture_thumbnails_gaps_and_failures():
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(jpeg, "JPEG")
    shown = replace(
        VIDEO,
        moments=(Moment(1, 2.5, "b<", 0.8, jpeg.getvalue()),),
        gaps=((4.0, 5.0),),
        failure=FailureRow("a.mp4", "annotate", "no <space>"),
    )._repr_html_()
    pictures = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', shown)
    assert [kind for kind, _ in pictures] == ["png", "jpeg"]
    assert image_of(base64.b64decode(pictures[0][1])).shape[1] > 600
    assert "face 1, 0:02.5: b&lt; 80 %" in shown
    assert "No face seen from 0:04.0 to 0:05.0 (no face found)" in shown
    assert "Failed (annotate): no &lt;space&gt;" in shown


def test_a_video_without_a_face_shows_why():
    nobody = replace(VIDEO, predictions=(), failure=FailureRow("a.mp4", "faces", "no face in it"))
    assert image_of(nobody._repr_png_()).std() > 0
    assert "Failed (faces): no face in it" in nobody._repr_html_()
    assert nobody.spans().empty
    assert len(nobody.summary()) == 1


def test_python_keeps_pictures_and_facts(checkpoint, drawn):
    found = dfercli.load(checkpoint).predict_video(drawn)
    assert found.moments
    assert found.fps == pytest.approx(12, abs=0.1)
    assert found.length_seconds == pytest.approx(3, abs=0.1)


def test_outside_a_notebook_nothing_is_drawn():
    assert type(usual_progress()) is LogProgress
    assert "IPython" not in sys.modules or not isinstance(usual_progress(), NotebookProgress)


@pytest.fixture
def example(monkeypatch, capsys):
    def play(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return play


def test_the_example_of_one_video(example, checkpoint, drawn, tmp_path):
    video = shutil.copy(drawn, tmp_path / "talk.mp4")
    assert "start_seconds" in example("one_video.py", checkpoint, video)
    assert image_of((tmp_path / "talk.timeline.png").read_bytes()).std() > 20


def test_the_example_of_many_videos(example, checkpoint, drawn):
    printed = example("many_videos.py", checkpoint, drawn.parents[1])
    assert "happy" in printed
    assert "1 videos, 1 persons, 0 failures" in printed


def test_the_example_of_own_frames(example, checkpoint, tmp_path):
    for number in range(5):
        Image.new("RGB", (60, 60), (40 * number, 90, 90)).save(tmp_path / f"{number}.png")
    assert "most probable: " in example("own_frames.py", checkpoint, tmp_path)


def test_the_example_of_an_experiment(example, checkpoint, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 255, (50, 32, 32, 3)).astype(np.uint8)
    store = write_store(tmp_path / "faces", [("one", None, None, frames)])
    (tmp_path / "events.csv").write_text("video,name,start,end\n*,film,0,1\n*,after,60,70\n")
    arguments = ("predict", store, "--checkpoint", checkpoint, "--clock", tmp_path / "events.csv")
    assert run([*map(str, arguments), "--out", str(tmp_path / "results"), "--quiet"]) == 0
    capsys.readouterr()
    printed = example("experiment.py", tmp_path / "results")
    assert "film" in printed
    assert "1 rows of persons; 1 events without anybody" in printed


def test_the_notebook_runs_and_shows_the_timeline(checkpoint, drawn, monkeypatch):
    monkeypatch.setenv("DFER_MODEL", str(checkpoint))
    monkeypatch.setenv("DFER_VIDEO", str(drawn))
    notebook = nbformat.read(EXAMPLES / "timeline.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if "data" in output]
    assert any("<progress" in data.get("text/html", "") for data in shown)  # the progress bar
    (timeline,) = (data for data in shown if "Timeline of" in data.get("text/html", ""))
    assert image_of(base64.b64decode(timeline["image/png"])).std() > 20
    figures = [data for data in shown if set(data) >= {"image/png"} and "text/html" not in data]
    assert len(figures) == 1  # once, not twice
    assert sum("<table" in data.get("text/html", "") for data in shown) == 2
    kept = json.loads((EXAMPLES / "timeline.ipynb").read_text())
    assert not any(cell.get("outputs") for cell in kept["cells"])
