"""Merge face stores that were made in parts, on several machines or at several times."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfercli.artifacts.atomic import atomic_folder, write_bytes
from dfercli.artifacts.captions import read_captions, write_captions
from dfercli.artifacts.face_store import (
    ClipRow,
    frame_paths,
    is_face_store,
    read_clips,
    read_dataset,
)
from dfercli.artifacts.parts_record import NOT_RECORDED, parts_made, record_parts
from dfercli.artifacts.store_writing import (
    CLIP_FILES,
    CLIP_FOLDERS,
    SourceRecord,
    assemble_store,
    prepare_store,
    preview_paths,
    read_records,
    setting_differences,
    source_key,
    write_record,
    writing_to,
)
from dfercli.data.store_check import check_store
from dfercli.errors import ConfigError, DataError
from dfercli.labels import ELEVEN, SEVEN
from dfercli.names import inside
from dfercli.preprocessing.people import people_in
from dfercli.progress import Progress


@dataclass(frozen=True)
class MergeResult:
    """The result of a merge.

    Attributes:
        store: The new store.
        num_sources: Its sources.
        num_clips: Its clips.
    """

    store: Path
    num_sources: int
    num_clips: int


@dataclass(frozen=True)
class _Copy:
    """A source to copy, with its keys and records in the shard and in the new store."""

    shard: Path
    key_before: str
    before: SourceRecord
    key: str
    after: SourceRecord


def run(shards: tuple[Path, ...], out: Path, progress: Progress) -> MergeResult:
    """Merge face stores made with equal settings into a new one, with all of their content.

    Files are copied. A source in several shards is taken once; it must be the same in
    all. It gets the path and key that `dfer preprocess` would give it in the new store. The
    same call completes an interrupted merge; a refused one writes nothing.

    Raises:
        ConfigError: fewer than two shards, or shards with different settings (listed).
        DataError: a shard is not a face store or is damaged, or two differ in a source.
        ArtifactError: the new store cannot be written.
    """
    if len(shards) < 2:
        raise ConfigError(f"merging takes at least two face stores, got {len(shards)}")
    for shard in shards:
        if not is_face_store(shard):
            raise DataError(f"not a face store: {shard} (no dataset.json and clips.jsonl)")
        if shard.resolve() == out.resolve():
            raise ConfigError(f"--out {out} is one of the shards")
    _refuse_other_settings(shards, out)
    made = _parts_made((*shards, out))
    with progress.task("Checking", total=len(shards)) as task:
        for shard in shards:
            _refuse_damage(shard)
            task.advance()
    existing = read_records(out) if (out / "dataset.json").is_file() else ()
    known = {record.source: record for _, record in existing}
    copies = _plan(shards, out, known)
    with writing_to(out, busy=f"{out} is being written"):
        first = read_dataset(shards[0])
        prepare_store(out, first["settings"], first["versions"], overwrite=False)
        if made:
            record_parts(out, made)
        with progress.task("Merging", total=len(copies)) as task:
            for copy in copies:
                _copy(copy, out)
                task.advance()
        _merge_captions(shards, out, known)
        people = people_in(out, first["settings"].get("identities"), {})
        assemble_store(out, _own_classes(shards), people=people)
    return MergeResult(out, len(known), sum(len(record.clips) for record in known.values()))


def _refuse_other_settings(shards: Sequence[Path], out: Path) -> None:
    settings = read_dataset(shards[0])["settings"]
    existing = [out] if (out / "dataset.json").is_file() else []
    for other in (*shards[1:], *existing):
        differences = setting_differences(settings, read_dataset(other)["settings"])
        if differences:
            raise ConfigError(
                f"{shards[0]} and {other} were made with different settings: {differences}",
                hint="only stores of equal settings can be merged"
                if other != out
                else "choose another --out",
            )


def _parts_made(stores: Sequence[Path]) -> dict[str, str]:
    """How streams were made, if recorded; refuses two ways."""
    made: dict[str, tuple[str, Path]] = {}
    for store in stores:
        for name, how in parts_made(store).items():
            before, first = made.setdefault(name, (how, store))
            if how != before:
                raise ConfigError(
                    f"{store}: {name} were made by {how!r}, those of {first} by {before!r}",
                    hint="only stores of equal settings can be merged",
                )
    return {name: how for name, (how, _) in made.items() if how != NOT_RECORDED}


def _refuse_damage(shard: Path) -> None:
    rows = read_clips(shard)
    for row in rows:
        frame_paths(shard, row)
    for finding in check_store(shard, rows):
        if finding.kind != "orphan":
            raise DataError(
                f"{shard}: {finding.message}: {finding.names[0]}",
                hint=f"list all faults with: dfer data check {shard}",
            )


def _plan(shards: Sequence[Path], out: Path, known: dict[str, SourceRecord]) -> list[_Copy]:
    """The sources to copy; `known` holds the records of `out` by source and gets the new ones."""
    copies = []
    for shard in shards:
        for key_before, before in read_records(shard):
            source = _source_in(out, shard, before)
            key = source_key(key_before.rpartition("-")[0], source)
            after = _moved(before, source, key)
            if source not in known:
                known[source] = after
                copies.append(_Copy(shard, key_before, before, key, after))
            elif _what(known[source]) != _what(after):
                raise DataError(f"{shard}: {before.source} differs from the same source elsewhere")
    return copies


def _source_in(out: Path, shard: Path, record: SourceRecord) -> str:
    """The path of a shard's source relative to the new store."""
    return os.path.relpath(shard.resolve() / record.source, out.resolve())


def _moved(record: SourceRecord, source: str, key: str) -> SourceRecord:
    clips = tuple(
        replace(clip, clip_id=f"{key}-{clip.track}", source=source) for clip in record.clips
    )
    failure = record.failure and replace(record.failure, source=source)
    return replace(record, source=source, clips=clips, failure=failure)


def _what(record: SourceRecord) -> tuple[int, tuple[ClipRow, ...]]:
    """Fields that must be equal in shards that share a source; its paths and keys may differ."""
    clips = tuple(replace(clip, clip_id="", source="") for clip in record.clips)
    return record.num_frames, clips


def _copy(copy: _Copy, out: Path) -> None:
    for before, after in zip(copy.before.clips, copy.after.clips, strict=True):
        for name in CLIP_FOLDERS:
            folder = inside(copy.shard, name, before.clip_id)
            if folder.is_dir():
                _copy_folder(folder, inside(out, name, after.clip_id), copy.shard)
        for name in CLIP_FILES:
            _copy_file(
                inside(copy.shard, name, f"{before.clip_id}.npz"),
                inside(out, name, f"{after.clip_id}.npz"),
                copy.shard,
            )
    previews = preview_paths(copy.shard, copy.key_before)
    for preview, target in zip(previews, preview_paths(out, copy.key), strict=True):
        _copy_file(preview, target, copy.shard)
    write_record(out, copy.key, copy.after)


def _copy_file(source: Path, target: Path, shard: Path) -> None:
    if source.is_file():
        _refuse_outside(source, shard)
        write_bytes(target, source.read_bytes())


def _copy_folder(source: Path, target: Path, shard: Path) -> None:
    with atomic_folder(target) as temporary:
        for entry in sorted(source.iterdir()):
            _refuse_outside(entry, shard)
            shutil.copyfile(entry, temporary / entry.name)


def _refuse_outside(path: Path, shard: Path) -> None:
    """Refuse a link that leaves a shard: its target would end up in a store that others get."""
    if not path.resolve().is_relative_to(shard.resolve()):
        raise DataError(f"{path} is a link out of {shard}", hint="put the file itself there")


def _merge_captions(shards: Sequence[Path], out: Path, known: dict[str, SourceRecord]) -> None:
    """Write the captions of all shards; if a clip has several, the first one."""
    captions = read_captions(out)
    for shard in shards:
        in_shard = read_captions(shard)
        for _, record in read_records(shard) if in_shard else ():
            merged = known[_source_in(out, shard, record)]
            for before, after in zip(record.clips, merged.clips, strict=True):
                if before.clip_id in in_shard:
                    row = replace(in_shard[before.clip_id], clip_id=after.clip_id)
                    captions.setdefault(after.clip_id, row)
    if captions:
        write_captions(out, captions.values())


def _own_classes(shards: tuple[Path, ...]) -> tuple[str, ...]:
    """The label set of the shards if it is not one of the canonical ones."""
    for shard in shards:
        label_set = tuple(read_dataset(shard)["label_set"])
        if label_set and label_set not in (SEVEN, ELEVEN):
            return label_set
    return ()
