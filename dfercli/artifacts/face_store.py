"""The face store: what `dfer preprocess` writes and everything else reads.

    dataset.json            settings, versions, label set
    clips.jsonl             one row per face track, paths relative to the store
    failures.jsonl          one row per source that gave no clip, or lacks a part or its preview
    bugs.log                tracebacks of sources with a bug, if there are any
    sources/<key>.json      the outcome of one source; these give clips.jsonl
    frames/<clip_id>/000000.jpg     face crops; the number is the frame's index in the source
    tracks/<clip_id>.npz    frame_index, pts_seconds, box_xyxy_px, score, detected,
                            points_px where known

Optional: `landmarks/<clip_id>.npz`, `parsing/<clip_id>/000000.png`, `regions/` likewise,
`parts.json` (how these were made), `captions.jsonl`. Landmarks are not part of `tracks/`: they are
found on the crops, whose place in the frames is not kept, and are in pixels of the crops (see
`face_parts`).
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.arrays import ArraySpec, read_arrays
from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.jsonl import read_typed_rows
from dfercli.config.preprocessing import in_seconds
from dfercli.errors import DataError
from dfercli.names import PlainName, SourcePath, inside
from dfercli.typed import Range, typed

STORE_SCHEMA = "dfer.face_store/1"
CLIP_SCHEMA = "dfer.clip/1"
FAILURE_SCHEMA = "dfer.failure/1"
FAILURES_FILE = "failures.jsonl"
# Stages whose failures may pass: the machine, the settings of a run or the version may be to blame.
TRIED_AGAIN = ("worker", "size", "changed", "bug", "annotate")


@dataclass(frozen=True)
class ClipRow:
    """One face track of one source, as a row of `clips.jsonl`.

    Attributes:
        clip_id: Unique in the store; the name of the folder under `frames/`.
        source: The video or folder it came from, relative to the store. It may lie anywhere and
            is only a name: nothing is written or removed by it.
        track: Number of the track within its source, from 0.
        label: Class name, if known.
        subject: The person, if known.
        num_frames: Number of face crops.
        fps: Frames per second of the source; never NaN, 0 if it has none.
        start_seconds: Presentation time of the first crop.
        end_seconds: Presentation time of the last crop.
        detector: Name of the face detector.
        groups: Further facts, such as the sex of the person.
        soft_label: Share of each class to train on, if no single one is the label.
        person: Name or number of the person, from `--identities all`.
    """

    clip_id: Annotated[str, PlainName()]
    source: Annotated[str, SourcePath()]
    track: Annotated[int, Range(0)]
    label: str | None
    subject: str | None
    num_frames: Annotated[int, Range(0)]
    fps: Annotated[float, Range(0)]
    start_seconds: float
    end_seconds: float
    detector: str
    groups: dict[str, str] = field(default_factory=dict)
    soft_label: dict[str, Annotated[float, Range(0, 1)]] = field(default_factory=dict)
    person: str | None = None

    def to_row(self) -> dict[str, Any]:
        """The row as it is written."""
        row = {"schema": CLIP_SCHEMA, **asdict(self)}
        for name in ("groups", "soft_label", "person"):
            if not row[name]:
                del row[name]
        return row


@dataclass(frozen=True)
class FailureRow:
    """A source that gave no clip or lacks a part: a row of `failures.jsonl`.

    Attributes:
        source: As in `ClipRow`.
        stage: The step that failed; `bug` is an unexpected exception.
        reason: In one line.
    """

    source: Annotated[str, SourcePath()]
    stage: str
    reason: str

    @property
    def is_final(self) -> bool:
        """Whether another try would fail in the same way."""
        return self.stage not in TRIED_AGAIN

    def to_row(self) -> dict[str, Any]:
        """The row as it is written."""
        return {"schema": FAILURE_SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class GapRow:
    """A time in which a source shows no kept face, and why."""

    start_seconds: float
    end_seconds: float
    reason: str


@dataclass(frozen=True)
class TrackData:
    """The content of `tracks/<clip_id>.npz`; n is the number of crops.

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


TRACK_ARRAYS = {
    "frame_index": ArraySpec(np.int64),
    "pts_seconds": ArraySpec(np.float64),
    "box_xyxy_px": ArraySpec(np.float32, (4,)),
    "score": ArraySpec(np.float32),
    "points_px": ArraySpec(np.float32, (5, 2), optional=True),
    "detected": ArraySpec(np.bool_, optional=True),
}


class RawSetRecord(TypedDict):
    """The open data set of the sources, and the origin of their labels."""

    name: str
    labelling: str


class Dataset(TypedDict):
    """The content of `dataset.json`."""

    schema: str
    settings: dict[str, Any]
    versions: dict[str, str]
    label_set: list[str]
    raw_set: RawSetRecord | None


def crops_folder(store: Path, clip_id: str) -> Path:
    """The folder of a clip's crops."""
    return inside(store, "frames", clip_id)


def track_path(store: Path, clip_id: str) -> Path:
    """The file of a clip's track."""
    return inside(store, "tracks", f"{clip_id}.npz")


def is_face_store(folder: Path) -> bool:
    """Tell whether `folder` is a face store."""
    return (folder / "dataset.json").is_file() and (folder / "clips.jsonl").is_file()


def read_dataset(store: Path) -> Dataset:
    """Read `dataset.json`.

    Raises:
        ArtifactError: missing, of another schema or broken.
    """
    path = store / "dataset.json"
    content = read_json(path)
    if isinstance(content, dict):  # other tools need not write them all
        content = {
            "settings": {},
            "versions": {},
            "label_set": [],
            "raw_set": None,
            **content,
        }
    dataset: Dataset = typed(Dataset, content, str(path), schema=STORE_SCHEMA)
    dataset["settings"] = in_seconds(dataset["settings"])
    return dataset


def read_clips(store: Path) -> list[ClipRow]:
    """Read all clips of a face store.

    Raises:
        DataError: `store` is not a face store.
        ArtifactError: a row is broken (named).
    """
    if not is_face_store(store):
        raise DataError(
            f"not a face store: {store} (no dataset.json and clips.jsonl)",
            hint="make one with: dfer preprocess videos/ --out faces/",
        )
    return list(read_typed_rows(store / "clips.jsonl", ClipRow, schema=CLIP_SCHEMA))


def read_failures(store: Path) -> list[FailureRow]:
    """Read `failures.jsonl`; a store without the file has no failures.

    Raises:
        ArtifactError: a row is broken (named).
    """
    path = store / FAILURES_FILE
    if not path.is_file():
        return []
    return list(read_typed_rows(path, FailureRow, schema=FAILURE_SCHEMA))


def frame_paths(store: Path, row: ClipRow) -> list[Path]:
    """The face crops of a clip in order of time.

    Raises:
        DataError: the folder is missing, or holds another number of frames than the row says.
    """
    folder = crops_folder(store, row.clip_id)
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".jpg"))
    except FileNotFoundError:
        raise DataError(f"clip {row.clip_id}: no folder {folder}") from None
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"clip {row.clip_id}: cannot read {folder}: {reason}") from None
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
        ArtifactError: the file is missing or broken.
    """
    arrays: dict[str, Any] = read_arrays(track_path(store, clip_id), TRACK_ARRAYS)
    return TrackData(**arrays)
