"""Small face stores, written by hand for tests."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.crop_writing import write_track
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow, TrackData
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.store_writing import SourceRecord, write_record


def write_store(
    folder: Path,
    clips: Sequence[tuple[str, str | None, str | None, np.ndarray]],
    label_set: Sequence[str] = ("happiness", "sadness"),
) -> Path:
    """Write a face store.

    Args:
        folder: Where.
        clips: (clip id, label, subject, frames (T, H, W, 3) uint8 RGB) of each clip.
        label_set: Class names.
    """
    rows = []
    for clip_id, label, subject, frames in clips:
        frame_folder = folder / "frames" / clip_id
        frame_folder.mkdir(parents=True)
        for number, frame in enumerate(frames):
            name = str(frame_folder / f"{number:06d}.jpg")
            cv2.imwrite(name, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        rows.append(
            ClipRow(
                clip_id,
                f"../{clip_id}.mp4",
                0,
                label,
                subject,
                len(frames),
                25.0,
                0.0,
                len(frames) / 25.0,
                "haar",
            )
        )
        write_track_and_record(folder, rows[-1], range(len(frames)))
    write_rows(folder / "clips.jsonl", [row.to_row() for row in rows])
    write_json(
        folder / "dataset.json",
        {"schema": STORE_SCHEMA, "label_set": list(label_set), "settings": {}},
    )
    return folder


def write_track_and_record(store: Path, row: ClipRow, frame_index: Iterable[int]) -> None:
    """Write the rest of a clip, whose crops exist already and show these frames."""
    index = np.array(list(frame_index), np.int64)
    boxes = np.tile(np.float32([0, 0, 32, 32]), (len(index), 1))
    track = TrackData(index, index / row.fps, boxes, np.ones(len(index), np.float32))
    write_track(store, row.clip_id, track)
    record = SourceRecord(row.source, 0, 0, len(index), (row,), None, ())
    write_record(store, row.clip_id, record)


def bright_and_dark_store(
    folder: Path, clips_per_class: int = 8, frames: int = 6, people: str = "subject"
) -> Path:
    """A store of two classes that any model can tell apart: bright clips and dark clips.

    Other people have other clips.
    """
    rng = np.random.default_rng(0 if people == "subject" else list(people.encode()))
    clips = []
    prefix = "" if people == "subject" else f"{people}-"
    for number in range(clips_per_class):
        for label, level in (("happiness", 180), ("sadness", 40)):
            noise = rng.integers(0, 40, size=(frames, 32, 32, 3))
            clips.append(
                (
                    f"{prefix}{label}-{number}",
                    label,
                    f"{people}-{number}",
                    (noise + level).astype(np.uint8),
                )
            )
    return write_store(folder, clips)


def noise_store(folder: Path) -> Path:
    """A face store of two clips of noise, 70 frames each."""
    rng = np.random.default_rng(0)
    clips = [
        (name, None, None, rng.integers(0, 255, (70, 32, 32, 3)).astype(np.uint8))
        for name in ("one", "two")
    ]
    return write_store(folder, clips)
