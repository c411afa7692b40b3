"""Predict cuts only the crops that windows look at and keeps them in bounded memory."""

import numpy as np
import pandas as pd
import pytest
from drawn_videos import write_drawn_video
from toy_model import LABELS, write_toy_checkpoint

import dfercli
from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.face_store import ClipRow, TrackData
from dfercli.cli.app import run
from dfercli.config import PreprocessConfig
from dfercli.faces.smooth import TrackedFace
from dfercli.prediction.clip_faces import FacesInMemory
from dfercli.prediction.windows import windows_of
from dfercli.preprocessing import crop_sinks, find_faces
from dfercli.preprocessing.crop_sinks import HeldSink
from dfercli.preprocessing.held_crops import CropMemory, HeldCrops
from dfercli.preprocessing.time_grid import TimeGrid
from dfercli.preprocessing.worker_pool import Lost
from dfercli.progress import SilentProgress
from dfercli.video.frames import Frame
from dfercli.video.sources import Source

PROBABILITIES = [f"probability_{name}" for name in LABELS]
IN_PROCESS = ("--workers", "0", "--detector", "haar", "--quiet")
CROP = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
IMAGE = np.zeros((40, 40, 3), np.uint8)
BOX = np.float32([5, 5, 35, 35])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=CROP)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return write_drawn_video(folder / "face.mp4", seconds=4.0, gap=(2.2, 2.9))


def predict(*arguments):
    assert run(["predict", *map(str, arguments), *IN_PROCESS]) == 0


@pytest.mark.parametrize(("window", "stride"), [(2.0, 0.5), (1.0, 0.3), (0.6, 0.6), (5.0, 1.0)])
def test_table_api_and_both_stores_agree(drawn, checkpoint, tmp_path, window, stride):
    options = ("--checkpoint", checkpoint, "--window", window, "--stride", stride)
    predict(drawn, *options, "--out", tmp_path / "memory.csv")
    predict(drawn, *options, "--out", tmp_path / "kept.csv", "--faces-out", tmp_path / "faces")
    predict(tmp_path / "faces", *options, "--out", tmp_path / "store.csv")
    settings = dfercli.PredictConfig(workers=0, detector="haar")
    python = dfercli.load(checkpoint).predict_video(
        drawn, window=window, stride=stride, config=settings
    )
    memory = pd.read_csv(tmp_path / "memory.csv")
    assert len(memory) > 0
    tables = [pd.read_csv(tmp_path / f"{name}.csv") for name in ("kept", "store")]
    for other in (*tables, python.to_dataframe()):
        np.testing.assert_allclose(memory[PROBABILITIES], other[PROBABILITIES], atol=1e-4)
        assert memory["start_seconds"].tolist() == other["start_seconds"].tolist()


def test_only_frames_that_windows_look_at_are_cropped(drawn, checkpoint, tmp_path, monkeypatch):
    cut = []
    crop = crop_sinks.cut_crop
    monkeypatch.setattr(crop_sinks, "cut_crop", lambda *args: cut.append(1) or crop(*args))
    options = ("--checkpoint", checkpoint, "--window", 1.0, "--stride", 0.5)
    predict(drawn, *options, "--out", tmp_path / "a.csv", "--faces-out", tmp_path / "faces")
    all_crops = len(cut)
    cut.clear()
    predict(drawn, *options, "--out", tmp_path / "b.csv")
    assert len(list((tmp_path / "faces").rglob("*.jpg"))) == all_crops
    assert 0 < len(cut) < 0.85 * all_crops
    assert not list(tmp_path.glob("**/*.csv.work"))
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def tracks_of(rng, fps, num_frames):
    """The times of frames, and for each of three tracks the frames that show it."""
    steps = rng.choice([1.0, 1.0, 1.0, 0.5, 1.7], num_frames) / fps
    pts_seconds = np.round(np.cumsum(steps), 4)
    seen = np.ones((3, num_frames), bool)
    for track in range(3):
        for _ in range(rng.integers(0, 6)):
            begin = int(rng.integers(0, num_frames))
            seen[track, begin : begin + int(rng.integers(1, max(2, 2 * fps)))] = False
    return pts_seconds, seen


@pytest.mark.parametrize("fps", [3, 8, 12, 25, 60])
@pytest.mark.parametrize(("window", "num_frames"), [(2.0, 16), (1.0, 8), (0.7, 16), (3.0, 4)])
def test_every_frame_that_windows_look_at_was_cropped(fps, window, num_frames):
    rng = np.random.default_rng([fps, num_frames])
    for _ in range(10 if fps < 20 else 3):
        pts_seconds, seen = tracks_of(rng, fps, int(8 * fps))
        held = HeldCrops(CropMemory())
        grid = TimeGrid(window, num_frames)
        sink = HeldSink(PreprocessConfig(size=8), grid, held.add)
        for index, seconds in enumerate(pts_seconds.tolist()):
            faces = [
                TrackedFace(track, BOX, BOX, 1.0, True, None, None)
                for track in np.flatnonzero(seen[:, index]).tolist()
            ]
            sink.take(Frame(index, seconds, IMAGE), faces)
        sink.end()
        for track in range(3):
            rows = np.flatnonzero(seen[track])
            if len(rows) == 0:
                continue
            boxes = np.tile(BOX, (len(rows), 1))
            data = TrackData(rows, pts_seconds[rows], boxes, np.ones(len(rows), np.float32))
            looked_at = {
                int(row)
                for stride in (window, window / 3)
                for found in windows_of(data, window=window, stride=stride, num_frames=num_frames)
                for row in found.frames
            }
            cropped = set(np.searchsorted(rows, held.frames_of(track)).tolist())
            assert looked_at <= cropped
            assert looked_at <= set(np.flatnonzero(grid.looked_at(data.pts_seconds)).tolist())


def test_windows_of_any_start_share_the_grid():
    pts_seconds = np.arange(0, 20, 0.04)
    boxes = np.tile(BOX, (len(pts_seconds), 1))
    track = TrackData(
        np.arange(len(pts_seconds)), pts_seconds, boxes, np.ones(len(pts_seconds), np.float32)
    )
    windows = list(windows_of(track, window=2.0, stride=0.37, num_frames=16))
    frames = {int(frame) for window in windows for frame in window.frames}
    assert len(frames) <= 20 * 16 / 2 + 1
    for window in windows:
        assert len(set(window.frames.tolist())) == 16
        times = pts_seconds[window.frames]
        assert window.start_seconds - 0.05 <= times[0]
        assert times[-1] <= window.end_seconds + 0.02


def test_crops_beyond_the_bound_lie_in_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory = CropMemory(1000)
    one, other = HeldCrops(memory), HeldCrops(memory)
    crops = [(0, index, bytes([index]) * 90) for index in range(30)]
    one.add(crops)
    one.add(crops[:3])  # crops that are there already take no more room
    other.add([(1, 7, b"x" * 200)])
    assert one.frames_of(0) == list(range(30))
    assert [one.jpeg(0, index) for index in range(30)] == [jpeg for _, _, jpeg in crops]
    assert other.jpeg(1, 7) == b"x" * 200
    assert not memory.take(90)  # 11 crops of 90 bytes fill the bound
    assert not list(tmp_path.iterdir())
    one.release()
    other.release()
    assert memory.take(1000)
    assert not memory.take(1)
    assert one.frames_of(0) == []


def test_stretches_of_a_source_that_was_given_up_take_no_memory(drawn, tmp_path, monkeypatch):
    memory, found = CropMemory(1000), []

    def one_stretch_is_lost(jobs, stage, *_):
        stage.on_part(jobs[0], [(0, 0, bytes(400))])
        lost = Lost(jobs[0], "killed")
        yield lost, stage.record_of(lost)
        stage.on_part(jobs[0], [(0, 1, bytes(400))])

    monkeypatch.setattr(find_faces, "CropMemory", lambda: memory)
    monkeypatch.setattr(find_faces, "do_sources", one_stretch_is_lost)
    config = PreprocessConfig(sources=(str(drawn),), out=tmp_path, detector="haar", workers=0)
    sources, bugs = [Source(drawn, "", drawn.name, "video")], BugLog(tmp_path / "bugs.log")
    grid = TimeGrid(2.0, 16)
    find_faces.find_faces(config, sources, grid, SilentProgress(), found.append, bugs)
    assert [faces.record.failure.reason for faces in found] == ["killed"]
    assert memory.take(1000)


def test_rows_with_crops_are_known():
    crops = HeldCrops(CropMemory())
    crops.add([(4, 10, b""), (4, 30, b"")])
    track = TrackData(
        np.array([10, 20, 30]), np.array([0.0, 1.0, 2.0]), np.zeros((3, 4), np.float32), np.ones(3)
    )
    clip = ClipRow("a-0", "a.mp4", 0, None, None, 3, 1.0, 0.0, 2.0, "haar")
    faces = FacesInMemory({"a-0": (4, track)}, crops)
    assert faces.crops(clip).rows.tolist() == [0, 2]
    assert faces.track(clip) is track
