"""Timelines in the formats of other tools, each opened by a reader of that format."""

import csv
import io
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pympi
import pytest
import srt
import textgrids
import webvtt
from stores import write_store
from toy_model import write_toy_checkpoint

from dfercli.artifacts.timelines import SpanRow
from dfercli.cli.app import run
from dfercli.report.formats import timeline_files
from dfercli.report.formats.tiers import TieredVideo, make_tiers, unique_keys

FORMATS = ("vtt", "srt", "eaf", "textgrid", "boris", "noldus", "label-studio")


def span(track, start, end, label, confidence=0.75, uncertain=False):
    return SpanRow(
        source="v/talk.mp4",
        track=track,
        person=None,
        start_seconds=start,
        end_seconds=end,
        label=label,
        confidence=confidence,
        uncertain=uncertain,
        start_time=None,
        end_time=None,
    )


SPANS = (
    span(0, 0.0, 1.5, "happiness"),
    span(0, 1.5, 2.04, 'so "sad" <& blue>\nfor ever', 0.4, True),
    span(0, 3.0, 4.0, "müde"),
    span(1, 1.0, 3723.5, "neutral", 1.0),
)
VIDEO = TieredVideo(
    source="v/talk.mp4",
    media=Path("/data/v/talk.mp4"),
    key="talk",
    length_seconds=3800.0,
    fps=25.0,
    recorded_at=pd.Timestamp("2026-05-01T23:59:59+00:00").to_pydatetime(),
    model="toy",
    tiers=make_tiers(SPANS, {1: "Anna"}),
    label_set=("happiness", "boredom", "neutral"),
)
ODD = 'so "sad" <& blue> for ever'
EXPECTED = {
    "face 0": [(0.0, 1.5, "happiness"), (1.5, 2.04, f"{ODD} (uncertain)"), (3.0, 4.0, "müde")],
    "Anna": [(1.0, 3723.5, "neutral")],
}


def written(name, folder, *videos):
    """The paths of the files of a format."""
    paths = []
    for file in timeline_files((name,), videos or (VIDEO,)):
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
        paths.append(path)
    return paths


def test_webvtt(tmp_path):
    (path,) = written("vtt", tmp_path)
    captions = webvtt.read(path).captions
    found = [(one.voice, one.start_in_seconds, one.end_in_seconds, one.text) for one in captions]
    assert [entry[0] for entry in found] == ["face 0", "Anna", "face 0", "face 0"]
    assert found[1][1:] == (1, 3723, "neutral 100 %")
    assert captions[1].end == "01:02:03.500"
    raw = path.read_text()
    assert 'so "sad" &lt;&amp; blue&gt; for ever 40 %, uncertain' in raw
    assert raw.count("-->") == 4


def test_srt(tmp_path):
    (path,) = written("srt", tmp_path)
    subtitles = list(srt.parse(path.read_text(encoding="utf-8")))
    assert [one.index for one in subtitles] == [1, 2, 3, 4]
    assert subtitles[1].end.total_seconds() == 3723.5
    assert subtitles[2].content == f"face 0: {ODD} 40 %, uncertain"


def test_elan(tmp_path):
    (path,) = written("eaf", tmp_path)
    document = pympi.Elan.Eaf(path)
    assert list(document.get_tier_names()) == list(EXPECTED)
    for tier, marks in EXPECTED.items():
        found = document.get_annotation_data_for_tier(tier)
        assert [(start / 1000, end / 1000, text) for start, end, text in found] == marks
    (media,) = document.get_linked_files()
    assert media["MEDIA_URL"] == "file:///data/v/talk.mp4"
    assert media["MIME_TYPE"] == "video/mp4"


def test_praat_by_two_readers(tmp_path):
    (path,) = written("textgrid", tmp_path)
    grid = textgrids.TextGrid(path)
    assert list(grid) == list(EXPECTED)
    for intervals in grid.values():
        assert (intervals[0].xmin, intervals[-1].xmax) == (0, 3800)
        assert all(one.xmax == other.xmin for one, other in pairwise(intervals))
    for tier in pympi.Praat.TextGrid(path).get_tiers():
        marks = [one for one in tier.get_all_intervals() if one[2]]
        assert marks == EXPECTED[tier.name]


def test_boris(tmp_path):
    (path,) = written("boris", tmp_path)
    table = pd.read_csv(path, keep_default_na=False)
    assert set(table["Behavior type"]) == {"STATE"}
    assert table["Subject"].tolist() == ["face 0", "Anna", "face 0", "face 0"]
    assert table["Behavior"].tolist() == ["happiness", "neutral", ODD, "müde"]
    assert table["Modifier #1"].tolist() == ["", "", "uncertain", ""]
    assert (table["Stop (s)"] - table["Start (s)"]).round(3).tolist() == [1.5, 3722.5, 0.54, 1.0]
    assert table["Duration (s)"].tolist() == [1.5, 3722.5, 0.54, 1.0]
    assert table["Image index stop"].tolist()[0] == 38
    assert set(table["Media file name"]) == {"/data/v/talk.mp4"}


def test_noldus(tmp_path):
    (path,) = written("noldus", tmp_path)
    table = pd.read_csv(path, keep_default_na=False)
    assert table["Time_Relative_sf"].is_monotonic_increasing
    ongoing = {}
    for row in table.itertuples():
        if row.Event_Type == "State start":
            assert row.Subject not in ongoing  # the previous state has stopped
            ongoing[row.Subject] = (row.Behavior, row.Time_Relative_sf + row.Duration_sf)
        else:
            behaviour, end = ongoing.pop(row.Subject)
            assert (row.Behavior, row.Time_Relative_sf) == (behaviour, pytest.approx(end))
    assert not ongoing
    last = table.iloc[-1]
    assert last["Time_Relative_hmsf"] == "01:02:03.500"
    assert last["Date_Time_Absolute_dmy_hmsf"] == "02/05/2026 01:02:02.500"


def test_label_studio(tmp_path):
    tasks, config = written("label-studio", tmp_path)
    (task,) = json.loads(tasks.read_text())
    root = ElementTree.fromstring(config.read_text())
    controls = {tag.get("name"): tag for tag in root.findall("TimelineLabels")}
    assert list(controls) == ["person-0", "person-1"]
    (video,) = root.findall("Video")
    assert {tag.get("toName") for tag in controls.values()} == {video.get("name")}
    assert video.get("frameRate") == "$fps"
    assert task["data"]["fps"] == 25.0
    (prediction,) = task["predictions"]
    for region in prediction["result"]:
        offered = {label.get("value") for label in controls[region["from_name"]]}
        assert {"boredom", "müde"} <= offered  # a coder may correct to any class
        assert set(region["value"]["timelinelabels"]) <= offered
        (frames,) = region["value"]["ranges"]
        assert 1 <= frames["start"] <= frames["end"]
    first, second = prediction["result"][:2]
    assert (first["value"]["ranges"], first["meta"]) == (
        [{"start": 1, "end": 38}],
        {"text": ["face 0"]},
    )
    assert second["meta"] == {"text": ["face 0", "uncertain"]}


@pytest.mark.parametrize("name", FORMATS)
def test_a_video_without_a_person_is_in_no_file_and_one_without_a_clock_is(name, tmp_path):
    silent = replace(VIDEO, key="silent", tiers=())
    bare = replace(VIDEO, fps=None, recorded_at=None)
    paths = written(name, tmp_path, bare, silent)
    assert not any("silent" in path.name or "silent" in path.read_text() for path in paths)
    assert any("happiness" in path.read_text() for path in paths)


def test_edited_spans_do_not_overlap():
    (tier,) = make_tiers([span(0, 0, 2, "a"), span(0, 1, 3, "b"), span(0, 1.5, 2.5, "c")], {})
    assert [(one.start_seconds, one.end_seconds) for one in tier.marks] == [(0, 2), (2, 3)]


def test_a_span_shorter_than_a_millisecond_is_no_mark():
    (tier,) = make_tiers([span(0, 0, 0.0004, "a"), span(0, 0.0004, 3, "b")], {})
    assert [one.label for one in tier.marks] == ["b"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_person_whose_only_span_has_no_length_is_in_no_file(name, tmp_path):
    spans = [span(0, 1, 1, "fleeting"), span(1, 0, 2, "lasting")]
    (tier,) = tiers = make_tiers(spans, {})
    assert tier.name == "face 1"
    paths = written(name, tmp_path, replace(VIDEO, tiers=tiers))
    assert any("lasting" in path.read_text() for path in paths)
    assert not any("fleeting" in path.read_text() for path in paths)
    assert make_tiers(spans[:1], {}) == ()


def test_a_subtitle_names_the_only_person_who_was_given_a_name(tmp_path):
    def text(spans, names):
        video = replace(VIDEO, tiers=make_tiers(spans, names))
        (path,) = written("srt", tmp_path, video)
        return path.read_text()

    alone = span(0, 0, 2, "joy")
    assert "Anna: joy" in text([alone], {0: "Anna"})
    assert "Ben: joy" in text([replace(alone, person="Ben")], {})
    assert ": joy" not in text([alone], {1: "Anna"})
    assert ": joy" not in text([replace(alone, person="4")], {})


def test_tracks_of_one_person_are_one_tier():
    again = replace(span(2, 5, 6, "c"), person="4")
    spans = [replace(span(0, 0, 2, "a"), person="4"), span(1, 1, 3, "b"), again]
    assert [(tier.name, len(tier.marks)) for tier in make_tiers(spans, {})] == [
        ("person 4", 2),
        ("face 1", 1),
    ]
    tiers = make_tiers(spans, {0: "Anna", 1: "Anna"})
    assert [(tier.name, len(tier.marks)) for tier in tiers] == [("Anna", 2), ("person 4", 1)]


def test_files_are_named_after_their_videos_and_told_apart():
    sources = ("v/happy/a.mp4", "v/sad/a.mp4", "v/sad/b.mp4", "v/sad/b.mov", "../x/.hidden", "/")
    keys = unique_keys(sources)
    assert list(keys.values()) == ["happy-a", "sad-a", "b.mp4", "b.mov", "hidden", "video"]
    assert len(set(unique_keys(["a?.mp4", "a!.mp4"]).values())) == 2


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results of two clips."""
    folder = tmp_path_factory.mktemp("predicted")
    checkpoint = write_toy_checkpoint(folder / "checkpoint")
    rng = np.random.default_rng(0)
    clips = [
        (name, None, None, rng.integers(0, 255, (70, 32, 32, 3)).astype(np.uint8))
        for name in ("one", "two")
    ]
    store = write_store(folder / "faces", clips)
    out = folder / "results"
    arguments = ["predict", store, "--checkpoint", checkpoint, "--out", out, "--quiet"]
    assert run([*map(str, arguments), "--export", "vtt,boris"]) == 0
    return out


def convert(*arguments, code=0):
    assert run(["convert-timeline", *map(str, arguments)]) == code


def test_results_are_exported_at_once_and_afterwards_alike(results, tmp_path, capsys):
    assert {path.name for path in (results / "exports" / "vtt").iterdir()} == {
        *("one.vtt", "two.vtt"),
    }
    convert(results, "--to", ",".join(FORMATS), "--out", tmp_path)
    again = tmp_path / "boris.csv"
    assert again.read_text() == (results / "exports" / "boris.csv").read_text()
    assert (tmp_path / "vtt" / "one.vtt").read_text() == (
        results / "exports" / "vtt" / "one.vtt"
    ).read_text()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4 * 2 + 4
    assert all(Path(line).is_file() for line in printed)


def test_given_names_are_the_names_of_tiers(results, tmp_path):
    source = next(csv.DictReader(io.StringIO((results / "spans.csv").read_text())))["source"]
    names = tmp_path / "names.csv"
    names.write_text(f"source,track,person,label\n{source},0,Anna,joy\n{source},1,,joy\n")
    convert(results, "--to", "eaf", "--out", tmp_path, "--names", names)
    assert list(pympi.Elan.Eaf(tmp_path / "eaf" / "one.eaf").get_tier_names()) == ["Anna"]
    assert list(pympi.Elan.Eaf(tmp_path / "eaf" / "two.eaf").get_tier_names()) == ["face 0"]
    names.write_text("source,track,person\na,first,Anna\n")
    convert(results, "--to", "srt", "--out", tmp_path, "--names", names, code=3)


def test_an_existing_file_is_replaced_only_with_overwrite(results, tmp_path, capsys):
    convert(results, "--to", "srt", "--out", tmp_path)
    (tmp_path / "srt" / "two.srt").write_text("edited")
    convert(results, "--to", "srt", "--out", tmp_path, code=2)
    assert "one.srt exists, as does 1 more\n" in capsys.readouterr().err
    (tmp_path / "srt" / "one.srt").unlink()
    convert(results, "--to", "srt", "--out", tmp_path, code=2)
    assert "two.srt exists\n" in capsys.readouterr().err
    assert (tmp_path / "srt" / "two.srt").read_text() == "edited"
    convert(results, "--to", "srt", "--out", tmp_path, "--overwrite")
    assert (tmp_path / "srt" / "two.srt").read_text() != "edited"


def test_names_match_by_the_end_of_a_path_and_unmatched_ones_are_reported(
    results, tmp_path, capsys
):
    source = next(csv.DictReader(io.StringIO((results / "spans.csv").read_text())))["source"]
    names = tmp_path / "names.csv"
    rows = (f"{Path(source).name},0,Anna", f"{source},7,Ben", "nowhere.mp4,0,Carla", f"{source},8,")
    names.write_text("\n".join(("source,track,person", *rows)) + "\n")
    convert(results, "--to", "eaf", "--out", tmp_path, "--names", names)
    assert list(pympi.Elan.Eaf(tmp_path / "eaf" / "one.eaf").get_tier_names()) == ["Anna"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"{names}: 2 of 3 names match nobody: line 3 ({source}, face 7: Ben), "
        "line 4 (nowhere.mp4, face 0: Carla)"
    )


def edited(results, folder, change):
    """A copy of the results with a changed table of spans."""
    copy = folder / "edited"
    shutil.copytree(results, copy)
    spans = pd.read_csv(copy / "spans.csv")
    change(spans)
    spans.to_csv(copy / "spans.csv", index=False)
    return copy


def test_spans_without_length_are_left_out(results, tmp_path):
    def change(spans):
        spans["end_seconds"] = spans["start_seconds"]

    copy = edited(results, tmp_path, change)
    convert(copy, "--to", ",".join(FORMATS), "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "label-studio.json").read_text()) == []


def test_a_span_that_ends_before_it_starts_is_refused_with_its_row(results, tmp_path, capsys):
    def change(spans):
        spans.loc[1, "end_seconds"] = spans.loc[1, "start_seconds"] - 1

    copy = edited(results, tmp_path, change)
    convert(copy, "--to", "label-studio", "--out", tmp_path / "out", code=4)
    assert f"{copy / 'spans.csv'}, line 3: the span ends at -1 s" in capsys.readouterr().err


def test_results_that_cannot_be_converted_are_refused(results, tmp_path, capsys):
    convert(tmp_path, "--to", "srt", code=4)
    assert "is no folder of results" in capsys.readouterr().err
    convert(results, "--to", "docx", code=2)
    assert "vtt, srt, eaf" in capsys.readouterr().err
    arguments = ["predict", results, "--export", "eaf", "--out", tmp_path / "a.csv"]
    assert run(list(map(str, arguments))) == 2
    assert "--export goes into the folder of --out" in capsys.readouterr().err
