"""`--identities`: pieces of one person's track, and one number or name across all videos."""

import json
import logging
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_videos import write_drawn_video
from toy_model import write_toy_checkpoint
from toy_recogniser import BLUE, GREEN, RED, SquareDetector, squares, write_toy_recogniser

from dfercli.artifacts.face_store import frame_paths, read_clips, read_dataset, read_track
from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.store_writing import read_records
from dfercli.cli.app import run as dfer
from dfercli.config import PreprocessConfig
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.faces.identity import people_among
from dfercli.faces.recogniser import FaceRecogniser
from dfercli.prediction import people as predicted_people
from dfercli.prediction import run as predict_stage
from dfercli.preprocessing import face_clips, merge, people, source_worker
from dfercli.preprocessing import run as preprocess_stage
from dfercli.progress import LogProgress
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.write import write_video

FPS = 10


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    return write_toy_recogniser(tmp_path_factory.mktemp("toy") / "toy.onnx")


@pytest.fixture(autouse=True)
def square_detector(monkeypatch):
    for stage in (source_worker, preprocess_stage, people):
        monkeypatch.setattr(stage, "build_detector", lambda choice: SquareDetector())


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A: red, away for four seconds, then back, and blue all the time. B: blue, and green."""
    folder = tmp_path_factory.mktemp("videos")

    def first(t):
        red = [(20, 40, 80, RED)] if t < 1.5 or t >= 5.5 else []
        return squares(*red, (200, 60, 70, BLUE))

    def second(t):
        return squares((100, 50, 90, BLUE), (220, 50, 60, GREEN))

    for name, seconds, picture in (("a.mp4", 7, first), ("b.mp4", 1.5, second)):
        frames = (picture(number / FPS) for number in range(round(FPS * seconds)))
        write_video(folder / name, frames, FPS, crf=10)
    return folder


def preprocess(source, out, recogniser, **changes):
    config = PreprocessConfig(
        sources=(str(source),),
        out=out,
        detector="yunet",
        detector_weights=recogniser,  # any file: the detector is replaced
        identity_weights=recogniser,
        min_face=40,
        workers=0,
    )
    return preprocess_stage.run(replace(config, **changes), LogProgress())


def test_without_identities_a_face_that_was_away_for_long_is_two_tracks(
    videos, tmp_path, recogniser
):
    result = preprocess(
        videos / "a.mp4", tmp_path, recogniser, identities="off", identity_weights=None
    )
    assert result.num_clips == 3
    assert "person" not in result.clips[0].to_row()
    ((_, record),) = read_records(tmp_path)
    assert record.portraits == ()
    assert "identities" not in read_dataset(tmp_path)["settings"]


@pytest.mark.parametrize("waiting_bytes", [None, 0])
def test_pieces_of_one_person_are_one_track_with_a_gap(
    videos, tmp_path, recogniser, monkeypatch, waiting_bytes
):
    if waiting_bytes is not None:  # the crops are cut in a second reading
        monkeypatch.setattr(face_clips, "WAITING_BYTES", waiting_bytes)
    result = preprocess(videos / "a.mp4", tmp_path, recogniser, identities="video")
    red, blue = sorted(result.clips, key=lambda clip: clip.num_frames)
    assert (red.num_frames, blue.num_frames) == (30, 70)
    track = read_track(tmp_path, red.clip_id)
    assert track.frame_index.tolist() == [*range(15), *range(55, 70)]
    assert (np.diff(track.pts_seconds) > 0).all()
    assert np.abs(track.box_xyxy_px - [20, 40, 100, 120]).max() < 3
    crops = [cv2.imread(str(path)) for path in frame_paths(tmp_path, red)]
    assert np.ptp([crop[112, 112, 2] for crop in crops]) < 12
    ((_, record),) = read_records(tmp_path)
    assert f"face {red.track} was joined from 2 pieces by its look" in record.remarks
    assert not any("more face" in remark for remark in record.remarks)
    assert {len(portrait) for portrait in record.portraits} == {128}
    assert red.person is None


def test_pieces_that_are_too_short_alone_count_together(videos, tmp_path, recogniser):
    kept = preprocess(videos / "a.mp4", tmp_path, recogniser, identities="video", min_seconds=2.0)
    assert sorted(clip.num_frames for clip in kept.clips) == [30, 70]


def test_a_person_has_one_number_in_all_videos_and_keeps_it_when_stores_merge(
    videos, tmp_path, recogniser, caplog
):
    with caplog.at_level(logging.WARNING):
        result = preprocess(videos, tmp_path / "both", recogniser, identities="all")
    assert sum("ask the people who are shown" in line for line in caplog.messages) == 1
    rows = read_clips(tmp_path / "both")
    assert {row.clip_id: row.person for row in rows} == {
        clip.clip_id: clip.person for clip in result.clips
    }
    by_colour = {}
    for row in rows:
        crop = cv2.imread(str(frame_paths(tmp_path / "both", row)[0]), cv2.IMREAD_COLOR_RGB)
        by_colour.setdefault(int(crop[112, 112].argmax()), set()).add(row.person)
    assert by_colour == {0: {"1"}, 2: {"2"}, 1: {"3"}}
    assert read_dataset(tmp_path / "both")["settings"]["identities"] == "all"
    for name in ("a.mp4", "b.mp4"):
        preprocess(videos / name, tmp_path / name, recogniser, identities="all")
    out = tmp_path / "merged"
    merge.run((tmp_path / "a.mp4", tmp_path / "b.mp4"), out, LogProgress())
    assert sorted(row.person for row in read_clips(out)) == ["1", "2", "2", "3"]


def test_a_second_run_adds_to_the_numbers_and_another_way_is_refused(videos, tmp_path, recogniser):
    preprocess(videos / "a.mp4", tmp_path, recogniser, identities="all")
    result = preprocess(videos, tmp_path, recogniser, identities="all")
    assert result.num_skipped == 1
    assert sorted(clip.person for clip in result.clips) == ["1", "2", "2", "3"]
    with pytest.raises(ConfigError, match="identities"):
        preprocess(videos, tmp_path, recogniser, identities="off", identity_weights=None)


def test_pictures_give_names(videos, tmp_path, recogniser):
    folder = tmp_path / "people"
    (folder / "Bo").mkdir(parents=True)
    for path, colour in ((folder / "Anna.png", RED), (folder / "Bo" / "1.png", BLUE)):
        cv2.imwrite(str(path), squares((40, 40, 90, colour))[..., ::-1])
    result = preprocess(videos, tmp_path / "faces", recogniser, identities="all", people=folder)
    assert sorted(clip.person for clip in result.clips) == ["1", "Anna", "Bo", "Bo"]
    cv2.imwrite(str(folder / "nobody.png"), squares())
    with pytest.raises(DataError, match=r"nobody\.png: no face found"):
        preprocess(videos, tmp_path / "x", recogniser, identities="all", people=folder)
    with pytest.raises(DataError, match=r"holds no NAME\.jpg"):
        preprocess(videos, tmp_path / "x", recogniser, identities="all", people=videos)
    with pytest.raises(ConfigError, match="--people goes with --identities all, got video"):
        preprocess(videos, tmp_path / "x", recogniser, identities="video", people=folder)


def test_predictions_tables_and_pages_carry_the_person(
    videos, tmp_path, recogniser, monkeypatch, capsys
):
    checkpoint = write_toy_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "people").mkdir()
    cv2.imwrite(str(tmp_path / "people" / "Anna.png"), squares((40, 40, 90, RED))[..., ::-1])
    asked = (
        *("--identities", "all", "--identity-weights", recogniser, "--min-face", 40),
        *("--people", tmp_path / "people", "--detector", "yunet", "--workers", 0),
        *("--detector-weights", recogniser, "--checkpoint", checkpoint),
    )
    out, page = tmp_path / "rows.jsonl", tmp_path / "page.html"

    def predict(*more, code=0):
        assert dfer(["predict", *map(str, (*more, *asked))]) == code
        return capsys.readouterr()

    said = predict(videos, "--out", out, "--html", page)
    rows = list(read_rows(out))
    named = {(row["source"][-5:], row["person"]) for row in rows}
    assert named == {("a.mp4", "Anna"), ("a.mp4", "1"), ("b.mp4", "1"), ("b.mp4", "2")}
    anna = [row["start_seconds"] for row in rows if row["person"] == "Anna"]
    assert min(anna) < 1
    assert max(anna) > 5  # both pieces, which are one track
    assert {row["track"] for row in rows if row["person"] == "Anna"} == {0}
    assert "0 (Anna)" in said.out
    assert "biometric" in said.err.replace("\n", " ")
    assert re.search(r'"person": ?"Anna"', page.read_text())
    predict(videos, "--out", tmp_path / "rows.csv", "--quiet")
    assert "track,person,start_seconds" in (tmp_path / "rows.csv").read_text()
    shutil.rmtree(tmp_path / "people")
    # A store with portraits needs no detector; its numbers stay unless new ones are asked for.
    store = tmp_path / "faces"
    preprocess(videos, store, recogniser, identities="all")
    assert dfer(["predict", str(store), "--checkpoint", str(checkpoint), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {track["person"] for video in found["videos"] for track in video["tracks"]} == {
        *("1", "2", "3")
    }


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--identity-weights", "x"), 2, "--identity-weights goes with --identities"),
        (("--identities", "video", "--detector", "haar"), 2, "needs the five points of yunet"),
        (("--identities", "all", "--identity-weights", "none.onnx"), 4, "none.onnx"),
        (("--identities", "all"), 4, "put the file at"),
        (("--identities", "some"), 2, "some"),
    ],
)
def test_unusable_options_are_refused(
    videos, tmp_path, recogniser, capsys, monkeypatch, options, code, message
):
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DFER_OFFLINE", "1")
    detector = () if "--detector" in options else ("--detector-weights", str(recogniser))
    arguments = ["preprocess", str(videos), "--out", str(tmp_path / "faces"), *detector, *options]
    assert dfer(arguments) == code
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "faces" / "dataset.json").exists()


def test_a_file_that_is_not_such_a_network_is_refused(tmp_path, recogniser):
    path = tmp_path / "w.onnx"
    path.write_bytes(recogniser.read_bytes()[:-2000])
    with pytest.raises(ArtifactError):
        FaceRecogniser(path)
    with pytest.raises(ArtifactError, match="cannot read"):
        FaceRecogniser(tmp_path)


@pytest.mark.parametrize(
    ("identities", "code", "reason"),
    [("all", 3, "nowhere: No such file"), ("video", 2, "--people goes with --identities all")],
)
@pytest.mark.parametrize("command", ["predict", "preprocess"])
def test_people_are_checked_before_anything_is_fetched(
    command, identities, code, reason, tmp_path, monkeypatch, capsys
):
    def fetch(*_, **__):
        raise AssertionError("fetched")

    monkeypatch.setattr(predict_stage, "choose_model", fetch)
    monkeypatch.setattr(preprocess_stage, "find_detector", fetch)
    video = write_drawn_video(tmp_path / "face.mp4")
    options = ["--identities", identities, "--people", str(tmp_path / "nowhere")]
    out = tmp_path / "out"
    assert dfer([command, str(video), "--out", str(out), *options, "--quiet"]) == code
    assert reason in capsys.readouterr().err
    assert not out.exists()


def test_a_camera_and_people_do_not_go_together(capsys):
    assert dfer(["predict", "--camera", "99", "--identities", "video"]) == 2
    assert "--camera does not go with --identities" in capsys.readouterr().err


def test_faces_in_one_frame_are_never_one_person_however_alike():
    same = np.float32([1, 0])
    apart = np.zeros((4, 4), bool)
    apart[0, 1] = apart[1, 0] = True
    groups = people_among([same, same, np.float32([0, 1]), None], apart)
    assert groups == [0, 1, 2, 3]
    apart[:] = False
    assert people_among([same, same, np.float32([0, 1]), None], apart) == [0, 0, 1, 2]
    assert people_among([], np.zeros((0, 0), bool)) == []


def test_portraits_of_another_network_or_none_stay_separate_people():
    videos = [
        VideoPrediction(name, ("a", "b"), (), portraits=portraits)
        for name, portraits in (
            ("x.mp4", {0: (1.0, 0.0), 1: ()}),
            ("y.mp4", {0: (1.0, 0.0), 3: (1.0, 0.0, 0.0)}),
        )
    ]
    sources = [(video.source, video.portraits) for video in videos]
    assert people.people_of(sources, {"2": np.float32([0, 1])}) == {
        ("x.mp4", 0): "1",
        ("x.mp4", 1): "3",
        ("y.mp4", 0): "1",
        ("y.mp4", 3): "4",
    }
    assert predicted_people.with_people(videos, {}) == videos
