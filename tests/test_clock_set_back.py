"""A clock that goes backwards or stands still changes no result and loses nothing."""

import itertools
import time
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_videos import write_drawn_video
from stores import bright_and_dark_store
from toy_model import write_toy_checkpoint
from trainings import small_config

from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.progress import LogProgress
from dfercli.training import run as train
from dfercli.training.continuing import name_by_the_time
from dfercli.training.seeds import plan


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("clock") / "faces", frames=4)


def set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock finds it an hour earlier; names are made of the same second."""
    hours = itertools.count(1)
    now, named = time.time(), time.localtime()
    strftime = time.strftime
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(hours))
    monkeypatch.setattr(time, "strftime", lambda form, when=named: strftime(form, when))


def test_a_training_ends_and_each_run_has_a_name_of_its_own(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_back(monkeypatch)
    config = small_config(store, tmp_path, name=None)
    config = replace(config, optim=replace(config.optim, epochs=1))
    run = train.run(config, LogProgress()).run
    assert FoldFolder(run / "fold-1").is_finished
    # Another run of the same second has a name of its own, and so have runs of several seeds.
    assert name_by_the_time(config) == f"{run.name}-2"
    assert name_by_the_time(config, ["-seed-1", "-seed-2"]) == run.name
    (tmp_path / f"{run.name}-seed-2").mkdir()
    assert [one.name for one in plan(replace(config, seeds=(1, 2)))] == [
        f"{run.name}-2-seed-1",
        f"{run.name}-2-seed-2",
    ]


def test_predict_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_toy_checkpoint(tmp_path / "toy")
    video = tmp_path / "face.mp4"
    write_drawn_video(video, seconds=1.0)
    found = []
    for name in ("now", "back"):
        out = tmp_path / name
        command = ["predict", str(video), "--checkpoint", str(checkpoint), "--out", str(out)]
        options = ["--detector", "haar", "--workers", "0", "--window", "0.5", "--quiet"]
        assert dfer([*command, *options]) == 0
        assert dfer([*command, *options]) == 0  # its own earlier results are replaced
        found.append((out / "windows.csv").read_text())
        set_back(monkeypatch)
    assert found[0] == found[1]
