"""The note about faces that were left out is true: the option that it names keeps them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from toy_recogniser import BLUE, GREEN, RED, SquareDetector, squares

from dfercli.artifacts.face_store import read_track
from dfercli.artifacts.store_writing import read_records
from dfercli.config import PreprocessConfig
from dfercli.preprocessing import run as preprocess_stage
from dfercli.preprocessing import source_worker
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
