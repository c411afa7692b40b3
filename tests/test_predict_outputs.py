"""The files of `dfer predict`: the user loses none, and each source is accounted for."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from drawn_videos import write_drawn_video
from toy_model import write_toy_checkpoint

from dfercli.artifacts.jsonl import read_rows
from dfercli.cli.app import run

IN_PROCESS = ("--workers", "0", "--detector", "haar", "--quiet")
CROP = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
NOT_UTF8 = b"caf\xe9.mp4"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=CROP)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_drawn_video(tmp_path_factory.mktemp("drawn") / "face.mp4")


@pytest.fixture
def videos(tmp_path, drawn, monkeypatch):
    """A folder with the video a.mp4, below the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    shutil.copy(drawn, tmp_path / "videos" / "a.mp4")
    return Path("videos")


def predict(*arguments, code=0):
    assert run(["predict", *map(str, arguments), *IN_PROCESS]) == code


def test_a_name_that_is_not_utf8_is_a_failure_and_never_lost(videos, checkpoint, tmp_path, capsys):
    shutil.copy(videos / "a.mp4", os.fsdecode(os.fsencode(videos) + b"/" + NOT_UTF8))
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for more in ((), ("--faces-out", "faces"), ("--faces-out", "link/faces")):
        predict(videos, "--checkpoint", checkpoint, "--out", "t.csv", *more, code=3)
        assert set(pd.read_csv("t.csv")["source"]) == {"videos/a.mp4"}
        (failure,) = read_rows(Path("t.failures.jsonl"))
        assert failure["source"] == "videos/caf\\udce9.mp4"
        assert failure["stage"] == "decode"
        assert failure["reason"] == "its name is not valid UTF-8: rename it"
        assert "1 of 2 sources failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("--out ev.csv --clock ev.events.csv", "ev.events.csv"),
        ("--out rc --clock rc/events.csv", "rc/events.csv"),
        ("--out rc --clock rc/exports/by_hand.csv", "rc/exports/by_hand.csv"),
        ("--out rc --people rc/exports", "rc/exports"),
        ("--out ev --labels ev/run.json", "ev/run.json"),
        ("--html p.html --clip-weights p.bugs.log", "p.bugs.log"),
        ("--faces-out f --detector-weights f/clips.jsonl", "f/clips.jsonl"),
        ("--spans m.csv --model m.csv", "m.csv"),
    ],
)
def test_no_input_is_replaced_by_a_companion_of_an_output(arguments, read, videos, capsys):
    place = Path(read)
    place.parent.mkdir(parents=True, exist_ok=True)
    if "--people" in arguments:
        place.mkdir()
    else:
        place.write_text("of the user")
    predict(videos, *arguments.split(), code=2)
    assert f"would take the place of {read}, which is read" in capsys.readouterr().err
    assert place.is_dir() or place.read_text() == "of the user"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("--out r2 --spans r2/windows.csv", "--out and --spans"),
        ("--out r2 --summary r2/../r2/summary.csv", "--out and --summary"),
        ("--out ra.csv --spans ra.failures.jsonl", "--out and --spans"),
        ("--out ra.csv --clock c.csv --summary ra.events.csv", "--out and --summary"),
        ("--out o.csv --spans o.csv", "--out and --spans"),
        ("--spans o.csv --summary ./o.csv", "--spans and --summary"),
        ("--out same --video same", "--out and --video"),
        ("--out same --faces-out same", "--out and --faces-out"),
        ("--out same --video same/exports/vtt", "--out and --video"),
        ("--camera 0 --out o.jsonl --spans o.jsonl", "--out and --spans"),
    ],
)
def test_two_outputs_of_one_path_are_refused_before_a_model_is_chosen(
    arguments, options, videos, tmp_path, capsys
):
    sources = () if "--camera" in arguments else (videos,)
    predict(*sources, *arguments.split(), "--model", "none-of-this-name", code=2)
    assert f"error: {options} name the same file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_a_page_of_the_folder_may_be_named(videos, checkpoint):
    predict(videos, "--checkpoint", checkpoint, "--out", "r", "--html", "r/page.html")
    assert Path("r/page.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--video rv4.avi", "--video takes a name in .mp4, or a folder, got rv4.avi"),
        ("--video plain", "--video plain is a file and would be a folder"),
        ("--video folder.mp4", "--video folder.mp4 is a folder and would be a file"),
        ("--headless", "--headless goes with --camera"),
        ("--show", "--show goes with --camera"),
    ],
)
def test_unusable_outputs_and_camera_options_are_refused(arguments, told, videos, capsys):
    Path("plain").touch()
    Path("folder.mp4").mkdir()
    predict(videos, *arguments.split(), "--model", "none-of-this-name", code=2)
    assert f"error: {told}" in capsys.readouterr().err
    assert not Path("rv4.avi").exists()


def test_a_folder_of_results_keeps_nothing_of_an_earlier_run(videos, checkpoint, capsys):
    Path("c.csv").write_text("video,name,start,end\na.mp4,x,0,1\n")
    out = Path("r")
    model = ("--checkpoint", checkpoint, "--out", out)
    predict(videos, *model, "--clock", "c.csv", "--export", "vtt,srt")
    (out / "bugs.log").write_text("of an earlier run")
    capsys.readouterr()
    predict(videos, *model, "--export", "vtt", "--html", "p.html")
    assert "r: the results of 1 video of an earlier run are replaced" in capsys.readouterr().err
    names = {"run.json", "windows.csv", "spans.csv", "summary.csv", "exports"}
    assert {path.name for path in out.iterdir()} == names
    assert [path.name for path in (out / "exports").iterdir()] == ["vtt"]


def test_results_of_other_videos_are_replaced_only_with_overwrite(videos, checkpoint, capsys):
    out, other = Path("r"), videos / "b.mp4"
    model = ("--checkpoint", checkpoint, "--out", out)
    (videos / "c.mp4").write_text("no video")
    predict(videos, *model, code=3)
    (videos / "c.mp4").unlink()  # there is no result of it to lose
    predict(videos / "a.mp4", *model)
    shutil.copy(videos / "a.mp4", other)
    before = (out / "windows.csv").read_bytes()
    capsys.readouterr()
    predict(other, *model, code=2)
    told = capsys.readouterr().err
    assert "holds results of 1 of 1 videos that are not among the sources" in told
    assert "videos/a.mp4" in told
    assert "--overwrite" in told
    assert (out / "windows.csv").read_bytes() == before
    predict(videos, *model)  # both
    edited = out / "exports" / "eaf" / "a.eaf"
    edited.parent.mkdir(parents=True)
    edited.write_text("by hand")
    capsys.readouterr()
    predict(videos, *model, code=2)
    assert "a.eaf was written after the results" in capsys.readouterr().err
    assert edited.is_file()
    predict(other, *model, "--overwrite")
    assert set(pd.read_csv(out / "summary.csv")["source"]) == {"videos/b.mp4"}
    assert not edited.exists()
    (out / "summary.csv").write_text("broken")
    predict(other, *model, code=2)


def test_one_line_names_the_tables_that_are_replaced(videos, checkpoint, capsys):
    tables = ("--checkpoint", checkpoint, "--out", "t.csv", "--spans", "s.csv")
    predict(videos, *tables)
    assert "replaced" not in capsys.readouterr().err
    predict(videos, *tables)
    assert "t.csv, s.csv of an earlier run are replaced" in capsys.readouterr().err
