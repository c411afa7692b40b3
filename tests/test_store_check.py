"""What `dfer data check` finds within a face store."""

import shutil

import numpy as np
import pytest
from face_parts import store_with_parts

from dfercli.artifacts.face_parts import write_landmarks
from dfercli.artifacts.face_store import read_clips, read_track
from dfercli.artifacts.jsonl import read_rows, write_rows
from dfercli.cli.app import run as dfer
from dfercli.config import CheckConfig
from dfercli.errors import ArtifactError
from dfercli.preprocessing import check_data
from dfercli.progress import LogProgress

CLIP = "sadness-1"


@pytest.fixture
def store(tmp_path):
    return store_with_parts(tmp_path / "faces", clips_per_class=2, frames=16)


def found(store):
    report = check_data.run(CheckConfig(dataset=str(store)), LogProgress())
    return {finding.kind: finding.names for finding in report.findings}


def change_rows(store, change):
    path = store / "clips.jsonl"
    write_rows(path, change(list(read_rows(path))))


def shorten_track(store):
    with np.load(store / "tracks" / f"{CLIP}.npz") as arrays:
        shorter = {name: values[:-1] for name, values in arrays.items()}
    np.savez(store / "tracks" / f"{CLIP}.npz", **shorter)


def rename(store, folder, old, new):
    (store / folder / CLIP / old).rename(store / folder / CLIP / new)


DAMAGES = {
    "record gone": (
        lambda store: (store / "sources" / f"{CLIP}.json").unlink(),
        {"record": (CLIP,)},
    ),
    "record broken": (
        lambda store: (store / "sources" / f"{CLIP}.json").write_text("{"),
        {"broken-record": (f"{CLIP}.json",), "record": (CLIP,)},
    ),
    "row gone": (
        lambda store: change_rows(store, lambda rows: rows[:-1]),
        {
            "row": (CLIP,),
            "orphan": tuple(
                name.format(CLIP)
                for name in (
                    *("frames/{}", "parsing/{}", "tracks/{}.npz", "landmarks/{}.npz"),
                    "captions.jsonl: {}",
                )
            ),
        },
    ),
    "track gone": (
        lambda store: (store / "tracks" / f"{CLIP}.npz").unlink(),
        {"track": (f"{CLIP} (missing or broken)",)},
    ),
    "track is text": (
        lambda store: (store / "tracks" / f"{CLIP}.npz").write_text("garbage" * 9),
        {"track": (f"{CLIP} (missing or broken)",)},
    ),
    "track is of another length": (
        shorten_track,
        {"track": (f"{CLIP} (15 rows, clips.jsonl says 16)",)},
    ),
    "crop of another frame": (
        lambda store: rename(store, "frames", "000003.jpg", "000500.jpg"),
        {"crops": (CLIP,), "parsing": (CLIP,)},
    ),
    "landmarks of another length": (
        lambda store: write_landmarks(store, CLIP, np.zeros((17, 68, 2))),
        {"landmarks": (f"{CLIP} (17 rows of 16)",)},
    ),
    "map of another frame": (
        lambda store: rename(store, "parsing", "000003.png", "000016.png"),
        {"parsing": (CLIP,)},
    ),
    "unknown clip": (
        lambda store: shutil.copytree(store / "frames" / CLIP, store / "frames" / "other"),
        {"orphan": ("frames/other",)},
    ),
}


def test_a_whole_store_is_clean(store):
    assert found(store) == {}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_of_damage_is_found_and_nothing_else(store, damage, capsys):
    break_store, expected = DAMAGES[damage]
    break_store(store)
    assert found(store) == expected
    assert dfer(["data", "check", str(store), "--quiet"]) == 3
    assert f"FAULT {next(iter(expected))}: " in capsys.readouterr().out


@pytest.mark.parametrize("size", [0, 40, -40])
def test_a_track_that_is_cut_short_is_one_line(store, size):
    path = store / "tracks" / f"{read_clips(store)[0].clip_id}.npz"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ArtifactError, match="cannot read"):
        read_track(store, path.stem)
