"""Which faces of a source become clips: at low frame rates, by size and by time."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_videos import write_drawn_video

from dfercli.artifacts.face_store import read_track
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress

FAST = PreprocessConfig(detector="haar", min_face=80, workers=0)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Three seconds of one drawn face, 12 frames a second."""
    return write_drawn_video(tmp_path_factory.mktemp("drawn") / "face.mp4")


def preprocess(source, out, **changes):
    return run(replace(FAST, sources=(str(source),), out=out, **changes), LogProgress())


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        ({"fps": 1}, [0, 12, 24]),
        ({"every": 17}, [0, 17, 34]),
        ({"fps": 1, "detect_every": 1.0}, []),
    ],
)
def test_at_few_frames_a_second_one_face_is_still_one_clip(video, tmp_path, selection, kept):
    result = preprocess(video, tmp_path / "faces", **selection)
    (clip,) = result.clips
    assert result.num_frames == 3
    track = read_track(tmp_path / "faces", clip.clip_id)
    assert track.frame_index.tolist() == (kept or [0, 12, 24])
    assert track.detected.all()


def test_a_given_shortest_time_is_kept_and_the_default_yields_to_short_sources(video, tmp_path):
    short = {"end": 0.4}
    assert len(preprocess(video, tmp_path / "usual", **short).clips) == 1
    assert len(preprocess(video, tmp_path / "met", min_seconds=3.0).clips) == 1
    (failure,) = preprocess(video, tmp_path / "given", **short, min_seconds=0.5).failures
    assert failure.reason == (
        "faces are seen too briefly: of 1 tracks the longest has 0.42 s of the 0.50 s needed "
        "(--min-seconds)"
    )


def test_a_face_just_under_the_smallest_is_reported_with_its_size(video, tmp_path):
    (clip,) = preprocess(video, tmp_path / "faces").clips
    boxes = read_track(tmp_path / "faces", clip.clip_id).box_xyxy_px
    side_px = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1)))
    limit = int(side_px) + 1
    (failure,) = preprocess(video, tmp_path / "none", min_face=limit).failures
    assert failure.reason == (
        f"faces are too small: of 1 tracks the largest has {side_px:.1f} px, --min-face is {limit}"
    )
