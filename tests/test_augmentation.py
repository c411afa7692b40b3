"""Training augmentation: one draw for all frames of a clip, within the published bounds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from stores import write_store

from dfercli.config import AugmentConfig
from dfercli.data.augmentation import AugmentDraw, augment, draw_augmentation
from dfercli.data.clips import Clip
from dfercli.data.loading import ClipDataset

EVERYTHING = AugmentConfig(brightness=0.5, rotation_degrees=4.0)
AS_IT_IS = AugmentDraw(1.0, 0.0, (0, 0, 24, 24), flip=False)


def random_frames(*shape: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))


def test_all_frames_of_a_clip_get_the_same_draw() -> None:
    frames = random_frames(1, 3, 24, 24).repeat(5, 1, 1, 1)
    for seed in range(20):
        draw = draw_augmentation(24, 24, EVERYTHING, np.random.default_rng(seed))
        result = augment(frames, draw, 16)
        assert result.shape == (5, 3, 16, 16)
        assert result.dtype == torch.uint8
        assert (result == result[:1]).all()


def test_draws_stay_within_their_bounds_and_use_them() -> None:
    draws = [
        draw_augmentation(100, 80, EVERYTHING, np.random.default_rng(seed)) for seed in range(500)
    ]
    assert {draw.flip for draw in draws} == {True, False}
    assert 0.5 <= min(draw.brightness for draw in draws) < 0.6
    assert 1.4 < max(draw.brightness for draw in draws) <= 1.5
    assert 3.5 < max(abs(draw.rotation_degrees) for draw in draws) <= 4
    crops = [draw.crop for draw in draws]
    for top, left, height, width in crops:
        assert top + height <= 100
        assert left + width <= 80
        assert 0.07 <= height * width / 8000 <= 1
        assert 0.72 <= height / width <= 1.39
    assert min(height * width for _, _, height, width in crops) < 0.15 * 8000


def test_a_draw_of_nothing_changes_nothing() -> None:
    frames = random_frames(2, 3, 24, 24)
    assert torch.equal(augment(frames, AS_IT_IS, 24), frames)
    none = AugmentConfig(crop_scale=1.0, flip=0.0)
    assert draw_augmentation(24, 24, none, np.random.default_rng(0)).crop == (0, 0, 24, 24)


def test_a_flip_mirrors_and_a_crop_is_a_part() -> None:
    frames = random_frames(2, 3, 24, 24)
    flipped = AugmentDraw(1.0, 0.0, (0, 0, 24, 24), flip=True)
    assert torch.equal(augment(frames, flipped, 24), frames.flip(-1))
    wide = random_frames(2, 3, 24, 48)
    right = AugmentDraw(1.0, 0.0, (0, 24, 24, 24), flip=False)
    assert torch.equal(augment(wide, right, 24), wide[..., 24:])


def test_a_crop_that_fits_nowhere_becomes_a_square_of_the_short_side() -> None:
    whole = AugmentConfig(crop_scale=0.99)
    crops = [draw_augmentation(24, 96, whole, np.random.default_rng(s)).crop for s in range(200)]
    assert {(top, height, width) for top, _, height, width in crops} == {(0, 24, 24)}
    lefts = {left for _, left, _, _ in crops}
    assert 0 <= min(lefts) < 4
    assert 68 < max(lefts) <= 72


def test_brightness_is_a_factor() -> None:
    frames = torch.full((1, 3, 24, 24), 100, dtype=torch.uint8)
    half = AugmentDraw(0.5, 0.0, (0, 0, 24, 24), flip=False)
    assert (augment(frames, half, 24) == 50).all()


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    frames = np.random.default_rng(1).integers(0, 256, (9, 24, 24, 3), dtype=np.uint8)
    store = write_store(tmp_path / "faces", [("a", "happiness", "s", frames)])
    return Clip("a", store / "frames" / "a", "happiness")


def test_an_item_depends_only_on_seed_epoch_and_clip(clip: Clip) -> None:
    def frames(seed: int, epoch: int) -> torch.Tensor:
        dataset = ClipDataset(
            [clip], ["happiness"], num_frames=4, image_size=16, augmentation=EVERYTHING, seed=seed
        )
        item = dataset[epoch, 0]
        assert isinstance(item, tuple)
        return item[0]

    assert torch.equal(frames(1, 0), frames(1, 0))
    assert not torch.equal(frames(1, 0), frames(1, 1))
    assert not torch.equal(frames(1, 0), frames(2, 0))
