"""The face store: what `dfer preprocess` writes and everything else reads.

    dataset.json            settings, versions, label set
    clips.jsonl             one row per face track, paths relative to the store
    failures.jsonl          one row per source that gave no clip
    sources/<key>.json      what became of one source; clips.jsonl is put together from these
    frames/<clip_id>/000000.jpg     face crops; the number is the frame's index in the source
    tracks/<clip_id>.npz    frame_index, pts_seconds, box_xyxy_px, score, detected,
                            points_px where known

Optional: `landmarks/<clip_id>.npz`, `parsing/<clip_id>/000000.png`, `parts.json` (how these two
were made), `captions.jsonl`. Landmarks are no part of `tracks/`: they are found on the crops, whose
place in the frames is not kept, and are in pixels of the crops (see `face_parts`).
"""

import os
import zipfile
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.jsonl import read_rows
from dfercli.errors import DataError

STORE_SCHEMA = "dfer.face_store/1"
CLIP_SCHEMA = "dfer.clip/1"
FAILURE_SCHEMA = "dfer.failure/1"


@dataclass(frozen=True)
class ClipRow:
    """One face track of one source, as a row of `clips.jsonl`.

    Attributes:
        clip_id: Unique in the store; the name of the folder under `frames/`.
        source: The video or folder it came from, relative to the store.
        track: Number of the track within its source, from 0.
        label: Class name, where known.
        subject: Who is seen, where known.
        num_frames: Number of face crops.
        fps: Frames per second of the source; nan-free, 0 where it has none.
        start_seconds: Presentation time of the first crop.
        end_seconds: Presentation time of the last crop.
        detector: Name of the face detector.
    """

    clip_id: str
    source: str
    track: int
    label: str | None
    subject: str | None
    num_frames: int
    fps: float
    start_seconds: float
    end_seconds: float
    detector: str

    def to_row(self) -> dict[str, Any]:
        """The row as it is written."""
        return {"schema": CLIP_SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class FailureRow:
    """A source that gave no clip, as a row of `failures.jsonl`."""

    source: str
    stage: str
    reason: str

    def to_row(self) -> dict[str, Any]:
        """The row as it is written."""
        return {"schema": FAILURE_SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class TrackData:
    """What `tracks/<clip_id>.npz` holds; n is the number of crops.

    Attributes:
        frame_index: (n,) int64, index of the frame in the source.
        pts_seconds: (n,) float64, presentation time.
        box_xyxy_px: (n, 4) float32, the detector's raw boxes in source pixels.
        score: (n,) float32, the detector's score.
        points_px: (n, 5, 2) float32, the detector's five points in source pixels, or None.
        detected: (n,) bool, False where a box lies between two detections, or None.
    """

    frame_index: NDArray[np.int64]
    pts_seconds: NDArray[np.float64]
    box_xyxy_px: NDArray[np.float32]
    score: NDArray[np.float32]
    points_px: NDArray[np.float32] | None = None
    detected: NDArray[np.bool_] | None = None


def is_face_store(folder: Path) -> bool:
    """Tell whether `folder` is a face store."""
    return (folder / "dataset.json").is_file() and (folder / "clips.jsonl").is_file()


def read_dataset(store: Path) -> dict[str, Any]:
    """Read `dataset.json`.

    Raises:
        ArtifactError: missing or not JSON.
        DataError: of another schema.
    """
    dataset = read_json(store / "dataset.json")
    if not isinstance(dataset, dict) or dataset.get("schema") != STORE_SCHEMA:
        raise DataError(f"{store / 'dataset.json'} is not a {STORE_SCHEMA} file")
    return dataset


def clip_row_from(row: dict[str, Any], where: str) -> ClipRow:
    """Check one row of `clips.jsonl` and return it typed.

    Raises:
        DataError: another schema, a field missing or of the wrong type; `where` is named.
    """
    if row.get("schema") != CLIP_SCHEMA:
        raise DataError(f"{where}: expected schema {CLIP_SCHEMA}, got {row.get('schema')!r}")
    missing = [field.name for field in fields(ClipRow) if field.name not in row]
    if missing:
        raise DataError(f"{where}: missing {', '.join(missing)}")
    label, subject = row["label"], row["subject"]
    try:
        return ClipRow(
            clip_id=str(row["clip_id"]),
            source=str(row["source"]),
            track=int(row["track"]),
            label=None if label is None else str(label),
            subject=None if subject is None else str(subject),
            num_frames=int(row["num_frames"]),
            fps=float(row["fps"]),
            start_seconds=float(row["start_seconds"]),
            end_seconds=float(row["end_seconds"]),
            detector=str(row["detector"]),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}") from error


def read_clips(store: Path) -> list[ClipRow]:
    """Read all clips of a face store.

    Raises:
        DataError: `store` is no face store, or a row is broken (named).
    """
    if not is_face_store(store):
        raise DataError(
            f"not a face store: {store} (no dataset.json and clips.jsonl)",
            hint="make one with: dfer preprocess videos/ --out faces/",
        )
    path = store / "clips.jsonl"
    return [
        clip_row_from(row, f"{path}, row {number}")
        for number, row in enumerate(read_rows(path), start=1)
    ]


def read_failures(store: Path) -> list[FailureRow]:
    """Read `failures.jsonl`; a store without the file has no failures."""
    path = store / "failures.jsonl"
    if not path.is_file():
        return []
    return [
        FailureRow(str(row["source"]), str(row["stage"]), str(row["reason"]))
        for row in read_rows(path)
    ]


def frame_paths(store: Path, row: ClipRow) -> list[Path]:
    """The face crops of a clip in order of time.

    Raises:
        DataError: the folder is missing, or holds another number of frames than the row says.
    """
    folder = store / "frames" / row.clip_id
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".jpg"))
    except FileNotFoundError:
        raise DataError(f"clip {row.clip_id}: no folder {folder}") from None
    if len(names) != row.num_frames:
        raise DataError(
            f"clip {row.clip_id}: {folder} holds {len(names)} frames, "
            f"clips.jsonl says {row.num_frames}",
            hint="run `dfer preprocess` again with --overwrite",
        )
    return [folder / name for name in names]


def read_track(store: Path, clip_id: str) -> TrackData:
    """Read `tracks/<clip_id>.npz`.

    Raises:
        DataError: the file is missing or broken.
    """
    path = store / "tracks" / f"{clip_id}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return TrackData(
                frame_index=arrays["frame_index"],
                pts_seconds=arrays["pts_seconds"],
                box_xyxy_px=arrays["box_xyxy_px"],
                score=arrays["score"],
                points_px=arrays.get("points_px"),
                detected=arrays.get("detected"),
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
