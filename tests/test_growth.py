"""Work grows no faster than clips, sources or frames; these tests count operations."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from operations import growth

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow, TrackData
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.data.check import (
    ClipOnDisk,
    all_clips,
    check_frame_counts,
    check_lists,
    check_presence,
)
from dfercli.data.clips import Clip, Fold
from dfercli.data.folds import read_fold
from dfercli.data.frames import natural_key
from dfercli.data.loading import ClipDataset
from dfercli.data.sampling import split_validation
from dfercli.data.store_folds import read_store_clips, split_by_subject
from dfercli.labels import SEVEN
from dfercli.metrics.calibration import choose_threshold
from dfercli.metrics.rates import evaluate
from dfercli.prediction.annotate import _Track, _TracksInView
from dfercli.prediction.run import _divide
from dfercli.prediction.windows import windows_of
from dfercli.preprocessing.source_labels import label_sources
from dfercli.report.plots import plot_confusion
from dfercli.report.timeline import build_timelines, gaps_of, spans_of
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.sources import Source

LINEAR = 1.25  # quadratic work would be near 4


def made_clips(count):
    return [
        Clip(f"clip-{n}", Path(f"frames/clip-{n}"), SEVEN[n % 7], f"subject-{n // 3}")
        for n in range(count)
    ]


def made_sources(count):
    return [Source(Path(f"/videos/{n}.mp4"), "videos", f"{n}.mp4", "video") for n in range(count)]


def test_the_counter_tells_quadratic_work_from_linear_work():
    slow = growth(lambda count: lambda: [natural_key("9.jpg") for _ in range(count * count)], 10)
    fast = growth(lambda count: lambda: [natural_key("9.jpg") for _ in range(count)], 10)
    assert (slow, fast) == (4, 1)


def test_labels_of_a_table_are_found_once_for_each_source(tmp_path):
    def work(count):
        table = tmp_path / f"{count}.csv"
        rows = "".join(f"{n}.mp4,anger\n" for n in range(count))
        table.write_text(f"source,label\n{rows}")
        return lambda: label_sources(made_sources(count), table, ())

    assert growth(work) < LINEAR


def test_a_resumed_prediction_looks_at_each_source_once():
    def work(count):
        sources = made_sources(count)
        done = {str(s.path): VideoPrediction(str(s.path), SEVEN, ()) for s in sources[::2]}
        return lambda: _divide(done, sources, Path("/store"))

    assert growth(work) < LINEAR
    kept, left = _divide({"/videos/1.mp4": "found"}, made_sources(3), Path("/store"))
    assert kept == ["found"]
    assert [source.name for source in left] == ["0.mp4", "2.mp4"]


def test_a_threshold_is_chosen_without_comparing_every_pair_of_clips():
    rng = np.random.default_rng(0)

    def compare_all(probabilities, targets):
        confidence = probabilities.max(axis=1)
        right = probabilities.argmax(axis=1) == targets
        candidates = np.unique(confidence)
        faults = [(right == (confidence < at)).sum() for at in candidates]
        return candidates[int(np.argmin(faults))]

    for count in (1, 2, 7, 60):
        probabilities = rng.dirichlet(np.ones(4), count).round(1)  # with ties
        targets = rng.integers(4, size=count)
        assert choose_threshold(probabilities, targets) == compare_all(probabilities, targets)

    def work(count):
        probabilities, targets = rng.dirichlet(np.ones(4), count), rng.integers(4, size=count)
        return lambda: choose_threshold(probabilities, targets)

    assert growth(work) == pytest.approx(1 / 4)  # no loop over clips at all


def made_track(number, first):
    return _Track(number, np.arange(first, first + 10), np.zeros((10, 4), np.float32), 1)


def test_a_frame_is_compared_only_with_the_tracks_of_its_time():
    def work(count):
        tracks = _TracksInView([made_track(number, 10 * number) for number in range(count)])
        return lambda: [tracks.at(index) for index in range(10 * count)]

    assert growth(work) < LINEAR
    tracks = _TracksInView([made_track(0, 0), made_track(1, 5), made_track(2, 30)])
    shown = [[track.number for track in tracks.at(index)] for index in (0, 5, 9, 10, 14, 15, 35)]
    assert shown == [[0], [0, 1], [0, 1], [1], [1], [], [2]]


def test_checks_of_a_data_set_look_at_each_clip_a_few_times():
    def work(count):
        clips = tuple(made_clips(count))
        fold = Fold("x", 1, SEVEN, clips[: count // 2], clips[count // 2 :], False, "frames")
        on_disk = {clip.clip_id: ClipOnDisk(True, 20, False) for clip in clips}

        def check():
            found = all_clips([fold, fold])
            check_lists([fold, fold])
            check_presence(found, on_disk, "frames")
            check_frame_counts(found, on_disk, None)

        return check

    assert growth(work) < LINEAR


def test_a_face_store_is_read_and_divided_in_linear_time(tmp_path):
    def work(count):
        store = tmp_path / str(count)
        rows = [
            ClipRow(c.clip_id, f"{c.clip_id}.mp4", 0, c.label, c.subject, 2, 25.0, 0.0, 1.0, "haar")
            for c in made_clips(count)
        ]
        for row in rows:
            (store / "frames" / row.clip_id).mkdir(parents=True)
        write_rows(store / "clips.jsonl", [row.to_row() for row in rows])
        write_json(store / "dataset.json", {"schema": STORE_SCHEMA, "label_set": list(SEVEN)})

        def read():
            label_set, clips = read_store_clips(store)
            split_by_subject(clips, 3)
            split_validation([c.subject for c in clips], [c.label for c in clips], 0.1, 0)
            fold = read_fold(str(store))
            ClipDataset(fold.train, label_set, num_frames=2, image_size=8)

        return read

    assert growth(work) < LINEAR


def test_windows_and_timelines_grow_with_the_length_of_a_video():
    def work(count):
        track = TrackData(
            frame_index=np.arange(10 * count),
            pts_seconds=np.arange(10 * count) / 10,
            box_xyxy_px=np.zeros((10 * count, 4), np.float32),
            score=np.ones(10 * count, np.float32),
        )

        def follow():
            found = [
                WindowPrediction(
                    *("a", 0, window.start_seconds, window.end_seconds, "anger", 0.9, False),
                    *((0.1, 0.9), (0.0, 0.0, 1.0, 1.0)),
                )
                for window in windows_of(track, window=2.0, stride=1.0, num_frames=4)
            ]
            gaps_of(found, 0.0, float(count))
            return [spans_of(timeline) for timeline in build_timelines(found)]

        return follow

    assert growth(work) < LINEAR


def test_the_picture_of_a_confusion_matrix_stops_growing(tmp_path):
    def pixels(classes):
        names = [f"class {number}" for number in range(classes)]
        found = evaluate(np.eye(classes), np.arange(classes), names, bootstrap_samples=1)
        plot_confusion(found, tmp_path / f"{classes}.png", "made-up clips")
        return cv2.imread(str(tmp_path / f"{classes}.png")).size

    assert pixels(43) <= pixels(15)


def test_the_table_of_costs_tells_what_grows_faster_than_linearly(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    from scaling import Cost, judged

    linear = [Cost(size, 0.1 * size, 500 + size, 500) for size in (10, 100, 1000)]
    assert judged(linear) == (["1.00 1.00", "- 1.00"], "yes")  # 10 MB are lost in the noise
    square = [Cost(size, 0.01 * size**2, 500, 500) for size in (10, 100, 1000)]
    assert judged(square) == (["2.00 2.00", "- -"], "no: 2.00")
