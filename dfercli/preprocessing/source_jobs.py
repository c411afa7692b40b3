"""A source to do, and the record of what became of it."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from dfercli.artifacts.face_store import ClipRow, FailureRow, GapRow
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.video.sources import Source, source_signature
from dfercli.video.stretches import Stretch


@dataclass(frozen=True)
class SourceJob:
    """One source to do.

    Attributes:
        source: Where it is.
        key: Unique in the store, safe as a file name; its clips are called `<key>-<track>`.
        name_in_store: Its path relative to the store.
        label: Class name, where known.
        subject: Who is seen, where known.
        groups: What else is known, such as the sex of who is seen.
        soft_label: Share of each class, where no single one is the label.
        stretch: The part of it to do; None for all of it.
    """

    source: Source
    key: str
    name_in_store: str
    label: str | None
    subject: str | None
    groups: dict[str, str] = field(default_factory=dict)
    soft_label: dict[str, float] = field(default_factory=dict)
    stretch: Stretch | None = None


def path_in_store(path: Path, store: Path) -> str:
    """The path of a source as records of a store have it: relative to the store.

    A name that is not UTF-8 is recorded escaped; its source is refused later.
    """
    relative = os.path.relpath(path, store.resolve())
    return relative.encode("utf-8", "backslashreplace").decode()


def record_of(
    job: SourceJob,
    *,
    num_frames: int = 0,
    clips: tuple[ClipRow, ...] = (),
    failure: FailureRow | None = None,
    warnings: tuple[str, ...] = (),
    signature: tuple[int, int] | None = None,
    gaps: tuple[GapRow, ...] = (),
    remarks: tuple[str, ...] = (),
    portraits: tuple[tuple[float, ...], ...] = (),
) -> SourceRecord:
    """The record of a source as it was before it was read; without `signature` as it is now."""
    size_bytes, modified_ns = signature or source_signature(job.source.path)
    return SourceRecord(
        job.name_in_store,
        size_bytes,
        modified_ns,
        num_frames,
        clips,
        failure,
        warnings,
        gaps,
        remarks,
        portraits,
    )
