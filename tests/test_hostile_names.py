"""Strangers' files that name other places: nothing there is read, written or removed."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_videos import write_drawn_video
from stores import bright_and_dark_store

from dfercli.artifacts.atomic import atomic_folder, read_json, write_json
from dfercli.artifacts.captions import CaptionRow, append_caption
from dfercli.artifacts.face_parts import landmarks_path, maps_folder, write_landmarks
from dfercli.artifacts.face_store import read_clips, read_track
from dfercli.artifacts.removing import remove_inside, remove_temporary
from dfercli.artifacts.run_config import dataset_name
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.artifacts.store_writing import preview_paths, read_record
from dfercli.cli.app import run as dfer
from dfercli.errors import ArtifactError, DataError
from dfercli.names import inside, is_plain, plain_name
from dfercli.video.sources import find_sources

HOSTILE = [
    "",
    ".",
    "..",
    "../../precious",
    "a/../../x",
    "/",
    "a\\b",
    "a\0b",
    "a\nb",
    "x" * 300,
    ".x",
]
OPTIONS = ("--detector", "haar", "--min-face", "40", "--workers", "0", "--quiet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video and its face store."""
    folder = tmp_path_factory.mktemp("made")
    write_drawn_video(folder / "face.mp4")
    assert (
        dfer(["preprocess", str(folder / "face.mp4"), "--out", str(folder / "faces"), *OPTIONS])
        == 0
    )
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of it whose video has changed since, next to a folder that must not be touched."""
    shutil.copytree(made, tmp_path / "place")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years of work")
    os.utime(tmp_path / "place" / "face.mp4", (1, 1))
    return tmp_path / "place"


def preprocess_again(place: Path, *options: str) -> int:
    command = ["preprocess", str(place / "face.mp4"), "--out", str(place / "faces")]
    return dfer([*command, *OPTIONS, *options])


def is_untouched(place: Path) -> bool:
    precious = place.parent / "precious"
    return [path.read_text() for path in precious.iterdir()] == ["years of work"]


def only(folder: Path) -> Path:
    (path,) = (path for path in folder.iterdir() if not path.name.startswith("."))
    return path


@pytest.mark.parametrize("clip_id", ["", "..", "../../../precious", "absolute"])
def test_a_record_that_names_another_folder_is_refused(
    clip_id: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if clip_id == "absolute":
        clip_id = str(place.parent / "precious")
    path = only(place / "faces" / "sources")
    record = read_json(path)
    record["clips"][0]["clip_id"] = clip_id
    write_json(path, record)
    crops = only(place / "faces" / "frames")
    assert preprocess_again(place) == 4
    message = capsys.readouterr().err
    assert f"{path}: clips[0].clip_id: expected text that is one plain name" in message
    assert is_untouched(place)
    assert crops.is_dir()


def test_a_link_in_place_of_crops_is_removed_but_not_its_target(place: Path) -> None:
    crops = only(place / "faces" / "frames")
    shutil.rmtree(crops)
    crops.symlink_to(place.parent / "precious")
    assert preprocess_again(place) == 0
    assert is_untouched(place)
    assert crops.is_dir()
    assert not crops.is_symlink()


@pytest.mark.parametrize("name", ["frames", "sources", "parsing"])
def test_a_folder_of_a_store_that_is_a_link_is_refused(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "faces" / name
    if folder.exists():
        folder.rename(place.parent / "elsewhere")
    (place.parent / "elsewhere").mkdir(exist_ok=True)
    folder.symlink_to(place.parent / "elsewhere")
    before = sorted((place.parent / "elsewhere").rglob("*"))
    assert preprocess_again(place) == 4
    assert f"{folder} is a link to {place.parent / 'elsewhere'}" in capsys.readouterr().err
    assert sorted((place.parent / "elsewhere").rglob("*")) == before
    assert preprocess_again(place, "--overwrite") == 0  # the link is removed
    assert sorted((place.parent / "elsewhere").rglob("*")) == before
    assert not folder.is_symlink()


def test_a_store_may_itself_be_a_link(place: Path) -> None:
    (place / "faces").rename(place / "on-another-disk")
    (place / "faces").symlink_to(place / "on-another-disk")
    assert preprocess_again(place) == 0
    assert (place / "faces").is_symlink()
    assert len(read_clips(place / "on-another-disk")) == 1


def test_a_row_that_names_another_folder_is_refused_by_every_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=1)
    text = (store / "clips.jsonl").read_text()
    (store / "clips.jsonl").write_text(text.replace('"happiness-0"', '"../../precious"', 1))
    for command in (
        ["train", str(store), "--out", str(tmp_path / "runs")],
        ["data", "check", str(store)],
        ["predict", str(store), "--clip", "tiny/random", "--labels", "joy", "--labels", "fear"],
        ["describe", str(store), "--dry-run"],
        ["data", "merge", str(store), str(store), "--out", str(tmp_path / "both")],
    ):
        code = dfer(command)
        message = capsys.readouterr().err
        assert (code, "clip_id: expected text that is one plain name" in message) == (4, True), (
            command,
            message,
        )


@pytest.mark.parametrize("name", HOSTILE)
def test_no_path_is_made_of_a_hostile_name(name: str, tmp_path: Path) -> None:
    assert not is_plain(name)
    assert is_plain(plain_name(name, otherwise="data"))
    for make in (
        lambda: inside(tmp_path, name),
        lambda: landmarks_path(tmp_path, f"a/{name}/b"),
        lambda: maps_folder(tmp_path, "parsing", name),
        lambda: read_track(tmp_path, f"../{name}"),
        lambda: preview_paths(tmp_path, f"a/../{name}"),
        lambda: read_record(tmp_path, f"../{name}"),
        lambda: FoldFolder(tmp_path).evaluation(name),
        lambda: remove_inside(tmp_path, name),
        lambda: write_landmarks(tmp_path, f"{name}/../x", np.zeros((1, 68, 2))),
    ):
        with pytest.raises(ArtifactError, match="plain name"):
            make()
    assert not any(tmp_path.iterdir())


def test_usual_names_of_clips_are_accepted(tmp_path: Path) -> None:
    for name in ("Action/Happy/0010", "00001", "лицо-1", "face one (2)", "a..b", "x.tar"):
        path = inside(tmp_path, name)
        assert path.relative_to(tmp_path).as_posix() == name


@pytest.mark.parametrize("dataset", ["..", ".", "/", "../..", "a/..", "a/.hidden", "dfew"])
def test_the_evaluation_of_a_data_set_gets_a_plain_name(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_plain(dataset_name(dataset))


@pytest.mark.parametrize("name", [".", "..", "a/b", "/tmp/x", ".hidden"])
def test_a_run_has_a_plain_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfer(["train", "dfew", "--name", name, "--out", str(tmp_path / "runs")]) == 2
    assert "--name is one folder" in capsys.readouterr().err


def test_leftovers_are_removed_only_from_our_own_folders(tmp_path: Path) -> None:
    for wrong in (tmp_path / "thesis.tex", tmp_path / "other" / ".x.partial-1"):
        with pytest.raises(ArtifactError, match="not an unfinished write"):
            remove_temporary(tmp_path / "store", wrong)


def test_checkpoints_behind_a_link_are_not_removed(tmp_path: Path) -> None:
    (tmp_path / "precious" / "epoch-1").mkdir(parents=True)
    fold = FoldFolder(tmp_path / "fold-1")
    fold.path.mkdir()
    fold.checkpoints.symlink_to(tmp_path / "precious")
    with pytest.raises(ArtifactError, match="is a link"):
        fold.point(fold.last, fold.checkpoints / "epoch-2")
    assert (tmp_path / "precious" / "epoch-1").is_dir()


def test_a_folder_is_written_in_place_of_a_link_not_through_it(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "precious")
    with atomic_folder(tmp_path / "out") as temporary:
        (temporary / "file").touch()
    assert not (tmp_path / "out").is_symlink()
    assert not any((tmp_path / "precious").iterdir())


def test_rows_are_not_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a line without an end")
    (tmp_path / "captions.jsonl").symlink_to(tmp_path / "notes.txt")
    row = CaptionRow("a", "smiles", (0,), "m", "m", "s", 0, (), "2026-01-01T00:00:00Z")
    with pytest.raises(ArtifactError, match="cannot write"):
        append_caption(tmp_path, row)
    assert (tmp_path / "notes.txt").read_text() == "a line without an end"


def test_no_lock_is_taken_through_a_link(place: Path) -> None:
    lock = place / "faces" / ".lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(place.parent / "precious" / "thesis.tex")
    assert preprocess_again(place) == 4
    assert is_untouched(place)


def test_a_link_out_of_a_shard_is_not_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("secret")
    shards = [bright_and_dark_store(tmp_path / name, clips_per_class=1) for name in ("a", "b")]
    for number, shard in enumerate(shards):  # their own sources
        for path in (shard / "sources").iterdir():
            moved = path.read_text().replace("../happiness", f"../{number}/happiness")
            path.write_text(moved.replace("../sadness", f"../{number}/sadness"))
        text = (shard / "clips.jsonl").read_text().replace("../h", f"../{number}/h")
        (shard / "clips.jsonl").write_text(text.replace("../s", f"../{number}/s"))
    crop = shards[1] / "frames" / "happiness-0" / "000000.jpg"
    crop.unlink()
    crop.symlink_to(tmp_path / "key")
    assert dfer(["data", "merge", *map(str, shards), "--out", str(tmp_path / "both")]) == 3
    assert f"{crop} is a link out of {shards[1]}" in capsys.readouterr().err
    written = [path for path in (tmp_path / "both").rglob("*") if path.is_file()]
    assert not any(b"secret" in path.read_bytes() for path in written)


def test_a_source_may_lie_anywhere_and_is_never_removed(place: Path) -> None:
    """Sources are paths relative to the store, and nearly all of them contain `..`."""
    path = only(place / "faces" / "sources")
    assert json.loads(path.read_text())["source"] == "../face.mp4"
    assert preprocess_again(place) == 0
    assert (place / "face.mp4").is_file()


def test_a_face_store_without_its_dataset_file_is_never_taken_for_pictures(tmp_path):
    store = bright_and_dark_store(tmp_path / "faces")
    (store / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"a face store whose dataset\.json cannot be read"):
        find_sources((str(store),))
