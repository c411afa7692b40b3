"""Test clips that were also trained on: by subject, source or content; and copies in one list."""

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature_datasets import make_dfew
from stores import bright_and_dark_store, write_store
from trainings import OPTIONS

from dfercli.artifacts.content_hashes import CONTENT_FILE
from dfercli.artifacts.jsonl import read_rows, write_rows
from dfercli.cli.app import run as dfer
from dfercli.data.clips import Clip
from dfercli.data.duplicates import SHAPE, contents_of, same_content
from dfercli.data.store_folds import read_store_clips
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity


def drawn_store(folder: Path, people: range, name: str = "p") -> Path:
    clips = []
    for person in people:
        rng = np.random.default_rng([7, person])
        identity = random_identity(rng)
        for label in ("happiness", "sadness"):
            drawn = render_clip(identity, label, rng, num_frames=6, fps=10.0, size=200)
            crops = [cv2.resize(frame[40:170, 35:165], (112, 112)) for frame in drawn.frames]
            clips.append((f"{name}{person}-{label}", label, f"{name}{person}", np.stack(crops)))
    return write_store(folder, clips)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return drawn_store(tmp_path_factory.mktemp("leaks") / "faces", range(5))


def copy_store(store: Path, to: Path, change=None) -> Path:
    """The same clips with other names, subjects and sources."""
    clips = []
    for number, row in enumerate(read_rows(store / "clips.jsonl")):
        paths = sorted((store / "frames" / row["clip_id"]).iterdir())
        frames = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths]
        frames = [frame if change is None else change(frame) for frame in frames]
        clips.append((f"renamed-{number}", row["label"], f"other-{number // 2}", np.stack(frames)))
    return write_store(to, clips)


def worse(frame: np.ndarray) -> np.ndarray:
    """JPEG quality 70, after a shift by two pixels to the right and one down."""
    moved = cv2.warpAffine(
        frame, np.float32([[1, 0, 2], [0, 1, 1]]), frame.shape[1::-1], borderMode=1
    )
    jpeg = cv2.imencode(".jpg", moved, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR)


def train(store: Path, test: Path, out: Path, *options: str) -> int:
    command = ["train", str(store), "--test", str(test), *OPTIONS, "--select", "last"]
    return dfer([*command, "--epochs", "1", "--out", str(out), *options])


@pytest.mark.parametrize("change", [None, worse])
def test_a_renamed_copy_of_the_training_store_is_caught(store, tmp_path, capsys, change):
    copy = copy_store(store, tmp_path / "copy", change)
    assert train(store, copy, tmp_path / "runs", "--name", "a") == 3
    message = capsys.readouterr().err
    assert "10 of 10 clips are trained on, too: 10 shared contents" in message
    assert "p0-happiness = renamed-0" in message
    assert "--allow-leak" in message
    assert not (tmp_path / "runs" / "a").exists()
    assert dfer(["data", "check", str(store), "--test", str(copy)]) == 3
    assert "content-leak: 10 pairs of clips of both show the same" in capsys.readouterr().out


def test_a_leak_can_be_allowed_and_is_named_with_the_result(store, tmp_path, capsys):
    copy = copy_store(store, tmp_path / "copy")
    options = ("--name", "a", "--allow-leak", "--json")
    assert train(store, copy, tmp_path / "runs", *options) == 0
    printed = capsys.readouterr()
    assert "leak allowed: 10 shared contents" in printed.err
    measured = json.loads(printed.out)["folds"][0]["measured_on"]
    assert measured.endswith("of which 10 of 10 are trained on, too")


def test_other_people_are_no_leak(store, tmp_path):
    other = drawn_store(tmp_path / "other", range(5, 8), "q")
    assert train(store, other, tmp_path / "runs") == 0


def test_shared_subjects_and_sources_are_leaks(store, tmp_path, capsys):
    other = drawn_store(tmp_path / "other", range(5, 8), "q")
    rows = list(read_rows(other / "clips.jsonl"))
    rows[0]["subject"] = "p3"
    rows[2]["source"] = str((store.parent / "p1-sadness.mp4").resolve())
    write_rows(other / "clips.jsonl", rows)
    assert train(store, other, tmp_path / "runs") == 3
    message = capsys.readouterr().err
    assert "1 shared subjects (p3)" in message
    assert "1 shared sources" in message
    assert "contents" not in message


def test_copies_within_a_split_by_subject_are_caught(store, tmp_path, capsys):
    """One video under two names and two subjects; a split by subject separates them."""
    clips = []
    for index, row in enumerate(read_rows(store / "clips.jsonl")):
        paths = sorted((store / "frames" / row["clip_id"]).iterdir())
        frames = np.stack([cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths])
        for copy in ("a", "b"):
            clips.append((f"{index}{copy}", row["label"], f"{row['subject']}{copy}", frames))
    twice = write_store(tmp_path / "twice", clips)
    command = ["train", str(twice), *OPTIONS, "--out", str(tmp_path), "--select", "last"]
    assert dfer([*command, "--folds", "2", "--group", "subject"]) == 3
    assert "shared contents" in capsys.readouterr().err
    assert dfer(["data", "check", str(twice), "--duplicates"]) == 3
    assert "FAULT content: 10 pairs of clips show the same" in capsys.readouterr().out


def test_hashes_are_kept_in_the_store_until_crops_change(store, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(store, own)
    _, clips = read_store_clips(own)
    first = contents_of(clips)
    kept = (own / CONTENT_FILE).read_bytes()
    written = (own / CONTENT_FILE).stat().st_mtime_ns
    contents_of(clips)
    assert (own / CONTENT_FILE).stat().st_mtime_ns == written
    for path in (own / "frames" / clips[0].clip_id).iterdir():
        cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (112, 112, 3)))
    again = contents_of(clips)
    assert not np.array_equal(first[0], again[0])
    assert all(np.array_equal(a, b) for a, b in zip(first[1:], again[1:], strict=True))
    assert (own / CONTENT_FILE).read_bytes() != kept


def test_a_broken_file_of_hashes_is_named(store, tmp_path, capsys):
    own = tmp_path / "own"
    shutil.copytree(store, own)
    row = {"schema": "dfer.content/1", "clip_id": "p0-happiness", "made_from": "x", "hashes": "AA"}
    write_rows(own / CONTENT_FILE, [row])
    assert dfer(["data", "check", str(own), "--duplicates"]) == 4
    assert "content.jsonl, row 1: hashes: expected 108 words" in capsys.readouterr().err


def test_the_check_of_a_benchmark_copy_names_shared_clips(tmp_path, capsys):
    """All clips of the miniature show the same noise: that is noted, but no fault."""
    root = make_dfew(tmp_path / "DFEW")
    command = ["data", "check", "dfew", "--root", str(root), "--subset", "--duplicates"]
    assert dfer(command) == 0
    printed = capsys.readouterr().out
    assert "note content: 91 pairs of clips show the same" in printed
    assert "note content-leak:" in printed


def test_flat_pictures_resemble_nothing(tmp_path):
    grey = np.full((3, 32, 32, 3), 128, np.uint8)
    store = write_store(
        tmp_path / "faces", [("a", "happiness", "one", grey), ("b", "sadness", "two", grey)]
    )
    assert contents_of(read_store_clips(store)[1]) == [None, None]
    missing = Clip("c", tmp_path / "nowhere", None)
    assert contents_of([missing]) == [None]
    assert same_content([None, None]) == []


def test_near_pairs_are_found_as_in_a_full_comparison(store):
    rng = np.random.default_rng(0)
    first = [rng.integers(0, 2**64, SHAPE, dtype=np.uint64) for _ in range(300)]
    first[7] = None
    planted = {(3, 290), (10, 11)}
    for one, other in planted:
        first[other] = first[one].copy()
        first[other][0, :, 0] ^= np.uint64(2**40 - 1)  # 40 bits of the unmoved picture
    began = time.monotonic()
    assert set(same_content(first)) == planted
    assert time.monotonic() - began < 30
    assert same_content(first[:5], [first[290]]) == [(3, 0)]


def test_bright_and_dark_stores_of_other_people_differ(tmp_path):
    """The stores that other tests train and test on leak nothing."""
    stores = [bright_and_dark_store(tmp_path / name, 2, people=name) for name in ("a", "b")]
    first, second = (contents_of(read_store_clips(own)[1]) for own in stores)
    assert same_content(first, second) == []
