"""`dfer predict` with every stream of a model: stored, made while it predicts, or missing."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn_videos import write_drawn_video
from face_parts import Parser, offline_networks
from faults import at_first, raising
from llm_server import Reply, caption_answer, refused, serve
from tiny_finecliper import ALL, train_tiny

from dfercli.artifacts.bug_log import users_log
from dfercli.artifacts.captions import CAPTIONS_FILE
from dfercli.artifacts.face_parts import read_landmarks, write_landmarks
from dfercli.artifacts.face_store import read_clips
from dfercli.artifacts.model_card import read_model_card
from dfercli.cli.app import run as dfer
from dfercli.config import PredictConfig
from dfercli.faces import five_points, stream_maker
from dfercli.prediction import window_captions
from dfercli.prediction.live import run as watch
from dfercli.progress import LogProgress

SEEN = "The brows rise slowly while the lips part, then the head leans to the left."
NOTHING_FETCHED = ("--detector", "haar", "--workers", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("predicting")
    (place / "checkpoint").write_text(str(train_tiny(place)))
    write_drawn_video(place / "face.mp4", seconds=2.0)
    return place


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789abcdef")
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DFER_OFFLINE", "1")


class Five:
    """Finds five points on every second crop."""

    def __init__(self, margin, weights=None):
        self.number = 0

    def find(self, crops):
        points = np.full((len(crops), 5, 2), np.nan, np.float32)
        for row, crop in enumerate(crops):
            self.number += 1
            if self.number % 2:
                side = crop.shape[0]
                points[row] = np.float32([[3, 4], [7, 4], [5, 6], [4, 8], [6, 8]]) * side / 10
        return points


@pytest.fixture
def networks(monkeypatch):
    offline_networks(monkeypatch, five_points, "FivePointFinder", Five)


def predict(folder, source, *options, code=0):
    checkpoint = (folder / "checkpoint").read_text()
    command = ["predict", str(source), "--model", checkpoint, *NOTHING_FETCHED, "--json"]
    assert dfer([*command, *map(str, options)]) == code


def rows_of(capsys):
    out, error = capsys.readouterr()
    return json.loads(out)["predictions"], error


def test_stored_streams_are_used_and_each_row_names_them(folder, capsys, networks):
    predict(folder, folder / "faces")
    whole, error = rows_of(capsys)
    assert "going on without captions: --captions asks an LLM" in error
    assert len(whole) == 12
    assert {row["streams"] for row in whole} == {"frames+landmarks+parsing"}
    predict(folder, folder / "faces", "--streams", "frames")
    alone, error = rows_of(capsys)
    assert "going on without" not in error
    assert {row["streams"] for row in alone} == {"frames"}
    predict(folder, folder / "faces", "--streams", "parsing")
    parsed, _ = rows_of(capsys)
    assert {row["streams"] for row in parsed} == {"parsing"}
    for one, other, third in zip(whole, alone, parsed, strict=True):
        for name in ("source", "track", "start_seconds", "end_seconds", "box_left_px"):
            assert one[name] == other[name] == third[name]
    assert [row["probability_sadness"] for row in whole] != [
        row["probability_sadness"] for row in alone
    ]


def test_the_threshold_is_that_of_the_streams_of_a_row(folder, capsys, networks):
    card = read_model_card(Path((folder / "checkpoint").read_text()))
    for streams in (("frames",), ("frames", "landmarks", "parsing"), ("landmarks",)):
        predict(folder, folder / "faces", "--streams", ",".join(streams))
        threshold = card.calibration_of(streams)[1]
        for row in rows_of(capsys)[0]:
            assert row["uncertain"] == (row["confidence"] < threshold)


def test_streams_of_a_video_are_made_and_may_be_missing_from_windows(folder, capsys, networks):
    predict(folder, folder / "face.mp4", "--window", "1", "--stride", "0.5")
    rows, error = rows_of(capsys)
    assert {row["streams"] for row in rows} == {"frames+landmarks+parsing"}
    assert error.count("going on without") == 1  # the captions
    Five.find = lambda finder, crops: np.full((len(crops), 5, 2), np.nan, np.float32)
    predict(folder, folder / "face.mp4", "--window", "1", "--stride", "0.5")
    blind, _ = rows_of(capsys)
    assert {row["streams"] for row in blind} == {"frames+parsing"}
    assert len(blind) == len(rows)


def test_with_haar_the_file_of_yunet_can_be_named(folder, capsys, networks, tmp_path):
    own = tmp_path / "yunet.onnx"
    own.write_bytes(b"of a stand-in")
    predict(folder, folder / "face.mp4", "--window", "1", "--detector-weights", own)
    rows, _ = rows_of(capsys)
    assert rows
    given = ("--streams", "frames,parsing", "--detector-weights", own)
    predict(folder, folder / "face.mp4", *given, code=2)
    assert "haar takes no --detector-weights" in capsys.readouterr().err


def test_an_unavailable_network_is_one_line_and_the_rest_goes_on(folder, capsys, monkeypatch):
    monkeypatch.setattr(five_points, "FivePointFinder", Five)
    monkeypatch.setattr(stream_maker, "fetch", lambda file: file.path)
    predict(folder, folder / "face.mp4", "--window", "1")
    rows, error = rows_of(capsys)
    (line,) = [line for line in error.splitlines() if "without parsing" in line]
    assert "cannot load one for the stream parsing" in line
    assert all("parsing" not in row["streams"] for row in rows)
    assert rows
    predict(folder, folder / "face.mp4", "--streams", "parsing", code=2)
    assert "none of parsing is available here" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [(1,), (1, 2, 3)])
def test_a_bug_of_a_network_costs_windows_their_stream_and_is_logged_once(
    folder, tmp_path, capsys, networks, monkeypatch, bad
):
    calls = []

    def fails_later(parser, crops):
        calls.append(len(crops))
        if len(calls) - 1 in bad:
            raise RuntimeError("no memory left")
        return [np.ones(crop.shape[:2], np.uint8) for crop in crops]

    monkeypatch.setattr(Parser, "parse", fails_later)
    monkeypatch.setattr("dfercli.prediction.streams.WINDOWS_AT_ONCE", 1)
    out = tmp_path / "t.jsonl"
    steps = ("--window", "0.4", "--stride", "0.4", "--out", out)
    predict(folder, folder / "face.mp4", *steps, code=3)
    rows, error = rows_of(capsys)
    had = ["parsing" in row["streams"] for row in rows]
    assert len(had) > 4
    given_up = len(bad) == 3
    assert had == [
        number not in bad and not (given_up and number > 0) for number in range(len(had))
    ]
    assert error.count("going on without parsing: RuntimeError: no memory left") == given_up
    (failure,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert failure["reason"].startswith("bug: RuntimeError: no memory left")
    assert (tmp_path / "t.bugs.log").read_text().count("Traceback (most recent call last)") == 1


def test_a_bug_in_one_caption_costs_its_window_the_caption(
    folder, tmp_path, capsys, networks, monkeypatch
):
    write = window_captions.caption_images
    fault = raising(write, KeyError("odd"), partial(at_first, done=[]))
    monkeypatch.setattr(window_captions, "caption_images", fault)
    with serve(lambda request, number: Reply(caption_answer(SEEN))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        out = tmp_path / "t.jsonl"
        predict(folder, folder / "face.mp4", "--window", "1", "--captions", "--out", out, code=3)
    rows, _ = rows_of(capsys)
    assert sorted("captions" in row["streams"] for row in rows)[:2] == [False, True]
    (failure,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert failure["stage"] == "bug"
    assert "Traceback" in (tmp_path / "t.bugs.log").read_text()


def test_streams_of_another_network_are_noted(folder, tmp_path, capsys, networks):

    other = shutil.copytree(folder / "faces", tmp_path / "other")
    text = (other / "parts.json").read_text().replace("segformer one", "segformer two")
    (other / "parts.json").write_text(text)
    predict(folder, other)
    rows, error = rows_of(capsys)
    assert f"parsing of {other} were made by segformer two, in training by segformer one" in error
    assert {row["streams"] for row in rows} == {"frames+landmarks+parsing"}


def test_captions_are_asked_for_each_window_until_the_server_dies(
    folder, tmp_path, capsys, networks, monkeypatch
):
    def dying(request, number):
        if number < 4:
            return Reply(caption_answer(SEEN))
        return refused(401, "the key was withdrawn")

    monkeypatch.setattr("dfercli.prediction.streams.WINDOWS_AT_ONCE", 1)
    with serve(dying) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        predict(folder, folder / "face.mp4", "--window", "0.5", "--stride", "0.25", "--captions")
    rows, error = rows_of(capsys)
    cost, *_ = [line for line in error.splitlines() if "captions by gpt" in line]
    assert "about 14 requests" in cost
    assert "captions are by gpt-4.1-mini, in training by test" in error
    assert error.count("no more captions, the other streams go on") == 1
    had = ["captions" in row["streams"] for row in rows]
    assert had[0]
    assert not had[-1]
    assert len(rows) >= 6


def test_captions_are_refused_where_the_model_knows_none(folder, capsys, networks):
    predict(folder, folder / "faces", "--streams", "frames,smell", code=2)
    assert "smell" in capsys.readouterr().err
    predict(folder, folder / "faces", "--streams", "regions", code=2)
    assert "the model was trained on frames, landmarks, parsing" in capsys.readouterr().err


def test_landmarks_that_do_not_fit_a_store_fail_their_source_alone(
    folder, tmp_path, capsys, networks
):

    other = shutil.copytree(folder / "faces", tmp_path / "other")
    clip = read_clips(other)[0]
    write_landmarks(other, clip.clip_id, read_landmarks(other, clip.clip_id)[:-1])
    predict(folder, other, code=3)
    out = json.loads(capsys.readouterr().out)
    assert len(out["failures"]) == 1
    assert len(out["predictions"]) == 11
    assert (other / CAPTIONS_FILE).is_file()


def test_a_camera_is_watched_with_every_stream(folder, networks, monkeypatch, tmp_path, caplog):
    rows = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    parse = Parser.parse
    fault = raising(parse, KeyError("odd"), partial(at_first, done=[]))
    monkeypatch.setattr(Parser, "parse", fault)
    config = PredictConfig(
        model=(folder / "checkpoint").read_text(),
        camera=str(folder / "face.mp4"),
        show=False,
        detector="haar",
        workers=0,
        window=1.0,
        stride=0.3,
    )
    watch(config, LogProgress(), rows.append)
    assert rows
    assert "parsing" not in rows[0]["streams"]
    assert caplog.text.count("bug: KeyError: 'odd'") == 1
    assert "Traceback" in users_log().read_text()
    assert {row["streams"] for row in rows[1:]} <= {
        "frames+landmarks+parsing",
        "frames+parsing",  # no points in a window of one frame
    }
    assert set(ALL) > set(rows[-1]["streams"].split("+"))
