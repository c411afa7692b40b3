"""`dfer preprocess --streams`: all streams of the crops in one pass, independent, resumable."""

import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from drawn_videos import write_drawn_video
from face_parts import Parser, offline_networks
from llm_server import Reply, caption_answer, refused, serve

from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.captions import read_captions
from dfercli.artifacts.face_parts import read_landmarks, read_parsing
from dfercli.artifacts.face_store import frame_paths, read_clips, read_failures
from dfercli.cli.app import run as dfer
from dfercli.faces import five_points, landmarks, stream_maker
from dfercli.faces.detect import Faces

NUM_FRAMES = 12
HAAR = ("--detector", "haar", "--min-face", "40", "--workers", "0")
SEEN = "The brows rise slowly while the lips part, then the head leans to the left."


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789abcdef")
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a", "b", "c"):
        write_drawn_video(folder / f"{name}.mp4", seconds=1.0)
    return folder


class Points:
    """A landmark network with nothing to load; it records the number of crops of each call."""

    calls: list[int] = []  # noqa: RUF012 - emptied by the fixture
    fails_at: tuple[int, ...] = ()

    def __init__(self, device, margin):
        pass

    def find(self, crops):
        self.calls.append(len(crops))
        if len(self.calls) in self.fails_at:
            raise KeyboardInterrupt
        return np.stack([np.full((68, 2), float(crop.mean()), np.float32) for crop in crops])


@pytest.fixture
def networks(monkeypatch):
    offline_networks(monkeypatch, landmarks, "LandmarkFinder", Points)
    Points.calls, Points.fails_at = [], ()
    return Points


def preprocess(*arguments):
    return dfer(["preprocess", *map(str, arguments)])


def polite(request, number):
    return Reply(caption_answer(SEEN))


def test_all_streams_in_one_pass(videos, tmp_path, networks, monkeypatch, capsys):
    with serve(polite) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        streams = ("--streams", "landmarks,parsing,regions,captions")
        told = ("--model-for-captions", "eyes")
        assert preprocess(videos, "--out", "faces", *HAAR, *streams, *told) == 0
        asked = len(server.received)
    assert "captions: at most 6 requests, about" in capsys.readouterr().err
    store = tmp_path / "faces"
    clips = read_clips(store)
    assert len(clips) == 3
    for clip in clips:
        assert read_landmarks(store, clip.clip_id).shape == (clip.num_frames, 68, 2)
        for stream in ("parsing", "regions"):
            maps = sorted((store / stream / clip.clip_id).iterdir())
            assert [path.stem for path in maps] == [p.stem for p in frame_paths(store, clip)]
            assert read_parsing(maps[0]).shape == (224, 224)
    assert {row.model for row in read_captions(store).values()} == {"eyes"}
    made = read_json(store / "parts.json")["made"]
    assert made["parsing"] == "segformer jonathandinu/face-parsing"
    assert made["regions"] == f"polygons of {made['landmarks']}"
    calls = len(networks.calls)
    with serve(polite) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert preprocess(videos, "--out", "faces", *HAAR, *streams, *told) == 0
        assert asked > 0
        assert not server.received
    assert len(networks.calls) == calls  # nothing is made twice


def test_streams_that_come_later_equal_those_of_one_pass(videos, tmp_path, networks):
    assert preprocess(videos, "--out", "once", *HAAR, "--streams", "landmarks") == 0
    assert preprocess(videos, "--out", "twice", *HAAR) == 0
    networks.calls.clear()
    assert preprocess(videos, "--out", "twice", *HAAR, "--streams", "landmarks") == 0
    assert networks.calls == [3 * NUM_FRAMES]  # the crops of three clips went through together
    for one, other in zip(*map(read_clips, (tmp_path / "once", tmp_path / "twice")), strict=True):
        np.testing.assert_array_equal(
            read_landmarks(tmp_path / "once", one.clip_id),
            read_landmarks(tmp_path / "twice", other.clip_id),
        )


def test_an_interrupted_pass_goes_on_where_it_was(videos, tmp_path, networks):
    networks.fails_at = (2,)
    command = (videos, "--out", "faces", *HAAR, "--streams", "landmarks")
    assert preprocess(*command) == 130
    first = {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "faces/landmarks").iterdir()
    }
    assert len(first) == 1
    networks.fails_at = ()
    assert preprocess(*command) == 0
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "faces/landmarks").iterdir()}
    assert len(now) == 3
    assert first.items() <= now.items()


def test_one_stream_that_fails_leaves_the_others_alone(videos, tmp_path, networks, monkeypatch):
    def odd(parser, crops):
        raise ValueError("no such picture")

    monkeypatch.setattr(Parser, "parse", odd)
    command = (videos, "--out", "faces", *HAAR, "--streams", "landmarks,parsing")
    assert preprocess(*command) == 3
    store = tmp_path / "faces"
    assert len(read_clips(store)) == 3
    assert len(list((store / "landmarks").iterdir())) == 3
    assert not list((store / "parsing").glob("*"))
    failures = read_failures(store)
    assert len(failures) == 3
    assert all("ValueError: no such picture" in failure.reason for failure in failures)
    monkeypatch.undo()


def test_a_server_that_dies_costs_only_captions(videos, tmp_path, networks, monkeypatch):
    with serve(polite) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        streams = ("--streams", "landmarks,captions")
        assert preprocess(videos / "a.mp4", "--out", "faces", *HAAR, *streams) == 0
        monkeypatch.setenv("DFER_CACHE", str(tmp_path / "empty"))  # the drawn faces are alike
        server.behaviour = lambda request, number: refused(401, "who are you")
        assert preprocess(videos, "--out", "faces", *HAAR, *streams) == 3
    store = tmp_path / "faces"
    assert len(list((store / "landmarks").iterdir())) == 3
    assert len(read_captions(store)) == 1
    assert {failure.stage for failure in read_failures(store)} == {"captions"}
    assert "who are you" in read_failures(store)[0].reason


def test_a_missing_llm_is_reported_before_any_work(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert preprocess(videos, "--out", "faces", *HAAR, "--streams", "captions") == 2
    assert "needs an LLM" in capsys.readouterr().err
    assert not (tmp_path / "faces").exists()


class FivePoints:
    """A detector that finds a face on every other crop."""

    def __init__(self, weights):
        pass

    def detect(self, images):
        found = []
        for number, image in enumerate(images):
            height, width = image.shape[:2]
            box = np.float32([[0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height]])
            points = np.float32([[[80, 80], [140, 80], [110, 110], [90, 140], [130, 140]]])
            faces = Faces(box, np.ones(1, np.float32), points)
            found.append(faces.select(np.array([number % 2 == 0])))
        return found


def test_five_points_stand_in_with_a_note(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(five_points, "YuNetDetector", FivePoints)
    monkeypatch.setattr(five_points, "fetch", lambda file: file.path)
    monkeypatch.setattr(stream_maker, "fetch", lambda file: file.path)
    assert preprocess(videos / "a.mp4", "--out", "faces", *HAAR, "--landmarks", "yunet5") == 0
    error = capsys.readouterr().err
    assert "five points of YuNet, a weak stand-in for 68" in error
    assert f"no landmarks on {NUM_FRAMES // 2} of {NUM_FRAMES} crops" in error
    store = tmp_path / "faces"
    (clip,) = read_clips(store)
    points = read_landmarks(store, clip.clip_id)
    assert points.shape == (NUM_FRAMES, 5, 2)
    assert np.isfinite(points).all(axis=(1, 2)).tolist() == [True, False] * (NUM_FRAMES // 2)
    assert read_json(store / "parts.json")["made"] == {"landmarks": "yunet5"}
    # The 68 points are another kind and are not mixed with them.
    assert preprocess(videos / "a.mp4", "--out", "faces", *HAAR, "--streams", "landmarks") == 2
    assert "landmarks 'yunet5' -> '2DFAN4" in capsys.readouterr().err


def test_regions_of_five_points_are_refused(videos, tmp_path, capsys):
    asked = ("--landmarks", "yunet5", "--streams", "regions")
    assert preprocess(videos, "--out", "faces", *HAAR, *asked) == 2
    said = capsys.readouterr().err
    assert "regions are outlined by 68 landmarks" in said
    assert "hint: leave out one of the two" in said
    assert not (tmp_path / "faces").exists()


SLOW_POINTS = """
import sys, time
import numpy as np
from dfercli.cli.app import run
from dfercli.faces import landmarks, stream_maker

class Points:
    def __init__(self, device, margin):
        pass
    def find(self, crops):
        time.sleep(float(sys.argv[1]))
        return np.ones((len(crops), 68, 2), np.float32)

landmarks.LandmarkFinder = Points
stream_maker.fetch = lambda file: file.path
raise SystemExit(run(["preprocess", *sys.argv[2:]]))
"""


def test_a_kill_leaves_whole_streams_and_the_next_run_completes_them(videos, tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW_POINTS)
    command = [str(videos), "--out", "faces", *HAAR, "--streams", "landmarks", "--quiet"]
    process = subprocess.Popen([sys.executable, script, "2", *command])
    made = tmp_path / "faces" / "landmarks"
    until = time.monotonic() + 120
    while not (made.is_dir() and any(made.glob("*.npz"))):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(list(made.glob("*.npz"))) < 3
    assert subprocess.run([sys.executable, script, "0", *command], check=False).returncode == 0
    clips = read_clips(tmp_path / "faces")
    assert [read_landmarks(tmp_path / "faces", clip.clip_id).shape[0] for clip in clips] == [
        NUM_FRAMES
    ] * 3
    assert not [path for path in made.iterdir() if path.suffix != ".npz"]


def test_an_unreadable_crop_costs_only_its_clip(videos, tmp_path, networks):
    assert preprocess(videos, "--out", "faces", *HAAR) == 0
    store = tmp_path / "faces"
    broken, *whole = read_clips(store)
    frame_paths(store, broken)[3].write_bytes(b"")
    assert preprocess(videos, "--out", "faces", *HAAR, "--streams", "landmarks,parsing") == 3
    failures = read_failures(store)
    assert {failure.stage for failure in failures} == {"landmarks", "parsing"}
    assert {failure.source for failure in failures} == {f"frames/{broken.clip_id}"}
    for stream in ("landmarks", "parsing"):
        names = {path.name.removesuffix(".npz") for path in (store / stream).iterdir()}
        assert names == {clip.clip_id for clip in whole}
    assert cv2.imread(str(frame_paths(store, whole[0])[0])) is not None
