"""Loading in `dfer bench`: JPEG files on disk to an augmented batch, against the PIL path."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from dfercli.bench.reference import published_frames
from dfercli.bench.speed import Speed, by_turns
from dfercli.config import AugmentConfig, BenchConfig
from dfercli.data.augmentation import draw_augmentation
from dfercli.data.clips import Clip
from dfercli.data.loading import ClipDataset, batch_loader, clip_frames
from dfercli.data.sampling import clip_rng, sample_train
from dfercli.labels import SEVEN
from dfercli.progress import Task

CLIPS_ON_DISK, FRAMES_ON_DISK, FRAME_PX = 8, 32, 224
SETTINGS = AugmentConfig(brightness=0.5)  # those of DFEW


def measure_loading(config: BenchConfig, place: torch.device, task: Task) -> Speed:
    """JPEG files to one augmented batch, by one process with one thread; a GPU augments itself."""
    size = FRAME_PX
    with tempfile.TemporaryDirectory(prefix="dfer-bench-") as folder:
        clips = _write_clips(Path(folder))
        dataset = ClipDataset(
            clips,
            SEVEN,
            num_frames=config.num_frames,
            image_size=size,
            augmentation=SETTINGS,
            seed=1,
            augment_on_device=place.type == "cuda",
        )
        keys = [[(0, index) for index in range(len(clips))]]

        def ours() -> None:
            for _ in batch_loader(dataset, keys, workers=0):
                pass

        def published() -> None:
            torch.stack([_published_clip(clip, index) for index, clip in enumerate(clips)])

        def _published_clip(clip: Clip, index: int) -> torch.Tensor:
            paths, rng = clip_frames(clip), clip_rng(1, 0, index)
            chosen = sample_train(len(paths), config.num_frames, rng)
            draw = draw_augmentation(size, size, SETTINGS, rng)
            return published_frames([paths[number] for number in chosen], draw, size)

        threads = torch.get_num_threads(), cv2.getNumThreads()
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        try:
            seconds, theirs = by_turns([ours, published], config.runs, torch.device("cpu"), task)
        finally:
            torch.set_num_threads(threads[0])
            cv2.setNumThreads(threads[1])
    return Speed(len(clips), "uint8", seconds, theirs)


def _write_clips(folder: Path) -> list[Clip]:
    """Clips of smooth pictures with a little noise, about as large as face crops."""
    clips = []
    for number in range(CLIPS_ON_DISK):
        rng = np.random.default_rng(number)
        coarse = rng.integers(40, 216, (14, 14, 3), np.uint8)
        smooth = cv2.resize(coarse, (FRAME_PX, FRAME_PX), interpolation=cv2.INTER_CUBIC)
        place = folder / f"clip-{number}"
        place.mkdir()
        for frame in range(FRAMES_ON_DISK):
            noisy = smooth + rng.normal(0, 3, smooth.shape)
            picture = np.clip(noisy, 0, 255).astype(np.uint8)
            quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
            cv2.imwrite(str(place / f"{frame:06d}.jpg"), picture, quality)
        clips.append(Clip(place.name, place, SEVEN[0]))
    return clips
