"""The worth of each stream of FineCLIPER on bad frames: all subsets, on drawn faces.

    python benchmarks/streams_hard_drawn_faces.py work/ > streams.md

As `finecliper_drawn_faces.py`, but every clip has one or two of these faults: low light, a small
face, motion blur, an occluded mouth, a strong turn of the head. The script imitates the output of
networks: landmarks are off by more pixels on worse pictures, parsing maps are coarser and lose an
occluded mouth, and captions come from noisy intensities of action units, some missed and some
invented, never from the label. Each seed trains one model of all streams and tests it with every
subset of them; FineCLIPER, DFER-CLIP and clip-lora on frames alone are trained for comparison.
These are toys: the numbers compare lines of one table with each other, and nothing else.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import torch
from finecliper_drawn_faces import (
    FIRST_PERSON,
    RENDERED,
    SIZE,
    STREAMS,
    crop,
    pretrain_clip,
    progress,
    settings,
)
from numpy.typing import NDArray

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.captions import CaptionRow, append_caption
from dfercli.artifacts.face_parts import REGIONS, write_landmarks, write_maps
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.config import TrainConfig
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.data.store_folds import read_store_clips
from dfercli.drawn_faces.action_units import ACTION_UNITS, expression_curves
from dfercli.drawn_faces.captions import describe_changes
from dfercli.drawn_faces.clip import DrawnClip
from dfercli.drawn_faces.drawing import draw_face
from dfercli.drawn_faces.geometry import Pose
from dfercli.drawn_faces.identity import random_identity
from dfercli.drawn_faces.scene import random_scene
from dfercli.evaluation.clip_streams import stream_reader
from dfercli.inference.restore import restore_model
from dfercli.labels import SEVEN
from dfercli.models.finecliper import FineCliper
from dfercli.progress import LogProgress
from dfercli.training import run as train

FAULTS = ("dark", "small", "blurred", "occluded", "turned")
LIPS = range(48, 68)
NUM_FRAMES = 6
METHODS = ("finecliper", "dfer-clip", "clip-lora")


def hard_clip(label: str, person: int, rng: np.random.Generator) -> tuple[DrawnClip, list[str]]:
    """Render one clip, with a turned head if that is one of its faults."""
    identity = random_identity(np.random.default_rng(person))
    faults = rng.choice(FAULTS, size=rng.integers(1, 3), replace=False).tolist()
    curves = expression_curves(label, rng, NUM_FRAMES, 5.0)
    scene = random_scene(rng, RENDERED)
    yaw = rng.choice([-1, 1]) * rng.uniform(0.45, 0.7) if "turned" in faults else 0.0
    drawn = [
        draw_face(
            identity,
            dict(zip(ACTION_UNITS, intensities.tolist(), strict=True)),
            Pose((0.5, 0.47), 0.25, rng.uniform(-0.05, 0.05), yaw, 0.0, (0.0, 0.0)),
            scene,
            RENDERED,
            frame_index=index,
            with_regions=True,
        )
        for index, intensities in enumerate(curves)
    ]
    clip = DrawnClip(
        np.stack([one.image for one in drawn]),
        label,
        5.0,
        np.stack([one.landmarks_px for one in drawn]),
        np.stack([one.regions for one in drawn if one.regions is not None]),
        curves,
    )
    return clip, faults


def spoil(
    frames: NDArray[np.uint8],
    points: NDArray[np.float32],
    faults: list[str],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """The frames (T, S, S, 3) with the faults of the clip."""
    spoilt = []
    patch = rng.integers(0, 256, 3)
    for frame, own in zip(frames, points, strict=True):
        image = frame.astype(np.float32)
        if "occluded" in faults:
            low, high = own[LIPS].min(axis=0) - 3, own[LIPS].max(axis=0) + 4
            left, top, right, bottom = np.clip([*low, *high], 0, SIZE).astype(int)
            image[top:bottom, left:right] = patch
        if "small" in faults:
            small = cv2.resize(image, (14, 14), interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        if "blurred" in faults:
            image = cv2.blur(image, (9, 1))
        if "dark" in faults:
            image = 0.12 * image + rng.normal(0, 6, image.shape)
        spoilt.append(np.clip(image, 0, 255).astype(np.uint8))
    return np.stack(spoilt)


def found_by_networks(
    points: NDArray[np.float32],
    regions: NDArray[np.uint8],
    faults: list[str],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Landmarks and maps as networks would find them on the degraded frames."""
    off = 0.4 + 0.5 * len(faults)
    noisy = points + rng.normal(0, off, points.shape).astype(np.float32)
    if "occluded" in faults:  # the mouth is a guess
        noisy[:, LIPS] += rng.normal(0, 2.5, (1, len(LIPS), 2)).astype(np.float32)
    cells = 24 if set(faults) & {"small", "dark", "blurred"} else SIZE
    coarse = np.stack(
        [
            cv2.resize(
                cv2.resize(one, (cells, cells), interpolation=cv2.INTER_NEAREST),
                (SIZE, SIZE),
                interpolation=cv2.INTER_NEAREST,
            )
            for one in regions
        ]
    )
    if "occluded" in faults:
        mouth = [REGIONS.index(name) for name in ("upper_lip", "mouth", "lower_lip")]
        coarse[np.isin(coarse, mouth)] = REGIONS.index("skin")
    return noisy, coarse


def noisy_caption(curves: NDArray[np.float32], rng: np.random.Generator) -> str:
    """The caption of a careless observer: units are missed, invented, and off in strength."""
    seen = curves.copy()
    seen[:, rng.random(seen.shape[1]) < 0.4] = 0.0
    invented = rng.random(seen.shape[1]) < 0.12
    ramp = np.linspace(0, 1, len(seen))[:, None]
    seen[:, invented] = np.maximum(seen[:, invented], 0.6 * ramp)
    strength = rng.normal(1.0, 0.35, (1, seen.shape[1]))
    return describe_changes(np.clip(seen * strength, 0, 1).astype(np.float32))


def clips_of(part: str, people: int) -> Iterator[tuple[str, str, DrawnClip, list[str], int]]:
    """Each person with each expression: subject, clip id, clip, faults, seed."""
    for person in range(people):
        for number, label in enumerate(SEVEN):
            seed = 10 * (FIRST_PERSON[part] + person) + number
            rng = np.random.default_rng(seed)
            clip, faults = hard_clip(label, FIRST_PERSON[part] + person, rng)
            yield f"{part}-{person}", f"{part}-{person}-{label}", clip, faults, seed


def write_hard_store(folder: Path, part: str, people: int) -> None:
    """Write a face store of degraded clips with all streams; keep one that exists."""
    if (folder / "dataset.json").is_file():
        return
    rows = []
    for subject, clip_id, clip, faults, seed in clips_of(part, people):
        rng = np.random.default_rng(seed + 5)
        frames, points, regions = crop(clip)
        noisy, coarse = found_by_networks(points, regions, faults, rng)
        names = [f"{number:06d}" for number in range(len(frames))]
        (folder / "frames" / clip_id).mkdir(parents=True, exist_ok=True)
        for name, frame in zip(names, spoil(frames, points, faults, rng), strict=True):
            cv2.imwrite(str(folder / "frames" / clip_id / f"{name}.jpg"), frame[..., ::-1])
        write_landmarks(folder, clip_id, noisy)
        write_maps(folder, "parsing", clip_id, zip(names, coarse, strict=True))
        caption = noisy_caption(clip.action_units, rng)
        made = CaptionRow(clip_id, caption, (), "noisy units", "none", "0", 0, (), "drawn")
        append_caption(folder, made)
        place = (clip_id, f"{clip_id}.mp4", 0, clip.label, subject, len(frames), clip.fps)
        row = ClipRow(*place, 0.0, len(frames) / clip.fps, "drawn", {"fault": "+".join(faults)})
        rows.append(row.to_row())
    write_rows(folder / "clips.jsonl", rows)
    about = {"schema": STORE_SCHEMA, "label_set": list(SEVEN), "settings": {"drawn": True}}
    write_json(folder / "dataset.json", about)


def training_of(
    method: str, streams: tuple[str, ...], seed: int, work: Path, epochs: int
) -> TrainConfig:
    """The settings to train one method without calibrating and measuring it."""
    config = settings(method, streams, seed, work, epochs)
    model = config.model
    if method == "clip-lora":
        own = replace(model.clip_lora, rank=8, alpha=16.0)
        model = replace(model, clip_lora=own)
        config = replace(config, optim=replace(config.optim, lr_adapter=5e-3))
    return replace(config, model=model)


def correct(run: Path, work: Path) -> dict[tuple[str, ...], NDArray[np.bool_]]:
    """For every subset of a trained model's streams, the test clips that it gets right."""
    restored = restore_model(next(run.glob("fold-1/checkpoints/last")))
    module = restored.module.eval()
    clips = read_store_clips(work / "test")[1]
    reader = stream_reader(module, clips, SEVEN, None, LogProgress())
    data = ClipDataset(clips, SEVEN, num_frames=4, image_size=SIZE, streams=reader)
    labels = torch.tensor(data.labels)
    batches = batch_loader(data, evaluation_batches(len(clips), 32), workers=0)
    with torch.no_grad():
        given = [batch.inputs(torch.device("cpu")) for batch in batches]
        if not isinstance(module, FineCliper):
            logits = torch.cat([module(**one) for one in given])
            return {("frames",): (logits.argmax(dim=1) == labels).numpy()}
        parts = [module.stream_features(**one) for one in given]
        features = torch.cat([one[0] for one in parts])
        found, names = {}, module.fusion.streams
        for count in range(1, len(names) + 1):
            for chosen in combinations(range(len(names)), count):
                present = torch.zeros(features.shape[:2], dtype=torch.bool)
                present[:, list(chosen)] = True
                outputs = module.compare(module.fuse(features, present), module.text_features())
                guesses = module.logits(outputs).argmax(dim=1)
                found[tuple(names[column] for column in chosen)] = (guesses == labels).numpy()
    return found


def interval(
    right: NDArray[np.bool_], subjects: list[str], draws: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of the mean of (seeds, clips) when people are resampled."""
    rng = np.random.default_rng(0)
    people = sorted(set(subjects))
    each = np.array([right[:, [s == one for s in subjects]].mean() for one in people])
    means = each[rng.integers(0, len(people), (draws, len(people)))].mean(axis=1)
    low, high = np.percentile(100 * means, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Draw, pretrain, train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--pretrain-people", type=int, default=60)
    parser.add_argument("--pretrain-epochs", type=int, default=8)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--test-people", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    work = given.work
    work.mkdir(parents=True, exist_ok=True)
    write_hard_store(work / "train", "train", given.people)
    progress("training clips are drawn")
    write_hard_store(work / "test", "test", given.test_people)
    progress("test clips are drawn")
    pretrain_clip(work / "clip.pt", given.pretrain_people, given.pretrain_epochs)
    subjects = [str(clip.subject) for clip in read_store_clips(work / "test")[1]]
    rows: dict[str, list[NDArray[np.bool_]]] = {}
    for seed in given.seeds:
        trainings = [("finecliper", STREAMS), *((method, ("frames",)) for method in METHODS)]
        for method, streams in trainings:
            config = training_of(method, streams, seed, work, given.epochs)
            run = config.out / str(config.name)
            if not (run / "fold-1" / "result.json").is_file():
                again = LogProgress()
                _ = train.resume(run, again) if run.exists() else train.run(config, again)
            for subset, right in correct(run, work).items():
                name = f"{method}, trained on {' + '.join(streams)}: {' + '.join(subset)}"
                rows.setdefault(name, []).append(right)
            progress(f"seed {seed}: {method} on {' + '.join(streams)} is done")
    print(f"WAR (%) on {len(subjects)} clips of {given.test_people} people not trained on")
    print("\n| model: looks at | mean | 95 % over people | seeds |\n|---|---|---|---|")
    for name, right in sorted(rows.items(), key=lambda item: -np.mean(item[1])):
        low, high = interval(np.stack(right), subjects)
        seeds = ", ".join(f"{100 * one.mean():.1f}" for one in right)
        print(f"| {name} | {100 * np.mean(right):.1f} | {low:.1f} to {high:.1f} | {seeds} |")
    means = {name: float(np.mean(right)) for name, right in rows.items()}
    (work / "means.json").write_text(json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
