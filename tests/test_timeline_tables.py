"""Spans, summaries, the folder of results, and the events of an experiment."""

import json
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest
from drawn_videos import moving_bar, write_drawn_video
from stores import noise_store
from toy_model import LABELS, write_toy_checkpoint

from dfercli.artifacts.predictions import WindowPrediction
from dfercli.artifacts.tables import read_csv_rows, write_table
from dfercli.artifacts.timelines import SPAN_COLUMNS
from dfercli.cli.app import run
from dfercli.errors import ArtifactError, DataError
from dfercli.prediction.clock import read_clock
from dfercli.report.summary import Event, event_rows, span_rows, summary_rows
from dfercli.report.timeline import Span, strongest_seconds
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.probe import probe_video
from dfercli.video.write import write_video


def window(track, start, end, *probabilities, size=10):
    best = int(np.argmax(probabilities))
    box = (0.0, 0.0, float(size), 4.0)
    return WindowPrediction(
        "a.mp4", track, start, end, "ab"[best], probabilities[best], False, probabilities, box
    )


VIDEO = VideoPrediction(
    "a.mp4",
    ("a", "b"),
    (
        window(0, 0.0, 2.0, 0.9, 0.1),
        window(0, 2.0, 3.0, 0.4, 0.6, size=20),
        window(0, 5.0, 6.0, 0.3, 0.7),  # two seconds without a face
        window(1, 1.0, 4.0, 0.8, 0.2),
    ),
    min_confidence=0.65,
    length_seconds=8.0,
    fps=25.0,
    recorded_at=datetime(2026, 5, 1, 8, 0, tzinfo=timezone.utc),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture
def store(tmp_path):
    return noise_store(tmp_path / "faces")


def predict(*arguments, code=0):
    assert run(["predict", *map(str, arguments), "--quiet"]) == code


def test_a_span_has_its_mean_its_doubt_and_its_real_time():
    first, second, third, of_other = span_rows(VIDEO)
    assert (first.label, first.start_seconds, first.end_seconds) == ("a", 0.0, 2.0)
    assert not first.uncertain
    assert (second.label, second.uncertain) == ("b", True)
    assert second.start_time == "2026-05-01T08:00:02.000+00:00"
    assert (third.start_seconds, third.confidence) == (5.0, 0.7)
    assert (of_other.track, of_other.label) == (1, "a")
    assert {row.start_time for row in span_rows(replace(VIDEO, recorded_at=None))} == {None}


def test_the_summary_says_how_long_each_person_shows_what():
    video, person, other = summary_rows(VIDEO)
    assert (person.track, person.seen_seconds, person.num_changes) == (0, 4.0, 1)
    assert dict(person.shares) == {"a": 0.5, "b": 0.5}
    assert person.probabilities["a"] == pytest.approx((2 * 0.9 + 0.4 + 0.3) / 4)
    assert person.uncertain_share == 0.25
    assert (person.strongest_label, person.strongest_seconds) == ("a", 1.0)
    assert person.mean_face_px == pytest.approx((10 + 20 + 10) / 3)
    assert (other.track, other.seen_seconds, other.label) == (1, 3.0, "a")
    assert (video.level, video.num_faces, video.track) == ("video", 2, None)
    assert video.seen_seconds == 5.0  # 0 to 4 and 5 to 6, whoever is seen
    assert video.shares["a"] == pytest.approx(5 / 7)  # of the seen time of all persons
    assert (video.notes, person.notes) == (None, None)
    told = replace(VIDEO, gaps=((4.0, 5.0),), gap_reasons=("scene cut",), remarks=("1 more face",))
    video, person, _ = summary_rows(told)
    assert video.notes == "no face seen from 4.00 to 5.00 s (scene cut); 1 more face"
    assert person.notes is None
    (empty,) = summary_rows(VideoPrediction("b.mp4", ("a", "b"), ()))
    assert (empty.num_faces, empty.seen_seconds, empty.label) == (0, 0.0, None)
    assert dict(empty.shares) == {"a": None, "b": None}


def test_the_strongest_moment_lies_in_a_span_of_its_own_class():
    of_a = (window(0, 0.0, 2.0, 0.9, 0.1), window(0, 0.5, 2.0, 0.9, 0.1))
    best = window(0, 0.8, 2.8, 0.05, 0.95)  # its middle, 1.8 s, lies in the span of a
    found = replace(VIDEO, predictions=(*of_a, best))
    ends = [(span.start_seconds, span.end_seconds) for span in found.expression_spans()]
    assert ends == [(0.0, 2.0), (2.0, 2.8)]
    video, person = summary_rows(found)
    assert (video.strongest_label, video.strongest_seconds) == ("b", pytest.approx(2.4))
    assert person.strongest_seconds == video.strongest_seconds
    outvoted = window(0, 0.8, 1.8, 0.05, 0.95)
    (video, _) = summary_rows(replace(found, predictions=(*of_a, outvoted)))
    assert video.strongest_seconds == pytest.approx(1.3)  # no span of b: the middle
    others = [Span(1, 0.0, 9.0, np.array([0.0, 1.0]))]
    assert strongest_seconds(best, others) == pytest.approx(1.8)  # of another face


def test_an_event_cuts_what_each_person_shows():
    events = [
        Event("a.mp4", "early", 1.5, 2.5),
        Event("a.mp4", "away", 4.2, 4.8),
        Event("other.mp4", "early", 0, 1),
    ]
    one, other, nobody = event_rows(VIDEO, events)
    assert (one.track, one.seen_seconds, dict(one.shares)) == (0, 1.0, {"a": 0.5, "b": 0.5})
    assert one.probabilities["a"] == pytest.approx((0.9 + 0.4) / 2)
    assert (other.track, other.label) == (1, "a")
    assert (nobody.event, nobody.track, nobody.seen_seconds) == ("away", None, 0.0)


def test_an_event_outside_its_video_is_not_one_in_which_nobody_is_seen():
    events = [
        *(Event("a.mp4", "late", 8.0, 9.0), Event("a.mp4", "early", -2.0, 0.0)),
        *(Event("a.mp4", "alone", 7.5, 9.0), Event("a.mp4", "seen", 1.0, 2.0)),
    ]
    known = event_rows(replace(VIDEO, length_is_known=True), events)
    assert [row.outside for row in known] == [True, True, False, False, False]
    assert [row.outside for row in event_rows(VIDEO, events[:2])] == [False, True]


def test_an_event_outside_its_video_is_noted(checkpoint, tmp_path, capsys):
    video = write_drawn_video(tmp_path / "face.mp4")
    clock = tmp_path / "clock.csv"
    clock.write_text("video,name,start,end\n*,film,0,1\n*,questions,600,700\n")
    out = tmp_path / "a.csv"
    options = ("--checkpoint", checkpoint, "--clock", clock, "--out", out)
    predict(video, *options, "--workers", 0, "--detector", "haar")
    printed = capsys.readouterr()
    assert "outside the video: questions in " in printed.err
    (line,) = (line for line in printed.out.splitlines() if "questions" in line)
    assert "outside" in line
    assert "nobody" not in line
    table = pd.read_csv(tmp_path / "a.events.csv")
    assert table["outside"].tolist() == [False, True]


def test_the_frames_in_python_are_the_tables_of_the_command():
    assert list(VIDEO.spans()["label"]) == ["a", "b", "b", "a"]
    summary = VIDEO.summary()
    assert list(summary["level"]) == ["video", "person", "person"]
    assert summary["share_a"][0] == pytest.approx(5 / 7)


def test_a_folder_holds_everything_and_records_the_run(checkpoint, store, tmp_path, capsys):
    out = tmp_path / "results"
    predict(store, "--checkpoint", checkpoint, "--out", out, "--min-confidence", 0.2)
    assert {path.name for path in out.iterdir()} == {
        *("run.json", "windows.csv", "spans.csv", "summary.csv", "page.html"),
    }
    assert f"6 windows, 2 spans in {out}" in capsys.readouterr().out
    record = json.loads((out / "run.json").read_text())
    assert record["schema"] == "dfer.results/1"
    assert record["settings"]["min_confidence"] == record["min_confidence"] == 0.2
    assert record["label_set"] == list(LABELS)
    assert record["model"] == str(checkpoint)
    assert record["versions"]["dfercli"]
    summary = pd.read_csv(out / "summary.csv")
    assert list(summary["level"]) == ["video", "person"] * 2
    assert pd.read_csv(out / "spans.csv")["end_seconds"].tolist() == [2.8, 2.8]


def test_the_next_run_replaces_a_folder_of_results_and_refuses_another_folder(
    checkpoint, store, tmp_path, capsys
):
    out = tmp_path / "results"
    predict(store, "--checkpoint", checkpoint, "--out", out)
    (out / "notes.txt").write_text("kept")
    before = pd.read_csv(out / "windows.csv")
    predict(store, "--checkpoint", checkpoint, "--out", out, "--window", 1)
    assert len(pd.read_csv(out / "windows.csv")) > len(before)
    assert (out / "notes.txt").read_text() == "kept"
    capsys.readouterr()
    predict(store, "--checkpoint", checkpoint, "--out", tmp_path, code=2)
    assert "is a folder of something else: it holds" in capsys.readouterr().err
    predict(store, "--checkpoint", checkpoint, "--out", store, code=2)
    (tmp_path / "plain").write_text("a file")
    predict(store, "--checkpoint", checkpoint, "--out", tmp_path / "plain", code=2)
    assert "is a file and would be a folder" in capsys.readouterr().err
    predict(store, "--checkpoint", checkpoint, "--out", tmp_path / "a.txt", code=2)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_spans_and_summary_are_written_to_their_own_files(checkpoint, store, tmp_path, suffix):
    spans, summary = tmp_path / f"spans{suffix}", tmp_path / f"summary{suffix}"
    predict(store, "--checkpoint", checkpoint, "--spans", spans, "--summary", summary)
    read = {
        ".csv": pd.read_csv,
        ".jsonl": lambda path: pd.read_json(path, lines=True),
        ".parquet": pd.read_parquet,
    }[suffix]
    assert read(spans)["end_seconds"].tolist() == [2.8, 2.8]
    assert read(summary)["num_faces"].tolist() == [1, 1, 1, 1]
    assert set(read(summary).columns) >= {"strongest_seconds", "mean_face_px", "share_sadness"}


def test_a_table_with_another_suffix_is_refused_by_its_option(checkpoint, store, capsys):
    predict(store, "--checkpoint", checkpoint, "--spans", "a.xlsx", code=2)
    assert "--spans takes a name in .jsonl, .csv, .parquet" in capsys.readouterr().err


def test_the_json_on_stdout_holds_spans_and_summary(checkpoint, store, capsys):
    predict(store, "--checkpoint", checkpoint, "--json")
    found = json.loads(capsys.readouterr().out)
    assert [row["end_seconds"] for row in found["spans"]] == [2.8, 2.8]
    assert len(found["summary"]) == 4


def test_events_are_a_table_on_the_screen_and_in_the_folder(checkpoint, store, tmp_path, capsys):
    clock = tmp_path / "events.csv"
    clock.write_text("video,name,start,end\none.mp4,film,0:01,0:02\n*,rest,2,60\n")
    predict(
        *(store, "--checkpoint", checkpoint, "--out", tmp_path / "results"),
        *("--clock", clock, "--clock-offset", 0.5),
    )
    printed = capsys.readouterr().out
    assert "share of that time" in printed
    table = pd.read_csv(tmp_path / "results" / "events.csv")
    assert table["event"].tolist() == ["film", "rest", "rest"]
    assert table["start_seconds"].tolist() == [1.5, 2.5, 2.5]
    assert table["seen_seconds"].tolist() == pytest.approx([1.0, 0.3, 0.3])
    predict(store, "--checkpoint", checkpoint, "--out", tmp_path / "a.csv", "--clock", clock)
    assert (tmp_path / "a.events.csv").is_file()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("video,name,start\na.mp4,x,1\n", "no column end"),
        ("video,name,start,end\n", "no events"),
        ("video,name,start,end\nb.mp4,x,1,2\n", "no video is called 'b.mp4'; the first is"),
        ("video,name,start,end\na.mp4,x,1,2\n", "fits 2 videos"),
        ("video,name,start,end\nv/a.mp4,x,2,1\n", "line 2: x ends at 1, not after 2"),
        ("video,name,start,end\nv/a.mp4,x,soon,2\n", "expected seconds, h:mm:ss or a date"),
        ("video,name,start,end\nv/a.mp4,x,nan,2\n", "expected seconds"),
        ("video,name,start,end\nv/a.mp4,,1,2\n", "line 2: name is empty"),
        ("video,name,start,end,Offset\nv/a.mp4,x,1,2,3\n", "unknown column 'Offset'"),
        ("video,name,start,end,end\nv/a.mp4,x,1,2,3\n", "a column appears twice"),
        ("video,name,start,end\nv/a.mp4,x,1,2,3\n", "line 2: '3' belongs to no column"),
        ("video,name,start,end,\nv/a.mp4,x,1,2,3\n", "line 2: '3' belongs to no column"),
        ("video,name,start,end\nv/a.mp4,x,0:60,2:00\n", "line 2: time: expected minutes and sec"),
        ("video,name,start,end\nv/a.mp4,x,0:75:00,2:00:00\n", "below 60 in h:mm:ss, got '0:75"),
        ("video,name,start,end,offset\nv/a.mp4,x,1,2,soon\n", "offset: expected seconds, got"),
        (
            "video,name,start,end\nv/a.mp4,x,2026-05-01T10:00:00,2026-05-01T10:00:01\n",
            "does not say when it was recorded",
        ),
        ("video,name,start,end\nv/a.mp4,x,2026-05-01T10:00:99,2\n", "not a date and time"),
    ],
)
def test_a_broken_clock_is_refused_with_its_line(tmp_path, rows, reason):
    path = tmp_path / "events.csv"
    path.write_text(rows)
    with pytest.raises(DataError, match=reason):
        read_clock(path, ["/x/v/a.mp4", "/x/w/a.mp4"])


def test_a_broken_clock_ends_the_command_before_work(checkpoint, store, tmp_path, capsys):
    predict(store, "--checkpoint", checkpoint, "--clock", tmp_path / "none.csv", code=3)
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "v.csv").write_text("video,name,start,end\n*,x,0,1\n")
    predict(
        *(store, "--checkpoint", checkpoint, "--clock", tmp_path / "v.csv"),
        *("--spans", tmp_path / "v.csv"),
        code=2,
    )
    assert "would take the place of" in capsys.readouterr().err


def test_real_time_counts_from_the_recording_of_the_video(tmp_path, monkeypatch):
    write_video(tmp_path / "plain.mp4", moving_bar(), 12)
    dated = with_creation_time(tmp_path, "2026-05-01T08:00:00.000000Z")
    assert probe_video(dated).recorded_at == datetime(2026, 5, 1, 8, tzinfo=timezone.utc)
    assert probe_video(dated).fps == pytest.approx(12)
    clock = tmp_path / "events.csv"
    clock.write_text(
        "video,name,start,end,offset\n"
        "dated.mp4,zone,2026-05-01T10:00:01+02:00,2026-05-01T10:00:02.5+02:00,\n"
        "dated.mp4,utc,2026-05-01T08:00:01Z,2026-05-01T08:00:02Z,-1\n"
    )
    zone, utc = read_clock(clock, [str(dated)])
    assert (zone.start_seconds, zone.end_seconds) == (1.0, 2.5)
    assert (utc.start_seconds, utc.end_seconds) == (0.0, 1.0)
    assert probe_video(tmp_path / "plain.mp4").recorded_at is None
    epoch = with_creation_time(tmp_path, "1970-01-01T00:00:00.000000Z")
    assert probe_video(epoch).recorded_at is None  # programs without a clock write it


def with_creation_time(folder, time):
    """A copy of plain.mp4 that says when it was recorded."""
    import av

    path = folder / "dated.mp4"
    with av.open(folder / "plain.mp4") as old, av.open(path, "w") as new:
        new.metadata["creation_time"] = time
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return path


def test_a_table_is_read_back_as_it_was_written(tmp_path):
    video = replace(VIDEO, source='=odd, "name"\n.mp4')
    rows = [{**row.to_row(), "source": video.source} for row in span_rows(video)]
    path = tmp_path / "spans.csv"
    columns = dict(SPAN_COLUMNS)
    write_table(path, ({name: row[name] for name in columns} for row in rows), columns)
    assert [row for _, row in read_csv_rows(path, columns)] == [
        {name: row[name] for name in columns} for row in rows
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("track\n1.5\n", "line 2: track: expected a whole number, got '1.5'"),
        ("other\n1\n", "no column track"),
        ("", "no column track"),
        ('track\n"1\n', "line 1: unexpected end"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path, content, reason):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=reason):
        list(read_csv_rows(path, {"track": int}))
