"""Merge face stores that were made in parts, on several machines or at several times."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from dfercli.artifacts.atomic import atomic_folder, write_bytes
from dfercli.artifacts.face_store import ClipRow, is_face_store, read_dataset
from dfercli.artifacts.store_writing import (
    SourceRecord,
    assemble_store,
    prepare_store,
    read_records,
    write_record,
    writing_to,
)
from dfercli.errors import ConfigError, DataError
from dfercli.labels import ELEVEN, SEVEN
from dfercli.progress import Progress

CLIP_FOLDERS = ("frames", "parsing")
CLIP_FILES = ("tracks", "landmarks")


@dataclass(frozen=True)
class MergeResult:
    """What was merged.

    Attributes:
        store: The new store.
        num_sources: Its sources.
        num_clips: Its clips.
    """

    store: Path
    num_sources: int
    num_clips: int


def run(shards: tuple[Path, ...], out: Path, progress: Progress) -> MergeResult:
    """Merge face stores made with equal settings into a new one; frames are copied.

    A source that lies in several shards is taken once; it must be the same in all. A merge that
    was cut off is completed by the same call.

    Raises:
        ConfigError: fewer than two shards, or shards with different settings (listed).
        DataError: a shard is no face store, or two differ in a source.
        ArtifactError: the new store cannot be written.
    """
    if len(shards) < 2:
        raise ConfigError(f"merging takes at least two face stores, got {len(shards)}")
    for shard in shards:
        if not is_face_store(shard):
            raise DataError(f"not a face store: {shard} (no dataset.json and clips.jsonl)")
        if shard.resolve() == out.resolve():
            raise ConfigError(f"--out {out} is one of the shards")
    first = read_dataset(shards[0])
    with writing_to(out, busy=f"another dfer is writing to {out}"):
        for shard in shards:
            # The first call makes the store, the others compare their settings with it.
            settings = read_dataset(shard)["settings"]
            prepare_store(out, settings, first["versions"], overwrite=False)
        known: dict[str, SourceRecord] = dict(read_records(out))
        with progress.task("Merging", total=len(shards)) as task:
            for shard in shards:
                for key, record in read_records(shard):
                    _take(shard, out, key, record, known)
                task.advance()
        assemble_store(out, _own_classes(shards))
        clips = sum(len(record.clips) for record in known.values())
    return MergeResult(out, len(known), clips)


def _own_classes(shards: tuple[Path, ...]) -> tuple[str, ...]:
    """The label set of the shards where it is not one of the canonical ones."""
    for shard in shards:
        label_set = tuple(read_dataset(shard).get("label_set", ()))
        if label_set and label_set not in (SEVEN, ELEVEN):
            return label_set
    return ()


def _take(
    shard: Path, out: Path, key: str, record: SourceRecord, known: dict[str, SourceRecord]
) -> None:
    moved = _moved(record, shard, out)
    if key in known:
        if _what(known[key]) != _what(moved):
            raise DataError(f"{shard}: {record.source} differs from the same source elsewhere")
        return
    for clip in record.clips:
        for name in CLIP_FOLDERS:
            if (shard / name / clip.clip_id).is_dir():
                _copy_folder(shard / name / clip.clip_id, out / name / clip.clip_id)
        for name in CLIP_FILES:
            file = shard / name / f"{clip.clip_id}.npz"
            if file.is_file():
                write_bytes(out / name / file.name, file.read_bytes())
    write_record(out, key, moved)
    known[key] = moved


def _what(record: SourceRecord) -> tuple[int, tuple[ClipRow, ...]]:
    """What must be equal in shards that share a source; paths to it may differ."""
    return record.num_frames, tuple(replace(clip, source="") for clip in record.clips)


def _moved(record: SourceRecord, shard: Path, out: Path) -> SourceRecord:
    """A record with its paths relative to the new store."""
    source = os.path.relpath((shard.resolve() / record.source), out.resolve())
    return replace(
        record,
        source=source,
        clips=tuple(replace(clip, source=source) for clip in record.clips),
        failure=record.failure and replace(record.failure, source=source),
    )


def _copy_folder(source: Path, target: Path) -> None:
    with atomic_folder(target) as temporary:
        for entry in sorted(source.iterdir()):
            shutil.copyfile(entry, temporary / entry.name)
