"""`dfer predict --camera`: lanes, pace, recording, and the same files as on videos."""

import csv
import json

import av
import numpy as np
import pytest
from drawn_videos import write_drawn_video
from toy_model import write_toy_checkpoint

from dfercli.cli.app import run
from dfercli.prediction import live, live_pace
from dfercli.report.colours import CLASS_COLOURS
from dfercli.report.live_lanes import LiveLanes


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_drawn_video(tmp_path_factory.mktemp("drawn") / "face.mp4", gap=(1.0, 2.0))


def predict(*arguments, code=0):
    options = ("--detector", "haar", "--quiet")
    assert run(["predict", *map(str, arguments), *options]) == code


def test_a_camera_writes_the_same_files_and_a_recording(drawn, checkpoint, tmp_path, capsys):
    results, recording = tmp_path / "results", tmp_path / "seen.mp4"
    arguments = ("--camera", drawn, "--headless", "--checkpoint", checkpoint, "--window", 0.8)
    files = ("--out", results, "--record", recording, "--export", "vtt")
    predict(*arguments, "--stride", 0.4, *files)
    told = capsys.readouterr()
    assert {"windows.csv", "spans.csv", "summary.csv", "run.json"} <= {
        path.name for path in results.iterdir()
    }
    assert list(results.rglob("*.vtt"))
    with (results / "windows.csv").open() as file:
        rows = list(csv.DictReader(file))
    printed = [json.loads(line) for line in told.out.splitlines()]
    assert sorted(float(row["end_seconds"]) for row in rows) == sorted(
        row["end_seconds"] for row in printed
    )
    assert {row["source"] for row in rows} == {str(recording)}
    with av.open(str(recording)) as container, av.open(str(drawn)) as original:
        kept, given = (len(list(one.decode(video=0))) for one in (container, original))
        assert kept == given
    (page,) = results.glob("*.html")
    html = page.read_text()
    assert "data:video/mp4;base64," in html
    assert '"moments":[{' in html
    predict(*arguments, *files, code=2)
    assert "--overwrite" in capsys.readouterr().err


def test_an_interrupted_camera_writes_its_files(drawn, checkpoint, tmp_path, monkeypatch):
    calls = []

    def interrupting(*arguments):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return real(*arguments)

    real = live._predict
    monkeypatch.setattr(live, "_predict", interrupting)
    out, recording = tmp_path / "t.csv", tmp_path / "seen.mp4"
    arguments = ("--camera", drawn, "--headless", "--checkpoint", checkpoint, "--window", 0.8)
    predict(*arguments, "--stride", 0.4, "--out", out, "--record", recording, code=130)
    assert len(out.read_text().splitlines()) == 3  # the header, and two rows
    with av.open(str(recording)) as container:
        assert len(list(container.decode(video=0))) > 5


def test_the_lanes_of_a_live_picture_hold_the_last_half_minute():
    lanes = LiveLanes(("happiness", "anger"))
    for start in range(40):
        lanes.add(0, start, start + 2.0, np.array([0.25, 0.75]))
    lanes.add(3, 0.0, 2.0, np.array([1.0, 0.0]))
    image = np.full((360, 640, 3), 90, np.uint8)
    drawn = lanes.draw(image, 41.0, "25 frames/s, delay 80 ms")
    assert (drawn[:360] == image).all()
    assert lanes.shown(41.0) == [0]  # the other person was seen too long ago
    for label, share in (("happiness", 0.25), ("anger", 0.75)):
        colour = tuple(bytes.fromhex(CLASS_COLOURS[label][1:]))
        heights = (drawn[380:, 100:600] == colour).all(axis=2).sum(axis=0)
        assert np.median(heights) == pytest.approx(share * 22, abs=2)
    assert lanes.draw(image, 90.0, "").shape == drawn.shape  # nobody is left
    assert lanes.shown(90.0) == []


def test_the_pace_counts_frames_and_their_delay(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_pace.time, "monotonic", lambda: now[0])
    pace = live_pace.LivePace()
    assert pace.whole() is None
    for index in range(51):
        pace.came(index, now[0])
        now[0] += 0.04
        pace.shown(index)
    assert pace.now() == "25 frames/s, delay 40 ms"
    assert pace.whole() == ("51 frames, 25.0 per second; median delay 40 ms, 95 % below 40 ms")
