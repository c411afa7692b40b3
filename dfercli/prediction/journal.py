"""The finished part of an interrupted `dfer predict --out`, kept beside the future table.

The folder `.<table>.work` holds `journal.jsonl`. Its first row records the model and the settings;
each further row is one source. The folder is removed once the table is written.
"""

import hashlib
import json
import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import kept_sources
from dfercli.artifacts.face_store import FailureRow
from dfercli.artifacts.jsonl import append_row, read_rows, write_rows
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.artifacts.removing import remove_own
from dfercli.errors import ArtifactError
from dfercli.names import neighbour
from dfercli.report.video_prediction import FaceTrace, Moment, Picture, VideoPrediction
from dfercli.typed import typed
from dfercli.video.sources import source_signature

JOURNAL_SCHEMA = "dfer.predict_journal/3"


def work_folder(out: Path) -> Path:
    """The folder of the work for a table until it is written."""
    return neighbour(out, ".", ".work")


def settings_digest(settings: Any) -> str:
    """A checksum of everything that affects predictions, given as JSON-ready values."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


class Journal:
    """The finished sources; safe with several threads.

    Work with other settings, or with a broken journal, starts over.

    Args:
        work: The work folder.
        digest: Digest of the settings.

    Attributes:
        done: The predictions, by the source's name.
    """

    def __init__(self, work: Path, digest: str) -> None:
        self._work = work
        self._path = path = work / "journal.jsonl"
        self._lock = threading.Lock()
        self.done: dict[str, VideoPrediction] = {}
        self._added = 0
        try:
            rows = list(read_rows(path, allow_torn_end=True)) if path.is_file() else []
            if rows and rows[0] == _header(digest):
                self.done = dict(_videos(path, rows[1:]))
                return
        except (ArtifactError, ValueError):
            self.done = {}
        self.remove()
        write_rows(path, [_header(digest)])

    def add(self, video: VideoPrediction, signature: tuple[int, int]) -> None:
        """Record a finished source, except one whose failure may pass: that is done again.

        Args:
            video: The predictions.
            signature: Signature of the source when it was read.
        """
        if video.failure is None or video.failure.is_final:
            with self._lock:
                append_row(self._path, _to_row(video, signature))
                self._added += 1

    def kept(self) -> str | None:
        """How to go on after an error; None if no source is finished."""
        return kept_sources(len(self.done) + self._added, self._work)

    def remove(self) -> None:
        """Remove the work folder, once the table is written or other work begins."""
        remove_own(self._work)


def _header(digest: str) -> dict[str, Any]:
    return {"schema": JOURNAL_SCHEMA, "digest": digest}


def _signature(source: str) -> list[int]:
    return list(source_signature(Path(os.path.abspath(source))))


def _to_row(video: VideoPrediction, signature: tuple[int, int]) -> dict[str, Any]:
    return {
        "schema": JOURNAL_SCHEMA,
        "signature": list(signature),
        "source": video.source,
        "label_set": list(video.label_set),
        "predictions": [asdict(prediction) for prediction in video.predictions],
        "gaps": [list(gap) for gap in video.gaps],
        "gap_reasons": list(video.gap_reasons),
        "remarks": list(video.remarks),
        "portraits": [[track, list(row)] for track, row in video.portraits.items()],
        "failure": video.failure and asdict(video.failure),
        "annotated": video.annotated,
        "detector": video.detector,
        "moments": [
            {**asdict(moment), "jpeg": b64encode(moment.jpeg).decode()} for moment in video.moments
        ],
        "traces": [
            {
                **asdict(trace),
                "pictures": [
                    {**asdict(picture), "jpeg": b64encode(picture.jpeg).decode()}
                    for picture in trace.pictures
                ],
            }
            for trace in video.traces
        ],
    }


@dataclass(frozen=True)
class _MomentRow:
    track: int
    seconds: float
    label: str
    confidence: float
    jpeg: str


@dataclass(frozen=True)
class _PictureRow:
    seconds: float
    jpeg: str


@dataclass(frozen=True)
class _TraceRow:
    track: int
    pictures: tuple[_PictureRow, ...]
    best: int
    boxes: tuple[tuple[int, int, int, int, int], ...]


@dataclass(frozen=True)
class _VideoRow:
    """A row of the journal: a finished source."""

    signature: list[int]
    source: str
    label_set: tuple[str, ...]
    predictions: tuple[WindowPrediction, ...]
    gaps: tuple[tuple[float, float], ...]
    failure: FailureRow | None
    annotated: str | None
    detector: str | None
    moments: tuple[_MomentRow, ...]
    gap_reasons: tuple[str, ...]
    remarks: tuple[str, ...]
    portraits: tuple[tuple[int, tuple[float, ...]], ...]
    traces: tuple[_TraceRow, ...]


def _videos(path: Path, rows: list[dict[str, Any]]) -> Iterator[tuple[str, VideoPrediction]]:
    """The sources of a journal that have not changed since and whose video still exists."""
    for number, content in enumerate(rows, start=2):
        row: _VideoRow = typed(_VideoRow, content, f"{path}, row {number}", schema=JOURNAL_SCHEMA)
        is_whole = row.annotated is None or Path(row.annotated).is_file()
        if is_whole and row.signature == _signature(row.source):
            yield (
                row.source,
                VideoPrediction(
                    source=row.source,
                    label_set=row.label_set,
                    predictions=row.predictions,
                    gaps=row.gaps,
                    gap_reasons=row.gap_reasons,
                    remarks=row.remarks,
                    portraits=dict(row.portraits),
                    failure=row.failure,
                    annotated=row.annotated,
                    detector=row.detector,
                    signature=(row.signature[0], row.signature[1]),
                    moments=tuple(
                        Moment(m.track, m.seconds, m.label, m.confidence, b64decode(m.jpeg))
                        for m in row.moments
                    ),
                    traces=tuple(map(_trace, row.traces)),
                ),
            )


def _trace(row: _TraceRow) -> FaceTrace:
    pictures = tuple(Picture(one.seconds, b64decode(one.jpeg)) for one in row.pictures)
    return FaceTrace(row.track, pictures, row.best, row.boxes)
