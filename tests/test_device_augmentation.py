"""Augmentation on the device: the same pictures as on the CPU, from raw clips of any sizes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from face_parts import store_with_parts
from stores import write_store

from dfercli.config import AugmentConfig
from dfercli.data.augmentation import AugmentDraw, augment, draw_augmentation
from dfercli.data.batches import Batch
from dfercli.data.clips import Clip
from dfercli.data.device_augmentation import RawClips, augment_clips
from dfercli.data.loading import ClipDataset, batch_loader
from dfercli.data.store_folds import read_store_fold
from dfercli.data.streams import StreamReader

CPU = torch.device("cpu")
SIZES = [(32, 32), (24, 24), (80, 48), (32, 32), (20, 64)]
EVERYTHING = AugmentConfig(crop_scale=0.3, flip=0.5, brightness=0.5, rotation_degrees=20.0)


def smooth_frames(height: int, width: int, count: int = 2) -> np.ndarray:
    """Frames (T, H, W, 3) of blobs: smooth as a picture of a face is, and white noise is not."""
    rng = np.random.default_rng([height, width])
    noise = rng.integers(0, 256, (count, height, width, 3)).astype(np.float32)
    blurred = [cv2.GaussianBlur(frame, (0, 0), 2) for frame in noise]
    return np.clip((np.stack(blurred) - 128) * 5 + 128, 0, 255).astype(np.uint8)


def difference(
    draw: AugmentDraw, frames: np.ndarray, size: int, dtype: torch.dtype
) -> torch.Tensor:
    pixels = torch.from_numpy(frames)
    on_cpu = augment(pixels.permute(0, 3, 1, 2), draw, size)
    on_device = augment_clips(pixels[None], [draw], size, dtype)[0]
    assert on_device.dtype == torch.uint8
    return (on_cpu.int() - on_device.int()).abs()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("source", [(64, 64), (40, 56), (150, 120)])
def test_without_rotation_a_draw_gives_the_same_picture_to_one_grey_level(
    source: tuple[int, int], dtype: torch.dtype
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *source, 3), dtype=np.uint8)
    config = AugmentConfig(crop_scale=0.08, flip=0.5, brightness=0.5)
    for seed in range(12):
        draw = draw_augmentation(*source, config, np.random.default_rng(seed))
        assert difference(draw, frames, 64, dtype).max() <= 1, draw


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("source", [(64, 64), (40, 56), (150, 120)])
def test_with_rotation_a_draw_gives_the_same_picture_to_two_grey_levels(
    source: tuple[int, int], dtype: torch.dtype
) -> None:
    # OpenCV rounds the positions at which it reads a rotated picture to 1/32 pixel.
    for seed in range(12):
        draw = draw_augmentation(*source, EVERYTHING, np.random.default_rng(seed))
        off = difference(draw, smooth_frames(*source), 64, dtype)
        assert (off > 2).float().mean() < 2e-3, draw
        assert off.float().mean() < 0.5, draw


def test_a_rotation_is_counter_clockwise_and_brings_in_black() -> None:
    frames = np.zeros((1, 33, 33, 3), np.uint8)
    frames[0, 16, 24:] = 255  # a line from the middle to the right
    upwards = AugmentDraw(1.0, 90.0, (0, 0, 33, 33), flip=False)
    pixels = torch.from_numpy(frames)
    for result in (
        augment(pixels.permute(0, 3, 1, 2), upwards, 33)[0, 0],
        augment_clips(pixels[None], [upwards], 33)[0, 0, 0],
    ):
        assert (result[:9, 16] >= 254).all()
        assert int((result > 100).sum()) == 9
    white = torch.full((1, 1, 33, 33, 3), 255, dtype=torch.uint8)
    turned = AugmentDraw(1.0, 45.0, (0, 0, 33, 33), flip=False)
    corners = augment_clips(white, [turned], 33)[0, 0, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [0, 0, 0, 0]


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Clips of unequal sizes."""
    rows = [
        (f"c{number}", "happiness", None, smooth_frames(*size, count=5))
        for number, size in enumerate(SIZES)
    ]
    store = write_store(tmp_path / "faces", rows)
    return [Clip(name, store / "frames" / name, "happiness") for name, *_ in rows]


def batch_of(clips: list[Clip], *, workers: int = 0, on_device: bool) -> Batch:
    dataset = ClipDataset(
        clips,
        ["happiness"],
        num_frames=3,
        image_size=32,
        augmentation=EVERYTHING,
        seed=2,
        augment_on_device=on_device,
    )
    (batch,) = batch_loader(dataset, [[(4, i) for i in range(len(clips))]], workers=workers)
    return batch


@pytest.mark.parametrize("workers", [0, 1])
def test_a_raw_batch_of_unequal_clips_becomes_the_batch_that_the_cpu_makes(
    clips: list[Clip], workers: int
) -> None:
    raw = batch_of(clips, workers=workers, on_device=True)
    assert isinstance(raw.frames, RawClips)
    assert raw.frames.pixels.numel() == sum(3 * 3 * height * width for height, width in SIZES)
    result = raw.inputs(CPU)["frames"]
    expected = batch_of(clips, on_device=False).inputs(CPU)["frames"]
    assert result.shape == expected.shape == (5, 3, 3, 32, 32)
    off = (result.int() - expected.int()).abs().flatten(1).float()
    assert off.mean(dim=1).max() < 0.5
    assert (off > 2).float().mean() < 2e-3


def test_a_raw_batch_in_pieces_is_the_raw_batch(clips: list[Clip]) -> None:
    batch = batch_of(clips, on_device=True)
    whole = batch.inputs(CPU)["frames"]
    pieces = [piece.inputs(CPU)["frames"] for piece in batch.split(3)]
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert torch.equal(torch.cat(pieces), whole)


def test_streams_are_augmented_on_the_device_by_the_draws_of_their_clips(tmp_path: Path) -> None:
    store = store_with_parts(tmp_path / "faces", without=("happiness-0",), clips_per_class=2)
    clips = read_store_fold(store).train
    names = ("landmarks", "parsing")
    batches = []
    for on_device in (True, False):
        data = ClipDataset(
            clips,
            ("happiness", "sadness"),
            num_frames=3,
            image_size=32,
            augmentation=EVERYTHING,
            streams=StreamReader(names),
            augment_on_device=on_device,
        )
        (batch,) = batch_loader(data, [[(1, i) for i in range(len(clips))]], workers=0)
        batches.append(batch.inputs(CPU))
    raw, ready = batches
    for name in names:
        assert torch.equal(raw[name][1], ready[name][1])
        assert not raw[name][0][~raw[name][1]].any()
        off = (raw[name][0].int() - ready[name][0].int()).abs().float()
        assert off.mean() < 0.5
        assert ready[name][0].any()
