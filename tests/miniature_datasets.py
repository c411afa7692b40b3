"""Miniature copies of the benchmarks, made at test time with the quirks of the real ones."""

import csv
from pathlib import Path

import cv2
import numpy as np
from stores import write_track_and_record

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.labels import ELEVEN, SEVEN

FERV_WORDS = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
FRAMES = 18


def write_frames(folder: Path, count: int = FRAMES, suffix: str = "jpg", pad: int = 5) -> None:
    """A clip of grey noise; frame names are padded to `pad` digits, 0 for none."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(folder.name)).integers(90, 160, (12, 12, 3), dtype=np.uint8)
    content = cv2.imencode(f".{suffix}", noise)[1].tobytes()
    for number in range(1, count + 1):
        (folder / f"{str(number).zfill(pad)}.{suffix}").write_bytes(content)


def dfew_rows(part: str, fold: int) -> list[tuple[int, int]]:
    """(clip number, class from 0): 14 clips, two of each class, five folds."""
    clips = [(number, (number - 1) % 7) for number in range(1, 15)]
    tested = {2 * fold - 1, 2 * fold, 13}
    return [clip for clip in clips if (clip[0] in tested) == (part == "test")]


def make_dfew(
    root: Path, *, frames: str = "Clip/clip_224x224", repackaged: bool = False, **kinds
) -> Path:
    """DFEW; `repackaged` lists have padded names and labels from 0."""
    for part in ("train", "test"):
        for fold in range(1, 6):
            folder = root / "EmoLabel_DataSplit" / f"{part}(single-labeled)"
            name = f"{part}_set_{fold}.csv" if repackaged else f"set_{fold}.csv"
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("video_name", "label"))
                for number, label in dfew_rows(part, fold):
                    row = (f"{number:05d}", label) if repackaged else (number, label + 1)
                    writer.writerow(row)
    for number in range(1, 18):  # 15 to 17 have no single label: on disk, but in no list
        write_frames(root / frames / f"{number:05d}", **kinds)
    return root


def make_ferv39k(root: Path, *, frames: str = "2_ClipsforFaceCrop") -> Path:
    """FERV39k; `0001` and `0002` recur in every scene and emotion."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for scene in ("Action", "Daily Life"):
        for word in FERV_WORDS:
            for number, part in (("0001", "train"), ("0002", "test")):
                key = f"{scene}/{word}/{number}"
                write_frames(root / frames / key)
                lists[part].append(f"{key} {word}")
    for part, rows in lists.items():
        path = root / "4_setups" / "All_scenes" / f"{part}_All.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n")
    return root


def mafw_rows(part: str, fold: int, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """(file, class): two clips of each class."""
    clips = [(number, names[number % len(names)]) for number in range(1, 2 * len(names) + 1)]
    return [
        (f"{number:05d}.mp4", name)
        for number, name in clips
        if ((number % 5) + 1 == fold) == (part == "test")
    ]


def make_mafw(root: Path, *, frames: str | None = "data/faces") -> Path:
    """MAFW with all its lists; `frames=None` makes none."""
    compound = (*ELEVEN, "anger_disgust", "sadness_helplessness")
    for part in ("train", "test"):
        for fold in range(1, 6):
            for kind, names in (("single", ELEVEN), ("compound", compound)):
                base = root / "Train & Test Set" / kind
                plain = base / "no_caption" / f"set_{fold}" / f"{part}.txt"
                plain.parent.mkdir(parents=True, exist_ok=True)
                rows = mafw_rows(part, fold, names)
                plain.write_bytes("".join(f"{file} {name}\r\n" for file, name in rows).encode())
                told = base / "with_caption" / f"set_{fold}" / f"{part}.txt"
                told.parent.mkdir(parents=True, exist_ok=True)
                text = "".join(
                    f"{file}\t{name}\t一个女人皱着眉头\tA woman frowns, her lips apart.\r\n"
                    for file, name in rows
                    if name != "neutral"
                )
                told.write_bytes(text.encode("gbk"))
    if frames is not None:
        for number in range(1, 2 * len(compound) + 1):
            write_frames(root / frames / f"{number:05d}", suffix="png")
    return root


def make_store(
    root: Path, *, subjects: int = 6, clips_each: int = 3, labelled: bool = True
) -> Path:
    """A face store of `subjects` people with `clips_each` clips, each of a different class."""
    rows = []
    for subject in range(subjects):
        for number in range(clips_each):
            clip_id = f"s{subject}-{number}"
            folder = root / "frames" / clip_id
            write_frames(folder)
            row = ClipRow(
                clip_id=clip_id,
                source=f"../videos/{clip_id}.mp4",
                track=0,
                label=SEVEN[number % 7] if labelled else None,
                subject=f"s{subject}",
                num_frames=FRAMES,
                fps=25.0,
                start_seconds=0.0,
                end_seconds=0.7,
                detector="haar",
            )
            write_track_and_record(root, row, range(1, FRAMES + 1))
            rows.append(row.to_row())
    write_rows(root / "clips.jsonl", rows)
    write_json(root / "dataset.json", {"schema": STORE_SCHEMA, "label_set": list(SEVEN)})
    return root
