"""Windows over tracks, and the timeline made from them."""

import numpy as np
import pytest

from dfercli.artifacts.face_store import TrackData
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.errors import ConfigError
from dfercli.prediction.windows import check_windows, windows_of
from dfercli.report.timeline import build_timelines, gaps_of, spans_of


def track_at(*times):
    count = len(times)
    return TrackData(
        frame_index=np.arange(count),
        pts_seconds=np.array(times, float),
        box_xyxy_px=np.tile(np.float32([0, 0, 10, 10]), (count, 1)),
        score=np.ones(count, np.float32),
    )


def windows(track, window=2.0, stride=0.5, num_frames=4):
    return list(windows_of(track, window=window, stride=stride, num_frames=num_frames))


def prediction(track, start, end, *probabilities):
    best = int(np.argmax(probabilities))
    return WindowPrediction(
        "a.mp4", track, start, end, "ab"[best], probabilities[best], False, probabilities, (0,) * 4
    )


def test_windows_slide_and_the_last_one_ends_with_the_track():
    found = windows(track_at(*np.arange(0, 3.2, 0.04)))
    assert [round(w.start_seconds, 2) for w in found] == [0.0, 0.52, 1.0, 1.2]
    assert found[-1].end_seconds == pytest.approx(3.2)
    assert all(w.end_seconds - w.start_seconds <= 2.0 + 0.04 for w in found)


def test_a_short_track_is_one_window_and_so_is_a_single_frame():
    assert len(windows(track_at(*np.arange(0, 1, 0.04)))) == 1
    (still,) = windows(track_at(5.0))
    assert still.frames.tolist() == [0, 0, 0, 0]
    assert still.end_seconds > still.start_seconds == 5.0


def test_no_window_spans_a_gap():
    before, after = np.arange(0, 1.5, 0.04), np.arange(4, 5.5, 0.04)
    found = windows(track_at(*before, *after))
    assert len(found) == 2
    assert found[0].end_seconds < 1.6
    assert found[1].start_seconds == 4
    assert found[1].frames.min() >= len(before) > found[0].frames.max()


@pytest.mark.parametrize(
    ("interval", "gap", "windows_seen"),
    [(0.04, 0.24, 1), (0.04, 0.26, 2), (0.2, 0.49, 1), (0.2, 0.51, 2)],
)
def test_a_gap_is_a_quarter_of_a_second_or_two_and_a_half_frames(interval, gap, windows_seen):
    before = np.arange(10) * interval
    after = before[-1] + gap + np.arange(10) * interval
    assert len(windows(track_at(*before, *after), window=10.0)) == windows_seen


def test_frames_of_a_window_are_the_published_test_sampling():
    (found,) = windows(track_at(*np.arange(0, 0.8, 0.1)))
    assert found.frames.tolist() == [1, 3, 5, 7]


def test_a_stride_that_skips_time_is_refused():
    with pytest.raises(ConfigError, match="skipped"):
        check_windows(1.0, 2.0)


def test_overlapping_windows_are_averaged_where_they_overlap():
    rows = [prediction(0, 0.0, 2.0, 1.0, 0.0), prediction(0, 1.0, 3.0, 0.4, 0.6)]
    (timeline,) = build_timelines(rows)
    assert timeline.edges_seconds.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(timeline.probabilities[:, 0], [1.0, 0.7, 0.4])
    np.testing.assert_allclose(timeline.mean(), [0.7, 0.3])
    assert [(s.start_seconds, s.end_seconds) for s in spans_of(timeline)] == [(0, 2), (2, 3)]


def test_time_without_a_face_belongs_to_no_span_and_to_no_mean():
    rows = [prediction(0, 1.0, 2.0, 1.0, 0.0), prediction(0, 5.0, 8.0, 1.0, 0.0)]
    (timeline,) = build_timelines(rows)
    assert timeline.seen_seconds == 4
    assert timeline.at(3.0) is None
    assert timeline.at(6.0) is not None
    assert len(spans_of(timeline)) == 2
    assert gaps_of(rows, 0.0, 10.0) == [(0.0, 1.0), (2.0, 5.0), (8.0, 10.0)]
