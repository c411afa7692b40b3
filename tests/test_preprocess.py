"""The face store that `dfer preprocess` makes from drawn faces, and what it does with bad input."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_parts import write_caption

from dfercli.artifacts.captions import read_captions
from dfercli.artifacts.face_parts import write_landmarks, write_maps
from dfercli.artifacts.face_store import (
    frame_paths,
    read_clips,
    read_dataset,
    read_failures,
    read_track,
)
from dfercli.cli.app import run as dfer
from dfercli.config import PreprocessConfig
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.errors import ArtifactError, ConfigError, DataError, ServiceError
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.video.write import write_video

FAST = PreprocessConfig(detector="haar", min_face=80, workers=0)


@pytest.fixture(scope="session")
def drawn_video(tmp_path_factory):
    """One second of one drawn face."""
    rng = np.random.default_rng(5)
    clip = render_clip(random_identity(rng), "happiness", rng, num_frames=14)
    path = tmp_path_factory.mktemp("drawn") / "face.mp4"
    write_video(path, clip.frames, clip.fps)
    return path


@pytest.fixture(scope="session")
def faceless_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("faceless") / "nobody.mp4"
    ramp = np.tile(np.linspace(0, 255, 160, dtype=np.uint8)[None, :, None], (120, 1, 3))
    write_video(path, [ramp] * 6, 12)
    return path


@pytest.fixture
def videos(tmp_path, drawn_video, faceless_video):
    """Two folders with one file name in both, and four kinds of files without a face."""
    folder = tmp_path / "videos"
    for label in ("Happy", "sad"):
        (folder / label).mkdir(parents=True)
        shutil.copyfile(drawn_video, folder / label / "one.mp4")
    shutil.copyfile(faceless_video, folder / "nobody.mp4")
    (folder / "text.mp4").write_text("this is no video\n" * 20)
    (folder / "empty.mp4").touch()
    return folder


def preprocess(*sources, out, **changes):
    config = replace(FAST, sources=tuple(str(source) for source in sources), out=out, **changes)
    return run(config, LogProgress())


def contents(store):
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def test_a_folder_becomes_labelled_clips_and_failures_with_reasons(videos, tmp_path):
    result = preprocess(videos, out=tmp_path / "faces")
    clips = read_clips(tmp_path / "faces")
    assert [(clip.label, clip.num_frames, clip.fps) for clip in clips] == [
        ("happiness", 14, 14.0),
        ("sadness", 14, 14.0),
    ]
    assert len({clip.clip_id for clip in clips}) == 2
    assert clips[0].source == "../videos/Happy/one.mp4"
    assert read_dataset(tmp_path / "faces")["label_set"][:2] == ["happiness", "sadness"]
    reasons = {failure.source: failure.reason for failure in read_failures(tmp_path / "faces")}
    assert reasons["../videos/nobody.mp4"] == (
        "no face found in 6 frames, looking for 80 px or more (--min-face)"
    )
    assert reasons["../videos/empty.mp4"] == "empty file (0 bytes)"
    assert "not a readable video" in reasons["../videos/text.mp4"]
    assert (result.num_sources, result.num_clips, len(result.failures)) == (5, 2, 3)


def test_crops_and_track_rows_belong_to_the_same_frames(videos, tmp_path):
    preprocess(videos / "Happy", out=tmp_path / "faces")
    (clip,) = read_clips(tmp_path / "faces")
    track = read_track(tmp_path / "faces", clip.clip_id)
    paths = frame_paths(tmp_path / "faces", clip)
    assert [path.name for path in paths] == [f"{index:06d}.jpg" for index in track.frame_index]
    assert cv2.imread(str(paths[0])).shape == (224, 224, 3)
    assert track.pts_seconds == pytest.approx(track.frame_index / 14, abs=1e-3)
    assert (clip.start_seconds, clip.end_seconds) == (0.0, pytest.approx(13 / 14, abs=1e-3))
    assert track.box_xyxy_px.shape == (14, 4)
    assert track.detected[0]
    assert not track.detected.all()


def test_running_again_does_nothing_and_a_new_source_is_added(videos, tmp_path, drawn_video):
    store = tmp_path / "faces"
    preprocess(videos, out=store)
    before = contents(store)
    again = preprocess(videos, out=store)
    assert again.num_skipped == 5
    assert contents(store) == before
    shutil.copyfile(drawn_video, videos / "sad" / "two.mp4")
    added = preprocess(videos, out=store)
    assert (added.num_skipped, added.num_clips) == (5, 3)
    assert len(read_clips(store)) == 3


def test_a_source_is_recognised_under_any_spelling_of_its_path(videos, tmp_path):
    preprocess(videos / "sad", out=tmp_path / "faces")
    before = contents(tmp_path / "faces")
    for place in (videos / "s*" / "*.mp4", videos / "sad" / "one.mp4"):
        assert preprocess(place, out=tmp_path / "faces").num_skipped == 1
    added = preprocess(videos, out=tmp_path / "faces")
    assert (added.num_skipped, added.num_clips) == (1, 2)
    assert before.items() - contents(tmp_path / "faces").items() == {
        (name, before[name]) for name in ("clips.jsonl", "failures.jsonl")
    }


def test_a_store_that_was_cut_off_is_completed_to_the_same_bytes(videos, tmp_path):
    preprocess(videos, out=tmp_path / "whole")
    preprocess(videos, out=tmp_path / "cut")
    (clip, _) = read_clips(tmp_path / "cut")
    # A kill can leave this: no record yet, half a folder of crops, and temporary siblings.
    (tmp_path / "cut" / "sources" / f"{clip.clip_id[:-2]}.json").unlink()
    next((tmp_path / "cut" / "frames" / clip.clip_id).iterdir()).unlink()
    (tmp_path / "cut" / "frames" / ".x.partial-1" / "0").mkdir(parents=True)
    (tmp_path / "cut" / "clips.jsonl").unlink()
    preprocess(videos, out=tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_changed_source_is_done_again(videos, tmp_path, faceless_video):
    store = tmp_path / "faces"
    preprocess(videos / "Happy", out=store)
    shutil.copyfile(faceless_video, videos / "Happy" / "one.mp4")
    result = preprocess(videos / "Happy", out=store)
    assert (result.num_skipped, result.num_clips, len(result.failures)) == (0, 0, 1)
    assert not any((store / "frames").iterdir())


def test_nothing_made_from_the_old_version_of_a_source_is_kept(videos, tmp_path, drawn_video):
    store = tmp_path / "faces"
    kept, changed = preprocess(videos / "Happy", videos / "sad", out=store, preview=True).clips
    for clip in (kept, changed):
        write_landmarks(store, clip.clip_id, np.zeros((14, 68, 2)))
        write_maps(store, "parsing", clip.clip_id, [("000000", np.zeros((8, 8), np.uint8))])
        write_caption(store, clip.clip_id, "The brows are raised.")
    os.utime(videos / "sad" / "one.mp4", ns=(0, 0))
    before = contents(store)
    assert preprocess(videos / "Happy", videos / "sad", out=store).num_skipped == 1
    gone = before.keys() - contents(store).keys()
    key = changed.clip_id.removesuffix("-0")
    assert gone == {
        f"landmarks/{changed.clip_id}.npz",
        f"parsing/{changed.clip_id}/000000.png",
        f"preview/{key}.jpg",
        f"preview/{key}.mp4",
    }
    assert read_captions(store).keys() == {kept.clip_id}


def test_a_folder_whose_frames_are_overwritten_is_done_again(tmp_path, drawn_video):
    folder = tmp_path / "sequence"
    folder.mkdir()
    capture = cv2.VideoCapture(str(drawn_video))
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), capture.read()[1])
    preprocess(folder, out=tmp_path / "faces")
    assert preprocess(folder, out=tmp_path / "faces").num_skipped == 1
    for path in sorted(folder.iterdir()):
        cv2.imwrite(str(path), capture.read()[1])
    assert preprocess(folder, out=tmp_path / "faces").num_skipped == 0


@pytest.mark.parametrize("part", ["frames", "tracks"])
def test_a_source_whose_clips_are_gone_is_done_again(videos, tmp_path, part):
    store = tmp_path / "faces"
    preprocess(videos, out=store)
    before = contents(store)
    shutil.rmtree(store / part)
    assert preprocess(videos, out=store).num_skipped == 3
    assert contents(store) == before


def test_other_settings_are_refused_with_their_difference(videos, tmp_path):
    store = tmp_path / "faces"
    preprocess(videos / "Happy", out=store)
    with pytest.raises(ConfigError, match=r"size 224 -> 112"):
        preprocess(videos / "Happy", out=store, size=112)
    preprocess(videos / "Happy", out=store, size=112, overwrite=True)
    (clip,) = read_clips(store)
    assert cv2.imread(str(frame_paths(store, clip)[0])).shape == (112, 112, 3)


def test_a_folder_that_is_no_store_is_never_emptied(videos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="no face store"):
            preprocess(videos, out=tmp_path / "mine", overwrite=overwrite)
    assert contents(tmp_path / "mine") == {"thesis.txt": b"years of work"}


def test_weights_that_are_no_detector_leave_the_store_alone(videos, tmp_path):
    store = tmp_path / "faces"
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no network" * 100)
    with pytest.raises(ArtifactError, match="not a readable ONNX model"):
        preprocess(videos, out=store, detector="yunet", detector_weights=junk)
    assert not store.exists()
    preprocess(videos, out=store)
    before = contents(store)
    with pytest.raises(ArtifactError, match="not a readable ONNX model"):
        preprocess(videos, out=store, detector="yunet", detector_weights=junk, overwrite=True)
    assert contents(store) == before


def no_network(setting):
    raise ArtifactError("the landmarks' file does not fit")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"engine": "ray", "ray_address": "127.0.0.1:1"}, ServiceError),
        ({"detector": "sfd"}, ArtifactError),
        ({"streams": ("landmarks",)}, ArtifactError),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_a_failed_set_up_leaves_the_store_alone(videos, tmp_path, monkeypatch, changes, error):
    """Files in the cache that are not networks are noticed only when they are loaded."""
    store = tmp_path / "faces"
    preprocess(videos / "Happy", out=store)
    before = contents(store)
    junk = tmp_path / "junk"
    junk.write_bytes(b"no network" * 100)
    monkeypatch.setattr("dfercli.faces.build.fetch", lambda file: junk)
    monkeypatch.setattr("dfercli.faces.stream_maker.fetch", lambda file: junk)
    monkeypatch.setattr("dfercli.preprocessing.run.set_up_parts", no_network)
    with pytest.raises(error):
        preprocess(videos / "Happy", out=store, overwrite=True, **changes)
    assert contents(store) == before


def test_a_table_gives_labels_and_subjects(videos, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("source,label,subject\nHappy/one.mp4,Angry,anna\nsad/one.mp4,fear,\n")
    preprocess(videos, out=tmp_path / "faces", labels=table)
    clips = read_clips(tmp_path / "faces")
    assert [(clip.label, clip.subject) for clip in clips] == [("anger", "anna"), ("fear", None)]
    table.write_text("source,label\nHappy/one.mp4,fear\n")
    again = preprocess(videos, out=tmp_path / "faces", labels=table)
    assert again.num_skipped == 5
    assert [clip.label for clip in read_clips(tmp_path / "faces")] == ["fear", None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,label\nHappy/one.mp4,happy\nsad/one.mp4,sadd\n", "row 3: unknown label 'sadd'"),
        ("source,label\none.mp4,happy\n", "row 2: 'one.mp4' fits 2 sources"),
        ("file,label\na,b\n", "expected the columns source,label"),
        ("source,label\nHappy/one.mp4,\n", "row 2: source or label is empty"),
        ("source,label\nelsewhere.mp4,happy\n", "no row fits any source"),
    ],
)
def test_a_broken_table_names_its_row(videos, tmp_path, text, message):
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        preprocess(videos, out=tmp_path / "faces", labels=table)
    assert not (tmp_path / "faces").exists()


def test_own_classes_make_their_own_label_set(videos, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("source,label\nHappy/one.mp4,opening\nsad/one.mp4,closing\n")
    preprocess(videos, out=tmp_path / "found", labels=table)
    assert read_dataset(tmp_path / "found")["label_set"] == ["closing", "opening"]
    preprocess(videos, out=tmp_path / "given", labels=table, classes=("opening", "closing"))
    assert read_dataset(tmp_path / "given")["label_set"] == ["opening", "closing"]
    with pytest.raises(DataError, match="row 2: unknown label 'opening'"):
        preprocess(videos, out=tmp_path / "other", labels=table, classes=("7",))


def test_worker_processes_give_the_same_store(videos, tmp_path):
    preprocess(videos, out=tmp_path / "here", workers=0)
    preprocess(videos, out=tmp_path / "there", workers=2)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_every_kind_of_source_is_found_once(videos, tmp_path, drawn_video):
    frames = videos / "sad" / "sequence"
    frames.mkdir()
    capture = cv2.VideoCapture(str(drawn_video))
    for number in range(10):
        cv2.imwrite(str(frames / f"f{number}.png"), capture.read()[1])
    shutil.copyfile(frames / "f3.png", videos / "portrait.png")
    result = preprocess(videos / "sad", videos / "portrait.png", out=tmp_path / "faces")
    shapes = {clip.source[10:]: (clip.num_frames, clip.fps, clip.label) for clip in result.clips}
    assert shapes == {
        "sad/sequence": (10, 25.0, "sadness"),
        "sad/one.mp4": (14, 14.0, "sadness"),
        "portrait.png": (1, 0.0, None),
    }
    glob = preprocess(videos / "*" / "*.mp4", videos / "sad", out=tmp_path / "globbed")
    assert glob.num_sources == 3


def test_selection_keeps_the_indices_and_times_of_the_source(videos, tmp_path):
    result = preprocess(videos / "sad", out=tmp_path / "a", every=3, start=0.2, end=0.8)
    (clip,) = result.clips
    track = read_track(tmp_path / "a", clip.clip_id)
    assert track.frame_index.tolist() == [3, 6, 9]
    assert track.pts_seconds == pytest.approx([3 / 14, 6 / 14, 9 / 14], abs=1e-3)
    (clip,) = preprocess(videos / "sad", out=tmp_path / "b", fps=7).clips
    assert read_track(tmp_path / "b", clip.clip_id).frame_index.tolist() == list(range(0, 14, 2))


def test_reasons_tell_small_and_short_faces_from_none(videos, tmp_path):
    small = preprocess(videos / "sad", out=tmp_path / "a", min_face=239).failures[0].reason
    assert "faces are too small: the largest is" in small
    short = preprocess(videos / "sad", out=tmp_path / "b", start=5.0).failures[0].reason
    assert "no frame is left" in short
    where = preprocess(videos / "sad", out=tmp_path / "c", region=(0, 0, 30, 30)).failures[0].reason
    assert "no face found in the region" in where


def test_the_command_prints_a_summary_and_exits_3_for_failures(videos, tmp_path, capsys):
    options = ["--detector", "haar", "--min-face", "80", "--workers", "0", "--json"]
    assert dfer(["preprocess", str(videos), "--out", str(tmp_path / "faces"), *options]) == 3
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert (summary["sources"], len(summary["clips"]), len(summary["failures"])) == (5, 2, 3)
    assert "error: 3 of 5 sources failed, wholly or in part" in printed.err
    assert dfer(["preprocess", str(videos / "sad"), "--out", str(tmp_path / "ok"), *options]) == 0


def test_an_empty_folder_among_others_is_a_failure_of_its_own(videos, tmp_path, capsys):
    for name in ("text.mp4", "empty.mp4", "nobody.mp4"):
        (videos / name).unlink()
    (videos / "nothing").mkdir()
    store = videos / "faces"  # a store among the sources is passed over
    command = ["preprocess", str(videos / "*"), "--out", str(store), "--workers", "0"]
    for _ in range(2):
        assert dfer([*command, "--detector", "haar", "--min-face", "80"]) == 3
        assert "1 of 3 sources failed, wholly or in part" in capsys.readouterr().err
        (failure,) = read_failures(store)
        assert failure.source == "../nothing"
        assert failure.reason == "nothing to read in the folder"
        assert len(read_clips(store)) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.mp4"], 3, "no such file or folder: missing.mp4"),
        (["none*.mp4"], 3, "nothing matches none*.mp4"),
        (["nothing"], 3, "no video or image in nothing"),
        (["nothing", "--detector", "magic"], 2, "detector"),
        (["nothing", "--region", "1,2,3"], 2, "--region takes x,y,width,height"),
        (["nothing", "--region", "0,0,0,9"], 2, "--region takes x,y,width,height"),
        (["nothing", "--faces", "-1"], 2, "--faces takes all, largest or a number"),
        (["nothing", "--faces", "²"], 2, "--faces takes all, largest or a number"),
        (["nothing", "--smooth", "-1"], 2, "smooth: expected a number from 0 to 2"),
        (["nothing", "--lost-seconds", "nan"], 2, "lost_seconds: expected a number"),
        (["nothing", "--fps", "nan"], 2, "fps: expected a number or none, got nan"),
        (["nothing", "--size", "200000"], 2, "size: expected a whole number from 8 to 4096"),
        (["nothing", "--jpeg-quality", "0"], 2, "jpeg_quality: expected a whole number from 1"),
        (["nothing", "--start", "-3"], 2, "start: expected a number of at least 0"),
        (["nothing", "--start", "5", "--end", "4"], 2, "--end 4.0 is not after --start 5.0"),
        ([], 2, "SOURCE"),
    ],
)
def test_bad_command_lines_have_their_exit_code(
    arguments, code, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    assert dfer(["preprocess", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "faces").exists()


def test_an_unusable_source_costs_only_itself(videos, tmp_path, capsys):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(next((videos / "sad").glob("*.mp4")), folder / "a.mp4")
    shutil.copy(folder / "a.mp4", os.fsdecode(os.fsencode(folder) + b"/b\xff.mp4"))
    cv2.imwrite(str(folder / "c.png"), np.zeros((40, 40, 3), np.uint8))
    options = ["--detector", "haar", "--workers", "0", "--region", "60,60,500,500", "--json"]
    assert dfer(["preprocess", str(folder), "--out", str(tmp_path / "faces"), *options]) == 3
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    reasons = {row["source"]: row["reason"] for row in json.loads(printed.out)["failures"]}
    assert reasons.pop("../odd/b\\udcff.mp4") == "its name is not valid UTF-8: rename it"
    said = "the region begins outside the picture of 40 x 40 pixels"
    assert reasons.pop("../odd/c.png") == said


def test_a_full_disk_is_one_line_exit_4_and_nothing_half_written(
    videos, tmp_path, capsys, monkeypatch
):
    real = Path.write_bytes
    written = []

    def write_bytes(self, content):
        written.append(self)
        if len(written) > 20:
            raise OSError(28, os.strerror(28), str(self))
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    options = ["--detector", "haar", "--min-face", "80", "--workers", "0"]
    assert dfer(["preprocess", str(videos), "--out", str(tmp_path / "faces"), *options]) == 4
    error, hint = capsys.readouterr().err.splitlines()
    assert "No space left on device" in error
    assert hint.startswith("hint: finished sources: 3, kept in ")
    assert not list((tmp_path / "faces").rglob("*.partial-*"))
    monkeypatch.undo()
    preprocess(videos, out=tmp_path / "faces")
    preprocess(videos, out=tmp_path / "fresh")
    assert contents(tmp_path / "faces") == contents(tmp_path / "fresh")


def test_two_runs_do_not_write_to_one_store(videos, tmp_path):
    from dfercli.artifacts.locks import exclusive

    with (
        exclusive(tmp_path / "faces" / ".lock"),
        pytest.raises(ArtifactError, match="faces is being written by another process"),
    ):
        preprocess(videos, out=tmp_path / "faces")
