"""The note about faces that were left out is true: the option that it names keeps them."""

import re
from array import array
from dataclasses import replace

import numpy as np
import pytest
from toy_recogniser import BLUE, GREEN, RED, SquareDetector, squares

from dfercli.artifacts.face_store import read_track
from dfercli.artifacts.store_writing import read_records
from dfercli.config import PreprocessConfig
from dfercli.faces.absence import Absence
from dfercli.preprocessing import run as preprocess_stage
from dfercli.preprocessing import source_worker
from dfercli.preprocessing.gaps import Holes, gaps
from dfercli.preprocessing.growing_tracks import GrowingTrack
from dfercli.progress import LogProgress
from dfercli.video.write import write_video


def preprocess(config, out, **changes):
    result = preprocess_stage.run(replace(config, out=out, **changes), LogProgress())
    ((_, record),) = read_records(out)
    return result, record.remarks


def keeping(remarks):
    """The number of faces that the note counts, and the size that keeps them."""
    (found,) = (
        re.match(r"(\d+) more faces?, the largest \d+ px: --min-face (\d+) keeps", remark)
        for remark in remarks
        if "--min-face" in remark
    )
    return int(found[1]), int(found[2])


def test_the_named_size_keeps_the_small_faces(tmp_path, monkeypatch):
    for stage in (source_worker, preprocess_stage):
        monkeypatch.setattr(stage, "build_detector", lambda choice: SquareDetector())
    drawn = ((20, 40, 90, RED), (140, 60, 41, BLUE), (230, 60, 34, GREEN))
    video = tmp_path / "three.mp4"
    write_video(video, (squares(*drawn) for _ in range(12)), 12, crf=10)
    weights = tmp_path / "any"
    weights.touch()
    config = PreprocessConfig(
        sources=(str(video),), detector="yunet", detector_weights=weights, workers=0
    )
    first, remarks = preprocess(config, tmp_path / "first")
    assert first.num_clips == 1
    count, size = keeping(remarks)
    assert count == 2
    second, remarks = preprocess(config, tmp_path / "second", min_face=size)
    assert (second.num_clips, remarks) == (3, ())


def test_the_named_options_keep_faces_that_are_small_or_seen_briefly(tmp_path, monkeypatch):
    for stage in (source_worker, preprocess_stage):
        monkeypatch.setattr(stage, "build_detector", lambda choice: SquareDetector())
    pictures = [
        ((20, 40, 90, RED), *(((140, 60, 41, BLUE), (230, 60, 80, GREEN)) if 8 < row < 13 else ()))
        for row in range(24)
    ]
    video = tmp_path / "brief.mp4"
    write_video(video, (squares(*drawn) for drawn in pictures), 24, crf=10)
    weights = tmp_path / "any"
    weights.touch()
    config = PreprocessConfig(
        sources=(str(video),), detector="yunet", detector_weights=weights, workers=0
    )
    first, remarks = preprocess(config, tmp_path / "first")
    assert first.num_clips == 1
    brief, both = (re.findall(r"--(min-\S+) (\S+)", remark) for remark in remarks)
    assert [name for name, _ in brief] == ["min-seconds"]
    assert [name for name, _ in both] == ["min-face", "min-seconds"]
    asked = {"min_seconds": float(brief[0][1])}
    assert preprocess(config, tmp_path / "second", **asked)[0].num_clips == 2
    asked = {"min_face": int(both[0][1]), "min_seconds": float(both[1][1])}
    assert preprocess(config, tmp_path / "third", **asked)[0].num_clips == 3


@pytest.mark.media
def test_the_named_size_keeps_the_small_faces_of_a_photograph(tmp_path, shared):
    config = PreprocessConfig(
        sources=(str(shared / "media/images/multi_face.jpg"),),
        detector="yunet",
        detector_weights=shared / "weights/yunet_s_640_640.onnx",
        workers=0,
    )
    every, _ = preprocess(config, tmp_path / "every", min_face=20)
    boxes = [read_track(tmp_path / "every", clip.clip_id).box_xyxy_px[0] for clip in every.clips]
    middle = np.median([max(box[2:] - box[:2]) for box in boxes])
    some, remarks = preprocess(config, tmp_path / "some", min_face=int(middle) + 1)
    count, size = keeping(remarks)
    assert count >= 1
    assert some.num_clips + count == every.num_clips
    again, _ = preprocess(config, tmp_path / "again", min_face=size)
    assert again.num_clips == every.num_clips


def test_where_no_frame_is_the_gap_says_so():
    holes = Holes()
    for seconds in (0.0, 0.1, 0.2, 5.0, 5.1, 5.2):
        holes.passes(seconds)
    assert holes.up_to(5.3) == [(0.2, 5.0)]
    assert holes.up_to(9.0) == [(0.2, 5.0), (5.2, 9.0)]
    track = GrowingTrack()
    track.pts_seconds.extend((0.0, 0.1, 0.2, 5.0, 5.1, 5.2))
    found = gaps({0: track}, [0], [], [], holes.up_to(9.0), (0.0, 5.2), 0.1, 48)
    assert [(row.start_seconds, row.end_seconds, row.reason) for row in found] == [
        (0.2, 5.0, "no frames"),
        (5.2, 9.0, "no frames"),
    ]
    seldom = [(float(at), at + 1.0) for at in range(9)]  # a picture a second hides nothing
    track.pts_seconds[:] = array("d", (0.0, 8.0))
    (row,) = gaps({0: track}, [0], [], [], seldom[:8], (0.0, 8.0), 1.0, 48)
    assert row.reason == "no face found"
    cut = Absence(0, 0.0, None, "cut")
    (row,) = gaps({0: track}, [0], [cut], [], seldom[:8], (0.0, 8.0), 1.0, 48)
    assert row.reason == "scene cut"  # in words that need no manual
