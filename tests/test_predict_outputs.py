"""The files of `dfer predict`: none of a user's is lost, and each source is accounted for."""

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
    """A folder with the video a.mp4; the work is done beside it."""
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
        assert "not valid UTF-8" in failure["reason"]
        assert "1 of 2 sources failed" in capsys.readouterr().err
