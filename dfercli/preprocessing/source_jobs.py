"""A source to do, and the record of its outcome."""

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
        source: Its place.
        key: Unique in the store, safe as a file name; its clips are called `<key>-<track>`.
        name_in_store: Its path relative to the store.
        label: Class name, if known.
        subject: The person, if known.
        groups: Further facts, such as the sex of the person.
        soft_label: Share of each class, if no single one is the label.
        stretch: The part of it to do; None: all of it.
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
    """The path of a source in the records of a store: relative to the store.

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
    """The record of a source with its state before reading; without `signature` its state now."""
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
