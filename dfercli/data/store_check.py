"""What is wrong within a face store: records, rows and files that do not belong together."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from dfercli.artifacts.captions import read_captions
from dfercli.artifacts.face_parts import landmarks_path, maps_folder, read_landmarks
from dfercli.artifacts.face_store import ClipRow, crops_folder, read_track
from dfercli.artifacts.store_writing import CLIP_FILES, CLIP_FOLDERS, read_record
from dfercli.data.check import Finding, named_finding
from dfercli.data.frames import is_frame_name
from dfercli.errors import ArtifactError

AGAIN = "`dfer preprocess` with their sources makes them again, once {} deleted"
# What is found, by kind: one line of text, and what helps.
KINDS = {
    "record": (
        "clips are in clips.jsonl, but in no record of sources/",
        "records were deleted; the next `dfer preprocess` drops these clips where their sources "
        "are not named",
    ),
    "broken-record": ("records of sources/ cannot be read", AGAIN.format("the records are")),
    "row": (
        "clips are in a record of sources/, but not in clips.jsonl",
        "clips.jsonl was changed; the next `dfer preprocess` writes it from the records",
    ),
    "track": ("clips have no track that fits their row", AGAIN.format("their tracks are")),
    "crops": (
        "clips have crops of other frames than their track names",
        AGAIN.format("their folders in frames/ are"),
    ),
    "landmarks": (
        "clips have landmarks that do not fit their crops",
        "delete them, and run `dfer preprocess --streams landmarks` again",
    ),
    "parsing": (
        "clips have parsing maps of other frames than their crops",
        "delete them, and run `dfer preprocess --streams parsing` again",
    ),
    "regions": (
        "clips have regions of other frames than their crops",
        "delete them, and run `dfer preprocess --streams regions` again",
    ),
    "orphan": (
        "files or folders belong to no clip of clips.jsonl",
        "a run was cut off, which the same `dfer preprocess` completes, or clips were removed by "
        "hand",
    ),
}


def check_store(
    store: Path, rows: Sequence[ClipRow], advance: Callable[[], None] = lambda: None
) -> list[Finding]:
    """Compare the parts of a face store with each other; crops and maps are not opened.

    A missing folder of crops, or one with another number of crops than its row says, is left to
    `check_presence` and `check_frame_counts`.

    Args:
        store: The face store.
        rows: Its clips.
        advance: Called after each clip.

    Raises:
        ArtifactError: `captions.jsonl` is broken.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for kind, name in (*_of_records(store, rows), *_orphans(store, rows)):
        names[kind].append(name)
    for row in rows:
        for kind, name in _of_clip(store, row):
            names[kind].append(name)
        advance()
    return [
        finding
        for kind, (message, guess) in KINDS.items()
        for finding in named_finding(kind, message, names[kind], guess=guess)
    ]


def _of_records(store: Path, rows: Sequence[ClipRow]) -> Iterator[tuple[str, str]]:
    recorded: set[str] = set()
    for name in _entries(store / "sources", ".json"):
        try:
            record = read_record(store, name)
        except ArtifactError:
            yield "broken-record", f"{name}.json"
        else:
            recorded.update(clip.clip_id for clip in (record.clips if record else ()))
    listed = {row.clip_id for row in rows}
    for clip_id in sorted(listed - recorded):
        yield "record", clip_id
    for clip_id in sorted(recorded - listed):
        yield "row", clip_id


def _of_clip(store: Path, row: ClipRow) -> Iterator[tuple[str, str]]:
    crops = _frame_numbers(crops_folder(store, row.clip_id))
    try:
        track = read_track(store, row.clip_id)
    except ArtifactError:
        yield "track", f"{row.clip_id} (missing or broken)"
    else:
        arrays = [getattr(track, field.name) for field in fields(track)]
        lengths = {len(array) for array in arrays if array is not None}
        if lengths != {row.num_frames}:
            shown = " and ".join(str(length) for length in sorted(lengths))
            yield "track", f"{row.clip_id} ({shown} rows, clips.jsonl says {row.num_frames})"
        elif len(crops) == row.num_frames and crops != track.frame_index.tolist():
            yield "crops", row.clip_id
    if landmarks_path(store, row.clip_id).exists():
        try:
            found = len(read_landmarks(store, row.clip_id))
        except ArtifactError:
            yield "landmarks", f"{row.clip_id} (broken)"
        else:
            if found != row.num_frames:
                yield "landmarks", f"{row.clip_id} ({found} rows of {row.num_frames})"
    for stream in ("parsing", "regions"):
        maps = maps_folder(store, stream, row.clip_id)
        if maps.is_dir() and _frame_numbers(maps) != crops:
            yield stream, row.clip_id


def _orphans(store: Path, rows: Sequence[ClipRow]) -> Iterator[tuple[str, str]]:
    listed = {row.clip_id for row in rows}
    folders = {name: "" for name in CLIP_FOLDERS} | {name: ".npz" for name in CLIP_FILES}
    for folder, suffix in folders.items():
        for name in _entries(store / folder, suffix):
            if name not in listed:
                yield "orphan", f"{folder}/{name}{suffix}"
    for clip_id in sorted(read_captions(store).keys() - listed):
        yield "orphan", f"captions.jsonl: {clip_id}"


def _entries(folder: Path, suffix: str) -> list[str]:
    """Names in a folder that end in `suffix`, without it; hidden ones are leftovers."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    visible = (name for name in names if name.endswith(suffix) and not name.startswith("."))
    return sorted(name.removesuffix(suffix) for name in visible)


def _frame_numbers(folder: Path) -> list[int]:
    """The frames that the pictures of a folder show; -1 for a name that is not a number."""
    stems = [name.rpartition(".")[0] for name in _entries(folder, "") if is_frame_name(name)]
    return sorted(int(stem) if stem.isdecimal() else -1 for stem in stems)
