import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from miniature_datasets import FRAMES, make_dfew, make_ferv39k, make_mafw, make_store, write_frames

from dfercli.artifacts.jsonl import read_rows, write_rows
from dfercli.cli.app import run
from dfercli.config import CheckConfig
from dfercli.data import published_sizes as published
from dfercli.data.check import check_crops
from dfercli.data.published_sizes import PublishedTotals
from dfercli.labels import SEVEN
from dfercli.preprocessing import check_data
from dfercli.progress import LogProgress

CLIPS = "Clip/clip_224x224"


@pytest.fixture
def dfew(tmp_path, monkeypatch):
    """A clean miniature whose own sizes stand in for the published ones."""
    totals = PublishedTotals(14, dict.fromkeys(SEVEN, 2), ((11, 3),) * 5, 0)
    monkeypatch.setitem(published.TOTALS, "dfew", totals)
    return make_dfew(tmp_path / "DFEW")


def check(root, **options):
    config = CheckConfig(dataset="dfew", root=root, **options)
    return check_data.run(config, LogProgress())


def kinds(report):
    return [finding.kind for finding in report.findings]


def only(report, kind):
    """The only finding of the report; it must be of `kind`."""
    assert kinds(report) == [kind]
    return report.findings[0]


def list_path(root, part, fold=1):
    return root / f"EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv"


def test_a_clean_copy_has_no_findings(dfew):
    report = check(dfew, deep=True)
    assert report.findings == ()
    assert report.fold_sizes == ((11, 3),) * 5
    assert report.frames_per_clip == (FRAMES, FRAMES, FRAMES)


def test_a_missing_clip_is_found_and_nothing_else(dfew):
    shutil.rmtree(dfew / CLIPS / "00004")
    found = only(check(dfew), "missing")
    assert found.names == ("00004",)
    assert found.message == "1 clip is not in Clip/clip_224x224"


def test_clips_that_end_at_one_number_suggest_an_interrupted_unpacking(dfew):
    for number in range(11, 18):
        shutil.rmtree(dfew / CLIPS / f"{number:05d}")
    assert only(check(dfew), "missing").guess == (
        "everything after 00010 is missing: unpacking stopped there"
    )


def test_an_empty_clip_is_found_and_nothing_else(dfew):
    for path in (dfew / CLIPS / "00004").iterdir():
        path.unlink()
    assert only(check(dfew), "empty").names == ("00004",)


def test_a_short_clip_is_found_and_nothing_else(dfew):
    shutil.rmtree(dfew / CLIPS / "00004")
    write_frames(dfew / CLIPS / "00004", count=15)
    assert only(check(dfew), "short").names == ("00004 (15 frames)",)


def test_the_published_number_of_short_clips_is_no_fault(dfew, monkeypatch):
    totals = PublishedTotals(14, dict.fromkeys(SEVEN, 2), ((11, 3),) * 5, short_clips=1)
    monkeypatch.setitem(published.TOTALS, "dfew", totals)
    shutil.rmtree(dfew / CLIPS / "00004")
    write_frames(dfew / CLIPS / "00004", count=15)
    report = check(dfew)
    assert report.is_clean
    assert not only(report, "short").is_fault


def test_a_clip_named_twice_is_found_and_nothing_else(dfew):
    path = list_path(dfew, "train")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    report = check(dfew)
    assert kinds(report) == ["folds", "duplicate"]
    assert report.findings[1].names == ("00003 (fold 1 train)",)
    assert kinds(check(dfew, subset=True)) == ["duplicate"]


def test_a_clip_in_train_and_test_is_found_and_nothing_else(dfew):
    path = list_path(dfew, "train", 2)
    path.write_text(path.read_text() + "3,3\n")
    report = check(dfew, subset=True)
    assert only(report, "leak").names == ("00003 (fold 2)",)


def test_two_labels_of_one_clip_are_found_and_nothing_else(dfew):
    path = list_path(dfew, "test", 2)
    path.write_text(path.read_text().replace("3,3\n", "3,4\n"))
    found = only(check(dfew, subset=True), "label")
    assert found.names == ("00003 (anger and neutral)",)


def test_a_damaged_video_is_found_only_by_deep(tmp_path):
    root = make_mafw(tmp_path, frames=None)
    (root / "data/clips").mkdir(parents=True)
    whole = root / "whole.mp4"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 64))
    for shade in range(FRAMES):
        writer.write(np.full((64, 64, 3), 10 * shade, np.uint8))
    writer.release()
    for number in range(1, 23):
        shutil.copy(whole, root / f"data/clips/{number:05d}.mp4")
    (root / "data/clips/00004.mp4").write_bytes(b"no video")
    config = CheckConfig(dataset="mafw", root=root, subset=True)
    assert check_data.run(config, LogProgress()).is_clean
    report = check_data.run(replace(config, deep=True), LogProgress())
    assert only(report, "unreadable").names[0].startswith("00004 (")
    assert report.frames_per_clip == (FRAMES, FRAMES, FRAMES)


@pytest.mark.parametrize("fault", ["cut short", "no picture", "zero bytes"])
def test_an_unreadable_frame_is_found_only_by_deep(dfew, fault):
    path = dfew / CLIPS / "00004" / "00003.jpg"
    content = {"cut short": path.read_bytes()[:-60], "no picture": b"text", "zero bytes": b""}
    path.write_bytes(content[fault])
    assert check(dfew).is_clean
    assert only(check(dfew, deep=True), "unreadable").names == ("00004/00003.jpg",)


def test_other_totals_than_published_are_found(dfew):
    for fold in range(1, 6):
        path = list_path(dfew, "train", fold)
        path.write_text(path.read_text().replace("14,7\n", ""))
        path = list_path(dfew, "test", fold)
        path.write_text(path.read_text().replace("14,7\n", ""))
    report = check(dfew)
    assert kinds(report) == ["clips", "classes", "folds"]
    assert report.findings[1].names == ("fear: 1, published 2",)
    assert check(dfew, subset=True).is_clean


def test_a_fold_without_lists_is_found_and_the_others_are_checked(dfew):
    list_path(dfew, "test", 4).unlink()
    report = check(dfew)
    assert only(report, "lists").message.startswith("DFEW: no test list of fold 4")
    assert len(report.fold_sizes) == 4


def test_frame_counts_that_differ_from_a_list_are_found_with_a_guess(dfew, tmp_path):
    rows = [f"/far/{CLIPS}/{n:05d} {FRAMES + (n < 4)} {(n - 1) % 7}" for n in range(1, 15)]
    (tmp_path / "list.txt").write_text("\n".join(rows))
    config = CheckConfig(dataset=str(tmp_path / "list.txt"), root=dfew, label_order="dfer-clip")
    found = only(check_data.run(config, LogProgress()), "count")
    assert found.count == 3
    assert found.names[0] == "00001 (18, listed 19)"
    assert found.guess == "each has -1 against its list: the frames were extracted in another way"


def test_a_list_made_after_padding_is_recognised(dfew, tmp_path):
    shutil.rmtree(dfew / CLIPS / "00004")
    write_frames(dfew / CLIPS / "00004", count=11)
    rows = [f"{CLIPS}/{n:05d} {16 if n == 4 else FRAMES} {(n - 1) % 7}" for n in range(1, 15)]
    (tmp_path / "list.txt").write_text("\n".join(rows))
    config = CheckConfig(dataset=str(tmp_path / "list.txt"), root=dfew, label_order="dfer-clip")
    report = check_data.run(config, LogProgress())
    assert kinds(report) == ["short", "count"]
    assert "padded to 16 on disk" in report.findings[1].guess


def boxes_of(side):
    return lambda picture: np.array([[10.0, 10.0, 10.0 + side, 10.0 + side]])


def test_small_faces_are_said_to_be_whole_frames():
    pictures = [np.zeros((200, 300, 3), np.uint8)] * 10
    findings, seen = check_crops(pictures, boxes_of(40))
    assert (findings[0].kind, seen) == ("whole-frames", 10)
    assert "these look like whole frames, not face crops" in findings[0].guess


def test_faces_that_fill_the_picture_are_crops():
    pictures = [np.zeros((200, 200, 3), np.uint8)] * 10
    assert check_crops(pictures, boxes_of(120)) == ([], 10)


def test_pictures_without_faces_say_nothing():
    pictures = [np.zeros((200, 200, 3), np.uint8)] * 10
    assert check_crops(pictures, lambda picture: np.zeros((0, 4))) == ([], 0)


def photographs():
    """(picture, annotated face boxes as x, y, width, height) of real photographs."""
    folder = Path(__file__).parents[1].parent / "shared" / "media" / "faces_with_boxes"
    if not folder.is_dir():
        pytest.skip("needs ../shared/media")
    for listing in ("testing.xml", "training.xml"):
        for image in ElementTree.parse(folder / listing).iter("image"):
            boxes = [
                [int(box.get(side)) for side in ("left", "top", "width", "height")]
                for box in image.iter("box")
            ]
            yield cv2.imread(str(folder / image.get("file"))), boxes


def replace_pictures(root, pictures):
    """Put one picture 16 times into each of the first clips of DFEW."""
    for number, picture in enumerate(pictures[:14], start=1):
        folder = root / CLIPS / f"{number:05d}"
        shutil.rmtree(folder)
        folder.mkdir()
        for frame in range(16):
            cv2.imwrite(str(folder / f"{frame}.jpg"), picture)


@pytest.mark.media
def test_whole_frames_of_real_faces_are_recognised_by_the_detector(dfew):
    pictures = [picture for picture, _ in photographs()]
    replace_pictures(dfew, pictures * 3)
    found = only(check(dfew), "whole-frames")
    assert "these look like whole frames, not face crops" in found.guess


@pytest.mark.media
def test_crops_of_real_faces_are_not_taken_for_whole_frames(dfew):
    crops = []
    for picture, boxes in photographs():
        for left, top, width, height in boxes:
            margin = width // 4
            rows = slice(max(0, top - margin), top + height + margin)
            crop = picture[rows, max(0, left - margin) : left + width + margin]
            crops.append(cv2.resize(crop, (224, 224)))
    replace_pictures(dfew, crops)
    report = check(dfew)
    assert report.pictures_with_face >= 8
    assert report.findings == ()


def test_a_face_store_is_checked_against_its_own_rows(tmp_path):
    store = make_store(tmp_path)
    (store / "frames/s0-0/00001.jpg").unlink()
    report = check_data.run(CheckConfig(dataset=str(store)), LogProgress())
    assert only(report, "count").names == (f"s0-0 ({FRAMES - 1}, listed {FRAMES})",)


def test_an_unlabelled_face_store_is_clean_but_says_so(tmp_path):
    store = make_store(tmp_path, labelled=False)
    report = check_data.run(CheckConfig(dataset=str(store)), LogProgress())
    assert report.is_clean
    assert kinds(report) == ["unlabelled"]


def test_a_check_does_not_need_subjects(tmp_path):
    store = make_store(tmp_path)
    rows = [{**row, "subject": None} for row in read_rows(store / "clips.jsonl")]
    write_rows(store / "clips.jsonl", rows)
    assert check_data.run(CheckConfig(dataset=str(store)), LogProgress()).is_clean


def test_command_exits_with_0_on_a_clean_copy(dfew, capsys):
    assert run(["data", "check", "dfew", "--root", str(dfew)]) == 0
    assert "clean" in capsys.readouterr().out


def test_command_exits_with_3_on_findings_and_prints_the_guess(dfew, capsys):
    for number in range(11, 15):
        shutil.rmtree(dfew / CLIPS / f"{number:05d}")
    assert run(["data", "check", "dfew", "--root", str(dfew)]) == 3
    out = capsys.readouterr().out
    assert "FAULT missing: 4 clips are not in Clip/clip_224x224" in out
    assert "perhaps: everything after 00010 is missing" in out


def test_command_prints_json(dfew, capsys):
    assert run(["data", "check", "dfew", "--root", str(dfew), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "dfer.data_check/1"
    assert report["is_clean"] is True
    assert report["label_counts"]["fear"] == 2


def test_command_names_a_missing_root(capsys, tmp_path):
    assert run(["data", "check", "dfew", "--root", str(tmp_path / "none")]) == 3
    assert "error: no folder" in capsys.readouterr().err


@pytest.mark.parametrize("dataset", ["ferv39k", "mafw"])
def test_miniatures_of_the_other_benchmarks_differ_only_in_size(dataset, tmp_path, capsys):
    {"ferv39k": make_ferv39k, "mafw": make_mafw}[dataset](tmp_path)
    assert run(["data", "check", dataset, "--root", str(tmp_path), "--subset", "--deep"]) == 0
    assert run(["data", "check", dataset, "--root", str(tmp_path), "--json"]) == 3
    report = json.loads(capsys.readouterr().out.split("\n{", 1)[1].join(["{", ""]))
    assert [finding["kind"] for finding in report["findings"]] == ["clips", "classes", "folds"]
