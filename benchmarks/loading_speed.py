"""Time from JPEG files to an augmented batch, against the published PIL path.

Makes its own clips: 48 frames of a smooth picture with noise, 13 KB each at 224 px and quality 95,
like face crops of real videos (8 to 16 KB); 16 of them are sampled. All paths take turns in one run
with the same clips, sampling and draws, in one process and one thread, with the files in memory:

- PIL: per frame open, convert to RGB, brightness, rotation, crop and resize, flip; per clip a
  float tensor divided by 255; the clips stacked, as the published code does;
- ours: `ClipDataset` and `collate`, to a uint8 batch; the model divides (`+ /255` includes that);
- raw: the work of a reading process if a GPU augments;
- packed: frames from a file of decoded arrays instead of JPEG files, then augmented.

Prints medians of milliseconds per sampled frame and ratios to PIL, then where our time goes.

    python benchmarks/loading_speed.py [--json]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dfercli.bench.reference import published_frames
from dfercli.config import AugmentConfig
from dfercli.data.augmentation import augment, draw_augmentation
from dfercli.data.batches import collate
from dfercli.data.clips import Clip
from dfercli.data.loading import ClipDataset, batch_loader, clip_frames, read_frames
from dfercli.data.sampling import clip_rng, sample_train

SETTINGS = {
    "dfew": AugmentConfig(brightness=0.5),
    "ferv39k": AugmentConfig(rotation_degrees=4.0),
}
FRAMES_ON_DISK, NUM_FRAMES, IMAGE_SIZE, BATCH_SIZE = 48, 16, 224, 8
SEED = 1


def make_clips(folder: Path, side: int, count: int) -> list[Clip]:
    """Write clips of `side` x `side` JPEG frames."""
    y, x = np.mgrid[0:side, 0:side] / side
    clips = []
    for number in range(count):
        rng = np.random.default_rng([side, number])
        light = 110 + 50 * np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.08)
        face = np.stack([light + 30 * np.sin(5 * x + c + 3 * y) for c in range(3)], axis=-1)
        for _ in range(12):
            (left, top), radius = rng.uniform(0.2, 0.8, 2), rng.uniform(0.02, 0.1)
            disc = (x - left) ** 2 + (y - top) ** 2 < radius**2
            face[disc] += rng.uniform(-60, 60)
        face = cv2.GaussianBlur(face, (0, 0), side / 150)
        place = folder / f"{side}-{number}"
        place.mkdir()
        for frame in range(FRAMES_ON_DISK):
            noisy = np.clip(face + rng.normal(0, 3, face.shape), 0, 255).astype(np.uint8)
            name = str(place / f"{frame:06d}.jpg")
            cv2.imwrite(name, noisy, [cv2.IMWRITE_JPEG_QUALITY, 95])
        clips.append(Clip(place.name, place, "happiness"))
    return clips


def pil_clip(clip: Clip, index: int, config: AugmentConfig) -> Tensor:
    """One augmented clip as published, (T, 3, S, S) float32 in [0, 1]."""
    paths = sorted(clip.location.glob("*.jpg"))
    rng = clip_rng(SEED, 0, index)
    chosen = sample_train(len(paths), NUM_FRAMES, rng)
    with Image.open(paths[0]) as first:
        draw = draw_augmentation(first.height, first.width, config, rng)
    return published_frames([paths[i] for i in chosen], draw, IMAGE_SIZE)


def dataset(clips: list[Clip], config: AugmentConfig, **options: bool) -> ClipDataset:
    """Our data set for training."""
    return ClipDataset(
        clips,
        ["happiness"],
        num_frames=NUM_FRAMES,
        image_size=IMAGE_SIZE,
        augmentation=config,
        seed=SEED,
        **options,
    )


def batches_of(count: int) -> list[list[int]]:
    """Positions of clips, batch by batch."""
    return [list(range(start, start + BATCH_SIZE)) for start in range(0, count, BATCH_SIZE)]


def paths_to_batches(
    clips: list[Clip], config: AugmentConfig, folder: Path
) -> dict[str, Callable[[], object]]:
    """The paths from disk to batches; each function takes all clips through its path once."""
    keys = [[(0, index) for index in batch] for batch in batches_of(len(clips))]
    ours = dataset(clips, config)
    not_augmented = dataset(clips, config, augment_on_device=True)
    side = read_frames(clip_frames(clips[0])[:1]).shape[-1]
    packed = np.memmap(
        folder / f"packed-{side}",
        np.uint8,
        "w+",
        shape=(len(clips), FRAMES_ON_DISK, side, side, 3),
    )
    for row, clip in zip(packed, clips, strict=True):
        row[:] = read_frames(clip_frames(clip)).permute(0, 2, 3, 1).numpy()

    def pil() -> None:
        for batch in batches_of(len(clips)):
            torch.stack([pil_clip(clips[index], index, config) for index in batch])

    def to_bytes() -> None:
        for _ in batch_loader(ours, keys, workers=0):
            pass

    def to_floats() -> None:
        for batch in batch_loader(ours, keys, workers=0):
            _ = batch.frames.float().div_(255)

    def raw() -> None:
        for _ in batch_loader(not_augmented, keys, workers=0):
            pass

    def from_packed() -> None:
        for batch in batches_of(len(clips)):
            items = []
            for index in batch:
                rng = clip_rng(SEED, 0, index)
                chosen = sample_train(FRAMES_ON_DISK, NUM_FRAMES, rng)
                draw = draw_augmentation(side, side, config, rng)
                frames = torch.from_numpy(packed[index, chosen]).permute(0, 3, 1, 2)
                items.append((augment(frames, draw, IMAGE_SIZE), 0, index, {}))
            collate(items)

    return {
        "PIL": pil,
        "ours": to_bytes,
        "+ /255": to_floats,
        "raw": raw,
        "packed": from_packed,
    }


def parts_of_our_time(clips: list[Clip], config: AugmentConfig) -> dict[str, Callable[[], object]]:
    """The parts of our path, each on its own over the sampled frames of all clips."""
    keys = [(0, index) for index in range(len(clips))]
    sampled, draws = [], []
    for index, clip in enumerate(clips):
        rng = clip_rng(SEED, 0, index)
        paths = clip_frames(clip)
        sampled.append([paths[i] for i in sample_train(len(paths), NUM_FRAMES, rng)])
        side = cv2.imread(str(paths[0])).shape[0]
        draws.append(draw_augmentation(side, side, config, rng))
    contents = [np.fromfile(path, np.uint8) for paths in sampled for path in paths]
    frames = [read_frames(paths) for paths in sampled]
    ours = dataset(clips, config)
    items = [ours[key] for key in keys]

    def augment_all() -> None:
        for own, draw in zip(frames, draws, strict=True):
            augment(own, draw, IMAGE_SIZE)

    return {
        "list folders": lambda: [clip_frames(clip) for clip in clips],
        "read files": lambda: [path.read_bytes() for paths in sampled for path in paths],
        "decode JPEG": lambda: [
            cv2.imdecode(content, cv2.IMREAD_COLOR_RGB) for content in contents
        ],
        "read_frames": lambda: [read_frames(paths) for paths in sampled],
        "augment": augment_all,
        "collate": lambda: [
            collate([items[index] for index in batch]) for batch in batches_of(len(clips))
        ],
    }


def medians(works: dict[str, Callable[[], object]], runs: int, frames: int) -> dict[str, float]:
    """Median milliseconds per frame of each, measured in turns after one run to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for run in range(runs + 1):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            if run:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(own) / frames * 1e3 for name, own in seconds.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 112, 320])
    parser.add_argument("--json", action="store_true", help="a line of JSON instead of a table")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    frames = arguments.clips * NUM_FRAMES
    found = []
    for side in arguments.sides:
        with tempfile.TemporaryDirectory() as name:
            clips = make_clips(Path(name), side, arguments.clips)
            files = [path for clip in clips for path in clip_frames(clip)]
            kilobytes = sum(path.stat().st_size for path in files) / len(files) / 1024
            for setting, config in SETTINGS.items():
                ways = medians(paths_to_batches(clips, config, Path(name)), arguments.runs, frames)
                parts = medians(parts_of_our_time(clips, config), arguments.runs, frames)
                row = {"side_px": side, "jpeg_kb": kilobytes, "setting": setting}
                found.append(row | {"ms_per_frame": ways, "parts_ms_per_frame": parts})
    if arguments.json:
        print(json.dumps({"load_before": os.getloadavg()[0], "rows": found}))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; ms per frame (ratio to PIL)")
    for row in found:
        reference = row["ms_per_frame"]["PIL"]
        shown = (f"{n} {v:.3f} ({reference / v:.2f})" for n, v in row["ms_per_frame"].items())
        print(
            f"{row['side_px']} px, {row['jpeg_kb']:.0f} KB, {row['setting']}: " + "  ".join(shown)
        )
        print("    " + "  ".join(f"{n} {v:.3f}" for n, v in row["parts_ms_per_frame"].items()))


if __name__ == "__main__":
    main()
