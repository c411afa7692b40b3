"""Writes a face store source by source, so a kill at any moment loses little.

A source's crops go to a temporary folder, are renamed to `frames/<clip_id>/`, get their track
file, and last the source gets its record `sources/<key>.json`. A source without one was never
finished and is done again. The records give `clips.jsonl` and `failures.jsonl`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from dfercli.artifacts.atomic import (
    is_temporary,
    read_json,
    write_json,
)
from dfercli.artifacts.bug_log import BUGS_FILE
from dfercli.artifacts.captions import remove_captions
from dfercli.artifacts.content_hashes import CONTENT_FILE
from dfercli.artifacts.face_store import (
    STORE_SCHEMA,
    ClipRow,
    FailureRow,
    GapRow,
    RawSetRecord,
    crops_folder,
    read_dataset,
    track_path,
)
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.parts_record import PARTS_FILE
from dfercli.artifacts.removing import remove_inside, remove_temporary, require_no_links
from dfercli.errors import ArtifactError, ConfigError
from dfercli.labels import ELEVEN, SEVEN, label_set_for
from dfercli.names import SourcePath, inside, is_plain
from dfercli.typed import Range, shown, typed

SOURCE_SCHEMA = "dfer.source/1"
CLIP_FOLDERS = ("frames", "parsing", "regions")  # a folder for each clip
CLIP_FILES = ("tracks", "landmarks")  # a file for each clip
CONTENT_FOLDERS = (*CLIP_FOLDERS, *CLIP_FILES, "preview", "sources")
CONTENT_FILES = (
    *("clips.jsonl", "failures.jsonl", "captions.jsonl", BUGS_FILE),
    *(PARTS_FILE, CONTENT_FILE, "dataset.json"),
)


@dataclass(frozen=True)
class SourceRecord:
    """The outcome of one source.

    Attributes:
        source: The video, image or folder, relative to the store.
        size_bytes: Its size when it was read, to notice that it changed.
        modified_ns: Its time of change then; for a folder, a number made from those of its frames.
        num_frames: Frames decoded.
        clips: The rows of its clips.
        failure: Why it gave none, else None.
        warnings: Problems on the way, one line each.
        gaps: When no kept face is seen, and why.
        remarks: Faces that were left out, and doubts about who is who, one line each.
        portraits: With `--identities`, for each clip the numbers that describe its face, empty
            if it has none. They are biometric and stored only here.
    """

    source: Annotated[str, SourcePath()]
    size_bytes: int
    modified_ns: int
    num_frames: Annotated[int, Range(0)]
    clips: tuple[ClipRow, ...]
    failure: FailureRow | None
    warnings: tuple[str, ...]
    gaps: tuple[GapRow, ...] = ()
    remarks: tuple[str, ...] = ()
    portraits: tuple[tuple[float, ...], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of it besides its clips: warnings and remarks."""
        return (*self.warnings, *self.remarks)


def source_key(slug: str, source: str) -> str:
    """The key of a source: a readable slug, and a hash that makes it unique.

    Args:
        slug: Its name, in letters that any file system takes.
        source: Its path relative to the store.
    """
    return f"{slug}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def write_record(store: Path, key: str, record: SourceRecord) -> None:
    """Write `sources/<key>.json`: from now on the source counts as done."""
    row = {**asdict(record), "schema": SOURCE_SCHEMA}
    row["clips"] = [clip.to_row() for clip in record.clips]
    row["failure"] = record.failure and record.failure.to_row()
    if not record.portraits:
        del row["portraits"]
    write_json(inside(store, "sources", f"{key}.json"), row)


def read_record(store: Path, key: str) -> SourceRecord | None:
    """Read `sources/<key>.json`; None if it is missing.

    Raises:
        ArtifactError: it is broken.
    """
    path = inside(store, "sources", f"{key}.json")
    if not path.exists():
        return None
    record: SourceRecord = typed(SourceRecord, read_json(path), str(path), schema=SOURCE_SCHEMA)
    return record


def read_records(store: Path) -> Iterator[tuple[str, SourceRecord]]:
    """All records of a store with their keys, sorted by key."""
    for key, _ in record_paths(store):
        record = read_record(store, key)
        if record is not None:
            yield key, record


def record_paths(store: Path) -> Iterator[tuple[str, Path]]:
    """The files of the records of a store with their keys, sorted by key."""
    folder = store / "sources"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if is_plain(path.stem):
            yield path.stem, path


def preview_paths(store: Path, key: str) -> tuple[Path, Path]:
    """The paths of the contact sheet and the annotated video of a source."""
    return inside(store, "preview", f"{key}.jpg"), inside(store, "preview", f"{key}.mp4")


def has_crops(store: Path, record: SourceRecord) -> bool:
    """Tell whether the crops and the track of each clip of a source are there, unopened."""
    return all(
        crops_folder(store, clip.clip_id).is_dir() and track_path(store, clip.clip_id).is_file()
        for clip in record.clips
    )


def remove_sources(store: Path, records: Mapping[str, SourceRecord]) -> None:
    """Remove sources, given by key, from a store with everything made from their clips.

    Records go last: a source without one is done again, but additions to its clips are not.
    """
    remove_captions(store, {clip.clip_id for r in records.values() for clip in r.clips})
    for key, record in records.items():
        for path in preview_paths(store, key):
            remove_inside(store, "preview", path.name)
        for clip in record.clips:
            for folder in CLIP_FOLDERS:
                remove_inside(store, folder, clip.clip_id)
            for folder in CLIP_FILES:
                remove_inside(store, folder, f"{clip.clip_id}.npz")
        remove_inside(store, "sources", f"{key}.json")


@contextmanager
def writing_to(store: Path, *, busy: str) -> Iterator[None]:
    """Hold the lock of an existing or new store; nothing is written into other folders.

    Args:
        store: The folder.
        busy: The message if another process holds the lock; see `exclusive`.

    Raises:
        ConfigError: `store` exists and is not a store.
        ArtifactError: the lock cannot be made, or another holds it.
    """
    if store.exists() and not store.is_dir():
        raise ConfigError(f"{store} is a file, expected a folder", hint="choose another --out")
    hidden_only = not store.is_dir() or all(path.name.startswith(".") for path in store.iterdir())
    if not hidden_only and not (store / "dataset.json").is_file():
        raise ConfigError(f"{store} is not empty and no face store", hint="choose another --out")
    with exclusive(store / ".lock", busy=busy):
        yield


def prepare_store(
    store: Path, settings: dict[str, Any], versions: dict[str, str], *, overwrite: bool
) -> None:
    """Make a store, or make sure that an existing one was made with the same settings.

    The caller holds its lock, see `writing_to`. Leftovers of a killed run are removed.

    Args:
        store: The folder.
        settings: All settings that decide the content of the store, ready for JSON.
        versions: Of the libraries that also decide it.
        overwrite: Empty an existing store first.

    Raises:
        ConfigError: `store` was made with other settings (listed).
        ArtifactError: a folder in it is a link, so files may land elsewhere.
    """
    if (store / "dataset.json").is_file():
        if not overwrite:
            _refuse_other_settings(store, settings)
            for name in CONTENT_FOLDERS:
                require_no_links(store, store / name)
            remove_leftovers(store)
            return
        for name in (*CONTENT_FOLDERS, *CONTENT_FILES):
            remove_inside(store, name)
    dataset = {"schema": STORE_SCHEMA, "settings": settings, "versions": versions, "label_set": []}
    write_json(store / "dataset.json", dataset)


def _refuse_other_settings(store: Path, settings: dict[str, Any]) -> None:
    differences = setting_differences(read_dataset(store)["settings"], settings)
    if differences:
        raise ConfigError(
            f"{store} was made with other settings: {differences}",
            hint="use the same settings, another --out, or --overwrite",
        )


def setting_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The settings in which two stores differ, as `name before -> after; …`."""
    return "; ".join(
        f"{name} {shown(before.get(name))} -> {shown(after.get(name))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def remove_leftovers(store: Path) -> None:
    """Remove the temporary files and folders of a killed run."""
    for folder in (store, *(store / name for name in CONTENT_FOLDERS)):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if is_temporary(entry):
                remove_temporary(store, entry)


def assemble_store(
    store: Path,
    classes: tuple[str, ...],
    raw_set: RawSetRecord | None = None,
    people: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write `clips.jsonl`, `failures.jsonl` and the label set from the records.

    Args:
        store: The folder.
        classes: The label set; where empty, the canonical one that holds all labels, else the
            recorded one with new names sorted behind.
        raw_set: The open data set of the sources; None keeps the recorded one.
        people: Name or number of the person of each clip, if known.
    """
    records = [record for _, record in read_records(store)]
    clips = [
        replace(clip, person=people.get(clip.clip_id))
        for record in records
        for clip in record.clips
    ]
    clips.sort(key=lambda clip: (clip.source, clip.track))
    failures = [record.failure for record in records if record.failure is not None]
    failures.sort(key=lambda failure: failure.source)
    _refuse_double_ids(store, clips)
    dataset = read_dataset(store)
    names = {clip.label for clip in clips if clip.label is not None}
    dataset["label_set"] = list(classes or _label_set(names, tuple(dataset["label_set"])))
    write_rows(store / "failures.jsonl", (failure.to_row() for failure in failures))
    content: dict[str, Any] = {**dataset, "raw_set": raw_set or dataset["raw_set"]}
    if content["raw_set"] is None:
        del content["raw_set"]
    write_json(store / "dataset.json", content)
    write_rows(store / "clips.jsonl", (clip.to_row() for clip in clips))


def _label_set(names: set[str], recorded: tuple[str, ...]) -> tuple[str, ...]:
    own = recorded if recorded not in (SEVEN, ELEVEN) else ()
    if not names or (own and names <= set(own)):
        return recorded
    return label_set_for(names) or (*own, *sorted(names - set(own)))


def _refuse_double_ids(store: Path, clips: list[ClipRow]) -> None:
    seen: dict[str, str] = {}
    for clip in clips:
        if clip.clip_id in seen:
            raise ArtifactError(
                f"{store}: clip {clip.clip_id} comes from {seen[clip.clip_id]} and {clip.source}"
            )
        seen[clip.clip_id] = clip.source
