"""`dfer predict` on videos: gaps, failures, resuming, cameras, and one answer on every way."""

import json
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from drawn_videos import write_drawn_video
from running import Running
from toy_model import LABELS, write_toy_checkpoint

import dfercli
from dfercli.artifacts.jsonl import read_rows
from dfercli.cli.app import run
from dfercli.errors import ArtifactError
from dfercli.prediction import annotate as annotate_stage
from dfercli.prediction import run as predict_stage
from dfercli.prediction.results_folder import failures_path

PROBABILITIES = [f"probability_{name}" for name in LABELS]
IN_PROCESS = ("--workers", "0", "--detector", "haar", "--quiet")
CROP = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=CROP)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_drawn_video(tmp_path_factory.mktemp("drawn") / "face.mp4", gap=(1.0, 2.0))


@pytest.fixture
def folder(tmp_path, drawn):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        shutil.copy(drawn, folder / name)
    (folder / "broken.mp4").write_text("no video")
    return folder


def predict(*arguments, code=0):
    assert run(["predict", *map(str, arguments), *IN_PROCESS]) == code


def test_time_without_a_face_is_a_gap_and_has_no_window(drawn, checkpoint, capsys):
    predict(drawn, "--checkpoint", checkpoint, "--json")
    found = json.loads(capsys.readouterr().out)
    ((start, end),) = found["videos"][0]["gaps_seconds"]
    assert (start, end) == pytest.approx((1.0, 2.0), abs=0.2)
    for row in found["predictions"]:
        assert row["end_seconds"] <= start + 1e-6 or row["start_seconds"] >= end - 1e-6


def test_an_annotated_video_that_fails_is_one_row_and_the_rest_is_written(
    folder, checkpoint, tmp_path, monkeypatch
):
    write = annotate_stage.write_annotated

    def refusing(path, *arguments, **named):
        if path.stem.startswith("b"):
            raise ArtifactError(f"cannot write {path}: Invalid argument")
        return write(path, *arguments, **named)

    monkeypatch.setattr(annotate_stage, "write_annotated", refusing)
    out = ("--out", tmp_path / "t.csv", "--video", tmp_path / "ann", "--html", tmp_path / "p.html")
    predict(folder, "--checkpoint", checkpoint, *out, code=3)
    assert set(pd.read_csv(tmp_path / "t.csv")["source"].map(os.path.basename)) == {
        "a.mp4",
        "b.mp4",
        "c.mp4",
    }
    assert (tmp_path / "p.html").is_file()
    assert len(list((tmp_path / "ann").glob("*.mp4"))) == 2
    failures = list(read_rows(failures_path(tmp_path / "t.csv")))
    stages = {os.path.basename(row["source"]): row["stage"] for row in failures}
    assert stages["b.mp4"] == "annotate"
    assert set(stages) == {"b.mp4", "broken.mp4"}


def test_command_python_and_face_store_give_the_same_probabilities(drawn, checkpoint, tmp_path):
    arguments = ("--checkpoint", checkpoint, "--window", 0.6, "--stride", 0.3)
    predict(drawn, *arguments, "--out", tmp_path / "cli.csv", "--faces-out", tmp_path / "faces")
    predict(tmp_path / "faces", *arguments, "--out", tmp_path / "store.csv")
    settings = dfercli.PredictConfig(workers=0, detector="haar")
    python = dfercli.load(checkpoint).predict_video(drawn, window=0.6, stride=0.3, config=settings)
    command, store = (pd.read_csv(tmp_path / name) for name in ("cli.csv", "store.csv"))
    table = python.to_dataframe()
    assert len(command) == len(table) == len(store) > 4
    assert list(command["source"]) == list(store["source"]) == list(table["source"])
    for other in (store, table):
        np.testing.assert_allclose(command[PROBABILITIES], other[PROBABILITIES], atol=1e-6)
    size = json.loads((tmp_path / "faces" / "dataset.json").read_text())["settings"]["size"]
    assert size == CROP["size"]  # cropped as in training


def test_a_video_that_fails_is_listed_and_the_rest_is_kept(folder, checkpoint, tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    predict(folder, "--checkpoint", checkpoint, "--out", out, code=3)
    names = {row["source"] for row in map(json.loads, out.read_text().splitlines())}
    assert {os.path.basename(name) for name in names} == {"a.mp4", "b.mp4", "c.mp4"}
    failure = json.loads((tmp_path / "a.failures.jsonl").read_text())
    assert failure["source"].endswith("broken.mp4")
    assert "1 of 4 sources failed" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))  # no journal is left


def test_a_stopped_run_goes_on_where_it_stopped(folder, checkpoint, tmp_path, monkeypatch, capsys):
    out, whole = tmp_path / "a.csv", tmp_path / "whole.csv"
    predict(folder, "--checkpoint", checkpoint, "--out", whole, code=3)
    done = []

    def stop_at_the_third(plan, source, stop):
        done.append(source)
        if len(done) == 3:
            raise KeyboardInterrupt
        return finish(plan, source, stop)

    finish = predict_stage.finish_source
    monkeypatch.setattr(predict_stage, "finish_source", stop_at_the_third)
    predict(folder, "--checkpoint", checkpoint, "--out", out, "--batch-size", 1, code=130)
    assert not out.exists()
    monkeypatch.setattr(predict_stage, "finish_source", finish)
    capsys.readouterr()
    predict(folder, "--checkpoint", checkpoint, "--out", out, code=3)
    assert "3 of 4 sources were done before" in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_csv(out), pd.read_csv(whole))


def test_an_annotated_video_that_was_removed_is_made_again(
    folder, checkpoint, tmp_path, monkeypatch, capsys
):
    out, videos = tmp_path / "a.csv", tmp_path / "annotated"
    arguments = (folder, "--checkpoint", checkpoint, "--out", out, "--video", videos)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(predict_stage, "write_tables", stop)
        predict(*arguments, code=130)
    made = sorted(path.name for path in videos.glob("*.mp4"))
    (videos / made[0]).unlink()
    capsys.readouterr()
    predict(*arguments, code=3)
    assert "3 of 4 sources were done before" in capsys.readouterr().err
    assert sorted(path.name for path in videos.glob("*.mp4")) == made
    assert pd.read_csv(out)["source"].nunique() == 3


def test_a_folder_of_results_that_was_stopped_goes_on(
    folder, checkpoint, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "results"
    arguments = (folder, "--checkpoint", checkpoint, "--out", out, "--export", "vtt")
    done = []

    def stop_at_the_second(plan, source, stop):
        done.append(source)
        if len(done) == 2:
            raise KeyboardInterrupt
        return finish(plan, source, stop)

    finish = predict_stage.finish_source
    monkeypatch.setattr(predict_stage, "finish_source", stop_at_the_second)
    predict(*arguments, "--batch-size", 1, code=130)
    assert not out.exists()
    monkeypatch.setattr(predict_stage, "finish_source", finish)
    capsys.readouterr()
    predict(*arguments, code=3)
    assert "sources were done before" in capsys.readouterr().err
    assert pd.read_csv(out / "spans.csv")["source"].nunique() == 3
    assert len(list((out / "exports" / "vtt").iterdir())) == 3
    summary = pd.read_csv(out / "summary.csv")
    assert summary[summary["level"] == "video"]["failure"].notna().sum() == 1
    assert (out / "failures.jsonl").is_file()
    assert (out / "run.json").is_file()
    assert not list(tmp_path.glob(".*"))  # no journal is left


def test_a_killed_run_leaves_no_table_and_goes_on(folder, checkpoint, tmp_path):
    out = tmp_path / "a.csv"
    arguments = ["predict", folder, "--checkpoint", checkpoint, "--out", out, *IN_PROCESS]
    process = Running(*arguments, folder=tmp_path / "p")
    journal = tmp_path / ".a.csv.work" / "journal.jsonl"
    process.wait_until(lambda: journal.exists() and len(journal.read_text().splitlines()) > 1)
    os.kill(process.pid, signal.SIGKILL)
    process.ended()
    assert not out.exists() or not journal.exists()
    predict(folder, "--checkpoint", checkpoint, "--out", out, code=3)
    assert pd.read_csv(out)["source"].nunique() == 3
    assert not journal.parent.exists()


def test_another_model_or_window_starts_afresh(folder, checkpoint, tmp_path, capsys):
    out = tmp_path / "a.csv"
    journal = tmp_path / ".a.csv.work" / "journal.jsonl"
    journal.parent.mkdir()
    (journal.parent / "faces").mkdir()
    (journal.parent / "faces" / "dataset.json").write_text("of another run")
    journal.write_text('{"schema": "dfer.predict_journal/3", "digest": "of another run"}\n{"tor')
    predict(folder / "a.mp4", "--checkpoint", checkpoint, "--out", out)
    assert "done before" not in capsys.readouterr().err
    assert not journal.parent.exists()


def test_an_annotated_video_of_each_source(folder, checkpoint, tmp_path):
    videos = tmp_path / "annotated"
    predict(folder, "--checkpoint", checkpoint, "--video", videos, code=3)
    assert len(list(videos.glob("*.mp4"))) == 3
    predict(folder, "--checkpoint", checkpoint, "--video", tmp_path / "one.mp4", code=2)
    predict(folder / "a.mp4", "--checkpoint", checkpoint, "--video", tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").stat().st_size > 1000


def test_an_annotated_video_that_was_stopped_is_not_kept(drawn, checkpoint, tmp_path, monkeypatch):
    real = annotate_stage.annotate

    def stop_it(*arguments, stop, **others):
        stop.set()
        real(*arguments, stop=stop, **others)

    monkeypatch.setattr(annotate_stage, "annotate", stop_it)
    predict(drawn, "--checkpoint", checkpoint, "--video", tmp_path / "one.mp4", code=4)
    assert not list(tmp_path.iterdir())


def test_a_camera_gives_rows_as_they_come(drawn, checkpoint, tmp_path, capsys):
    out = tmp_path / "live.jsonl"
    arguments = ("--camera", drawn, "--headless", "--checkpoint", checkpoint, "--window", 0.8)
    predict(*arguments, "--stride", 0.4, "--out", out)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) >= 3
    assert all(row["end_seconds"] - row["start_seconds"] <= 0.8 for row in rows)
    assert not any(1.3 < row["end_seconds"] < 1.9 for row in rows)  # nobody is in view


def test_a_camera_replaces_a_table_only_if_allowed_and_if_it_has_rows(
    drawn, checkpoint, tmp_path, capsys
):
    out = tmp_path / "important.jsonl"
    out.write_text("kept\n")
    live = ("--headless", "--checkpoint", checkpoint, "--window", 0.8, "--stride", 0.4)
    predict("--camera", drawn, *live, "--out", out, code=2)
    assert "--overwrite" in capsys.readouterr().err
    predict("--camera", 91, *live, "--out", out, "--overwrite", code=3)
    predict("--camera", tmp_path / "none.mp4", *live, "--out", out, "--overwrite", code=3)
    assert out.read_text() == "kept\n"
    capsys.readouterr()
    predict("--camera", drawn, *live, "--out", out, "--overwrite")
    assert out.read_text() == capsys.readouterr().out != ""
    predict("--camera", drawn, *live, "--end", 0.1, "--out", out, "--overwrite")
    assert out.read_text() == ""  # it ended well and saw nothing


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--camera", "91"], 3),
        (["--camera", "0", "a.mp4"], 2),
        (["--camera", "0", "--html", "a.txt"], 2),
        (["--camera", "0", "--out", "a.ods"], 2),
        (["--camera", "0", "--video", "a.mp4"], 2),
        (["--camera", "0", "--record", "a.avi"], 2),
        (["a.mp4", "--record", "b.mp4"], 2),
        (["--camera", "0", "--clock", "a.csv"], 2),
    ],
)
def test_bad_use_of_a_camera_has_its_exit_code(arguments, code, checkpoint, capsys):
    predict(*arguments, "--checkpoint", checkpoint, code=code)
    assert capsys.readouterr().err.count("error: ") == 1
