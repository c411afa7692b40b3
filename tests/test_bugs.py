"""A bug in one source is that source's failure, wherever it happens; the others are done."""

import base64
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_videos import write_drawn_video
from faults import (
    ORIGINAL,
    STEPS,
    at_first,
    raising,
    set_up_faults,
    set_up_held_faults,
    set_up_nothing,
)
from toy_model import write_toy_checkpoint

from dfercli.artifacts.bug_log import BugLog, users_log
from dfercli.artifacts.face_store import read_clips, read_failures
from dfercli.attempts import Crash, SetUpError, attempt
from dfercli.cli.app import run as dfer
from dfercli.data import loading
from dfercli.errors import ArtifactError, DataError
from dfercli.faces import stream_maker
from dfercli.faces.haar import HaarDetector
from dfercli.inference.loaded_model import LoadedModel
from dfercli.prediction import (
    annotate,
    clip_faces,
    facts,
    moments,
    players,
    recognise,
    results_folder,
    source_results,
)
from dfercli.prediction import run as predict_run
from dfercli.preprocessing import face_clips, face_parts, find_faces, preview, source_worker
from dfercli.preprocessing import run as preprocess_run
from dfercli.preprocessing.held_crops import HeldCrops
from dfercli.video.sources import source_state

CROP = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
SOUND = ("a_sound", "z_sound")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_video(tmp_path_factory.mktemp("drawn") / "face.mp4", seconds=0.7)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=CROP)


@pytest.fixture
def folder(video: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(video, folder / f"{name}.mp4")
    return folder


@pytest.fixture
def restored() -> Iterator[None]:
    """Restores what `set_up_faults` changes in this process."""
    yield
    for place, name in STEPS.values():
        setattr(place, name, ORIGINAL[name])


def preprocess(*arguments: object, code: int = 0) -> None:
    options = ("--detector", "haar", "--min-face", "60", "--quiet")
    assert dfer(["preprocess", *map(str, arguments), *options]) == code


def predict(*arguments: object, code: int = 0, workers: int = 0) -> None:
    options = ("--workers", str(workers), "--detector", "haar", "--quiet")
    assert dfer(["predict", *map(str, arguments), *options]) == code


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("workers", [0, 1])
def test_each_step_of_preprocess_may_fail_for_one_source(
    video: Path,
    tmp_path: Path,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    videos, store = tmp_path / "videos", tmp_path / "faces"
    videos.mkdir()
    for name in (*STEPS, *SOUND):
        os.link(video, videos / f"{name}.mp4")
    monkeypatch.setattr(preprocess_run, "set_up_sources", set_up_faults)
    options = ("--workers", workers, "--out", store)
    preprocess(videos, *options, code=3)
    assert {Path(clip.source).stem for clip in read_clips(store)} == set(SOUND)
    failures = {Path(row.source).stem: row for row in read_failures(store)}
    assert set(failures) == set(STEPS)
    log = (store / "bugs.log").read_text()
    for number, (name, failure) in enumerate(failures.items()):
        assert failure.stage == "bug"
        kind = f"KeyError: '{name}'" if list(STEPS).index(name) % 2 else f"RuntimeError: no {name}"
        assert failure.reason.startswith(f"bug: {kind}"), (number, failure)
        assert failure.reason.endswith(f"traceback in {store / 'bugs.log'}")
        assert f"{kind}\n" in log
    assert log.count("Traceback (most recent call last)") == len(STEPS)
    told = capsys.readouterr().err
    assert f"{len(STEPS)} sources hit a bug in dfer: please report it with {store}/bugs.log" in told
    assert "Traceback" not in told
    assert not list(store.rglob("*.partial-*"))

    if workers:
        return
    monkeypatch.setattr(preprocess_run, "set_up_sources", source_worker.set_up_sources)
    for place, name in STEPS.values():  # the bug is mended
        monkeypatch.setattr(place, name, ORIGINAL[name])
    preprocess(videos, *options)
    assert len(read_clips(store)) == len(STEPS) + len(SOUND)
    assert read_failures(store) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_in_the_set_up_is_a_crash(
    folder: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocess_run, "set_up_sources", set_up_nothing)
    with pytest.raises(SetUpError if workers else KeyError, match="no such set-up") as crash:
        preprocess(folder, "--workers", workers, "--out", tmp_path / "faces", code=1)
    if workers:
        assert "in set_up_nothing" in str(crash.value)  # where it happened in the worker


def test_previews_and_parts_may_fail_for_one_source(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "faces"
    first = partial(at_first, done=[])
    draw = raising(preview.write_preview, ZeroDivisionError("no frame"), first)
    monkeypatch.setattr(preview, "write_preview", draw)
    preprocess(folder, "--workers", 0, "--out", store, "--preview", code=3)
    assert len(read_clips(store)) == 3
    (failure,) = read_failures(store)
    assert (failure.stage, Path(failure.source).name) == ("bug", "a.mp4")
    assert failure.reason.startswith("bug: ZeroDivisionError: no frame")
    assert len(list((store / "preview").glob("*.mp4"))) == 2

    together_then_the_first_alone = iter([True, True])

    class Maker:
        landmarks = raising(
            lambda maker, crops: np.zeros((len(crops), 68, 2)),
            TypeError("odd"),
            lambda *_: next(together_then_the_first_alone, False),
        )

        def __init__(self, setting: object) -> None:
            pass

    monkeypatch.setattr(face_parts, "StreamMaker", Maker)
    monkeypatch.setattr(stream_maker, "fetch", lambda file: None)
    preprocess(folder, "--workers", 0, "--out", store, "--streams", "landmarks", code=3)
    (failure,) = read_failures(store)
    assert len(list((store / "landmarks").iterdir())) == 2
    assert failure.stage == "bug"
    assert failure.reason.startswith("bug: TypeError: odd")
    assert (store / "bugs.log").read_text().count("Traceback") == 2


# The steps of predict for one source after its faces were found; each fails at its first call.
LATER = [
    (clip_faces, "read_track"),
    (clip_faces, "frame_paths"),
    (recognise, "windows_of"),
    (loading, "read_frames"),
    (recognise, "_prediction"),
    (source_results, "gaps_of"),
    (facts, "probe_video"),
    (source_results, "strongest_moments"),
    (moments, "_moment"),
    (annotate, "annotate"),
    (annotate, "write_annotated"),
    (annotate, "find_sources"),
    (players, "probe_video"),
    (players, "_player"),
    (players, "video_section"),
]


@pytest.mark.parametrize(("place", "name"), LATER, ids=lambda part: getattr(part, "__name__", part))
def test_each_step_of_predict_may_fail_for_one_source(
    store_of_three: Path,
    checkpoint: Path,
    tmp_path: Path,
    place: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault = raising(getattr(place, name), KeyError("odd"), partial(at_first, done=[]))
    monkeypatch.setattr(place, name, fault)
    out, page, copies = tmp_path / "t.csv", tmp_path / "p.html", tmp_path / "copies"
    outputs = ("--out", out, "--html", page, "--video", copies)
    predict(store_of_three, "--checkpoint", checkpoint, *outputs, code=3)
    (row,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert row["stage"] == "bug"
    assert row["reason"].startswith("bug: KeyError: 'odd'")
    assert row["reason"].endswith(f"traceback in {tmp_path / 't.bugs.log'}")
    assert (tmp_path / "t.bugs.log").read_text().count("Traceback (most recent call last)") == 1
    named = set(pd.read_csv(out)["source"].map(os.path.basename))
    assert named >= {"a.mp4", "b.mp4", "c.mp4"} - {os.path.basename(row["source"])}
    assert all(f"{name}.mp4" in page.read_text() for name in "abc")
    assert "KeyError" in page.read_text()
    assert len(list(copies.glob("*.mp4"))) >= 2
    told = capsys.readouterr().err
    assert "1 source hit a bug in dfer: please report it with" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (clip_faces.FacesInMemory, "crops"),
        (clip_faces.FacesInMemory, "track"),
        (HeldCrops, "frames_of"),
        (HeldCrops, "jpeg"),
    ],
)
def test_each_step_with_faces_in_memory_may_fail_for_one_source(
    folder: Path,
    checkpoint: Path,
    tmp_path: Path,
    place: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = raising(getattr(place, name), KeyError("odd"), partial(at_first, done=[]))
    monkeypatch.setattr(place, name, fault)
    out = tmp_path / "t.csv"
    predict(folder, "--checkpoint", checkpoint, "--out", out, "--video", tmp_path / "v", code=3)
    (row,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert row["reason"].startswith("bug: KeyError: 'odd'")
    assert len(set(pd.read_csv(out)["source"])) >= 2


@pytest.fixture(scope="module")
def store_of_three(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    for name in ("a", "b", "c"):
        shutil.copy(video, folder / f"{name}.mp4")
    preprocess(folder, "--workers", 0, "--out", folder / "faces")
    return folder / "faces"


def test_a_window_that_the_model_cannot_take_is_its_sources_fault_alone(
    store_of_three: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_b(model: LoadedModel, items: list[Any]) -> bool:
        return any(item.opened.source.name.endswith("b.mp4") for item in items)

    fault = raising(recognise._probabilities, RuntimeError("shape"), of_b)
    monkeypatch.setattr(recognise, "_probabilities", fault)
    out = tmp_path / "t.jsonl"
    predict(store_of_three, "--checkpoint", checkpoint, "--out", out, code=3)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {Path(row["source"]).name for row in rows} == {"a.mp4", "c.mp4"}
    (row,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert (Path(row["source"]).name, row["stage"]) == ("b.mp4", "bug")


def test_a_model_that_fails_on_every_window_is_a_crash(
    store_of_three: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = raising(recognise._probabilities, RuntimeError("no weights"), lambda *_: True)
    monkeypatch.setattr(recognise, "_probabilities", fault)
    with pytest.raises(SetUpError, match="no weights"):
        predict(store_of_three, "--checkpoint", checkpoint, "--out", tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == [tmp_path / ".t.csv.work"]


def test_faces_found_by_worker_processes_may_fail_for_one_source(
    video: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("crop", "keep", *SOUND):
        os.link(video, videos / f"{name}.mp4")
    monkeypatch.setattr(find_faces, "set_up_held", set_up_held_faults)
    out = tmp_path / "t.csv"
    predict(videos, "--checkpoint", checkpoint, "--out", out, code=3, workers=1)
    rows = [json.loads(row) for row in (tmp_path / "t.failures.jsonl").read_text().splitlines()]
    assert {(Path(row["source"]).stem, row["stage"]) for row in rows} == {
        ("crop", "bug"),
        ("keep", "bug"),
    }
    assert (tmp_path / "t.bugs.log").read_text().count("Traceback") == 2
    assert set(pd.read_csv(out)["source"].map(lambda name: Path(name).stem)) == set(SOUND)


def test_a_source_with_a_bug_is_not_recorded_as_done(
    folder: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stop before the table is written, the next run retries that source, and no other."""
    fault = raising(source_results.gaps_of, KeyError("odd"), partial(at_first, done=[]))
    monkeypatch.setattr(source_results, "gaps_of", fault)
    write = results_folder.write_predictions
    monkeypatch.setattr(
        results_folder, "write_predictions", raising(write, KeyboardInterrupt(), lambda *_: True)
    )
    out = tmp_path / "t.csv"
    predict(folder, "--checkpoint", checkpoint, "--out", out, code=130)
    tried = []
    monkeypatch.setattr(results_folder, "write_predictions", write)
    finish = predict_run.finish_source

    def counted(plan: Any, done: Any, stop: Any) -> Any:
        tried.append(Path(done.source.name).name)
        return finish(plan, done, stop)

    monkeypatch.setattr(predict_run, "finish_source", counted)
    predict(folder, "--checkpoint", checkpoint, "--out", out)
    assert tried == ["a.mp4"]
    assert len(set(pd.read_csv(out)["source"])) == 3


def test_a_source_that_is_replaced_while_it_is_read_is_a_failure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a file of the same size and time, as `rsync --times` leaves it."""
    store = tmp_path / "faces"

    def replaced(*arguments: Any) -> Any:
        status = (folder / "a.mp4").stat()
        shutil.copy(folder / "a.mp4", folder / "new")
        os.utime(folder / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(folder / "new", folder / "a.mp4")
        return prefetched(*arguments)

    prefetched = face_clips.prefetched
    monkeypatch.setattr(face_clips, "prefetched", replaced)
    preprocess(folder / "a.mp4", "--workers", 0, "--out", store, code=3)
    (failure,) = read_failures(store)
    assert (failure.stage, failure.reason) == ("changed", "it changed while it was read")
    assert list((store / "frames").iterdir()) == []
    monkeypatch.setattr(face_clips, "prefetched", prefetched)
    preprocess(folder / "a.mp4", "--workers", 0, "--out", store)
    assert len(read_clips(store)) == 1


def test_a_source_replaced_before_its_copy_is_drawn_is_a_failure_of_the_copy(
    folder: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = annotate.annotate

    def replaced(*arguments: Any, **named: Any) -> None:
        (folder / "a.mp4").write_bytes((folder / "a.mp4").read_bytes() + bytes(100))
        draw(*arguments, **named)

    monkeypatch.setattr(annotate, "annotate", replaced)
    copies = tmp_path / "copies"
    out = ("--out", tmp_path / "t.jsonl", "--video", copies)
    predict(folder / "a.mp4", "--checkpoint", checkpoint, *out, code=3)
    (row,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert row["stage"] == "annotate"
    assert row["reason"].endswith("it changed after its faces were found")
    assert not copies.exists() or list(copies.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (face_clips, "prefetched"),
        (source_results, "gaps_of"),
        (predict_run, "_finish"),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_of_a_source_that_is_replaced_predict_tells_all_or_nothing(
    folder: Path,
    checkpoint: Path,
    tmp_path: Path,
    place: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "b.mp4").unlink()
    (folder / "c.mp4").unlink()
    other = write_drawn_video(tmp_path / "other.mp4", seconds=2.0)
    options = ("--checkpoint", checkpoint, "--html", tmp_path / "p.html")
    predict(folder, *options, "--out", tmp_path / "before.csv")
    work = getattr(place, name)

    def replaced(*arguments: Any, **named: Any) -> Any:
        os.replace(shutil.copy(other, folder / "new"), folder / "a.mp4")
        return work(*arguments, **named)

    monkeypatch.setattr(place, name, replaced)
    predict(folder, *options, "--out", tmp_path / "t.csv", "--summary", tmp_path / "s.csv", code=3)
    (row,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert row["stage"] == "changed"
    rows = (tmp_path / "t.csv").read_text()
    assert rows.count("\n") == 1 or rows == (tmp_path / "before.csv").read_text()
    assert (rows.count("\n") == 1) == (name == "prefetched")
    assert (pd.read_csv(tmp_path / "s.csv")["length_seconds"] < 1).all()
    assert base64.b64encode(other.read_bytes()).decode() not in (tmp_path / "p.html").read_text()


def test_a_source_of_a_store_that_is_made_again_meanwhile_is_a_failure(
    store_of_three: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shutil.copytree(store_of_three, tmp_path / "faces")
    read = loading.read_frames

    def replaced(paths: list[Path]) -> Any:
        for record in (store / "sources").glob("b-*.json"):
            os.replace(shutil.copy(record, tmp_path / "new"), record)
        return read(paths)

    monkeypatch.setattr(loading, "read_frames", replaced)
    out = tmp_path / "t.csv"
    predict(store, "--checkpoint", checkpoint, "--out", out, code=3)
    (row,) = map(json.loads, (tmp_path / "t.failures.jsonl").read_text().splitlines())
    assert (Path(row["source"]).name, row["stage"]) == ("b.mp4", "changed")
    assert set(pd.read_csv(out)["source"].map(os.path.basename)) == {"a.mp4", "c.mp4"}


def test_a_folder_of_frames_is_recognised_by_its_files(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    before = source_state(tmp_path)
    before.require_same()
    status = (tmp_path / "1.png").stat()
    (tmp_path / "new").write_bytes((tmp_path / "1.png").read_bytes())
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(tmp_path / "new", tmp_path / "1.png")
    with pytest.raises(DataError, match="it changed while it was read"):
        before.require_same()


def test_user_errors_pass_through_and_a_crash_crosses_processes() -> None:
    for expected in (DataError("bad"), ArtifactError("worse")):
        with pytest.raises(type(expected)):
            attempt(raising(len, expected, lambda: True))
    with pytest.raises(ArtifactError, match="cannot write /x: No space left on device"):
        attempt(raising(len, OSError(28, "No space left on device", "/x"), lambda: True))
    crash = attempt(raising(len, ValueError("two\nlines " + 999 * "x"), lambda: True))
    assert isinstance(crash, Crash)
    assert crash.reason.startswith("ValueError: two lines xxx")
    assert len(crash.reason) <= 300
    assert pickle.loads(pickle.dumps(crash)) == crash


def test_a_log_that_cannot_be_written_costs_only_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "bugs.log").symlink_to(elsewhere)
    reason = BugLog(tmp_path / "bugs.log").add("x", Crash("KeyError: 1", "Traceback"))
    assert reason.startswith("bug: KeyError: 1; its traceback is lost: cannot write")
    assert not elsewhere.exists()  # the log is never written through a link
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert users_log().is_relative_to(tmp_path)


def test_a_detector_that_opencv_stops_is_the_sources_failure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = HaarDetector._detect_one
    fault = raising(real, cv2.error("(-215) !empty()"), partial(at_first, done=[]))
    monkeypatch.setattr(HaarDetector, "_detect_one", fault)
    preprocess(folder, "--workers", 0, "--out", tmp_path / "faces", code=3)
    (failure,) = read_failures(tmp_path / "faces")
    assert failure.stage == "decode"
    assert "the detector haar cannot process a picture of" in failure.reason


def test_a_page_stands_a_video_without_a_decoder(
    folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    import av

    path = folder / "odd.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"V_MJPEG", b"V_XJPEG"))
    page = tmp_path / "p.html"
    predict(folder, "--checkpoint", checkpoint, "--html", page, code=3)
    assert "odd.mkv" in page.read_text()


def test_an_output_that_is_a_source_is_refused_before_any_work(
    folder: Path,
    store_of_three: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    link = tmp_path / "link.mp4"
    link.symlink_to(folder / "a.mp4")
    classes = tmp_path / "classes.json"
    classes.write_text('["calm", "tense"]')
    rows = store_of_three / "clips.jsonl"
    before = {path: path.read_bytes() for path in (folder / "a.mp4", rows, classes)}
    model = ("--checkpoint", str(checkpoint))
    commands = {
        "--video": [
            ["predict", str(folder / "a.mp4"), *model, "--video", str(folder / "a.mp4")],
            ["predict", str(link), *model, "--video", str(folder / ".." / "videos" / "a.mp4")],
            ["predict", str(folder / "a.mp4"), *model, "--video", str(link)],
        ],
        "--out": [
            ["predict", str(store_of_three), *model, "--out", str(rows)],
            ["describe", "--classes", str(classes), "--out", str(classes), "--overwrite"],
        ],
    }
    for option, lines in commands.items():
        for line in lines:
            assert dfer(line) == 2, line
            told = capsys.readouterr().err
            assert f"error: {option} " in told
            assert "would take the place of" in told
    assert {path: path.read_bytes() for path in before} == before
    assert link.is_symlink()
