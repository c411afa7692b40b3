"""Mixup, CutMix, RandAugment, erasing, averaged weights, strides, views: each, and a resume."""

import os
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from running import two_processes
from stores import bright_and_dark_store
from test_device_augmentation import smooth_frames
from trainings import MODEL, Interrupting, last_weights, small_config

from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.config import AugmentConfig
from dfercli.data.augmentation import AugmentDraw, augment, draw_augmentation
from dfercli.data.batches import Batch
from dfercli.data.device_augmentation import augment_clips
from dfercli.data.loading import ClipDataset
from dfercli.data.mixing import MixDraw, draw_mix, mix_clips
from dfercli.data.random_operations import (
    OPERATIONS,
    apply_operations,
    draw_erased,
    draw_operations,
)
from dfercli.data.sampling import Sampling, sample_test, sample_training, sample_view
from dfercli.data.store_folds import read_store_fold
from dfercli.inference.fabric import make_fabric
from dfercli.inference.predict_logits import predict_logits
from dfercli.inference.restore import new_model, restore_model
from dfercli.progress import LogProgress, SilentProgress
from dfercli.training import run as train
from dfercli.training.averaged_weights import AveragedWeights

ALL = AugmentConfig(
    crop_scale=0.5,
    rand_augment=2,
    erasing=0.5,
    mixup=0.8,
    cutmix=1.0,
    ema=0.9,
    stride=1,
    views=2,
    mirrored=True,
)
PICTURES = AugmentConfig(crop_scale=0.5, rand_augment=3, erasing=1.0)


def frames_of(*sides: int) -> torch.Tensor:
    return torch.from_numpy(smooth_frames(*sides)).permute(0, 3, 1, 2)


def test_all_are_off_unless_asked_for():
    config = AugmentConfig()
    draw = draw_augmentation(32, 32, config, np.random.default_rng(0))
    with_all = draw_augmentation(32, 32, replace(ALL, crop_scale=0.08), np.random.default_rng(0))
    assert (draw.operations, draw.erased, draw_mix(config, 1, 0)) == ((), None, None)
    assert replace(with_all, operations=(), erased=None) == draw  # the other draws are as before
    assert AugmentConfig(crop_scale=1, flip=0, mixup=1, ema=0.9, stride=2).is_off
    assert not AugmentConfig(crop_scale=1, flip=0, erasing=0.1).is_off
    assert set(config.of_pictures) == {
        *("crop_scale", "flip", "brightness", "rotation_degrees", "rotation_pixels")
    }


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_treats_all_frames_alike_and_changes_them(name):
    frame = frames_of(48, 48)[:1] // 2 + 20
    result = apply_operations(frame.repeat(3, 1, 1, 1), [(name, 0.7)], None)
    assert result.dtype == torch.uint8
    assert result.shape == (3, 3, 48, 48)
    assert torch.equal(result[0], result[1])
    assert not torch.equal(result[0], frame[0])


def test_operations_and_rectangles_are_drawn_within_their_bounds():
    rng = np.random.default_rng(0)
    drawn = [own for _ in range(60) for own in draw_operations(4, 7, rng)]
    assert {name for name, _ in drawn} == set(OPERATIONS)
    assert {level for _, level in drawn} == {0.7, -0.7}
    for _ in range(100):
        erased = draw_erased(rng)
        top, left, height, width = erased.box
        assert 0 <= top <= top + height <= 1 + 1e-9
        assert 0 <= left <= left + width <= 1 + 1e-9
        assert 0.01 < height * width < 0.34
        result = apply_operations(torch.zeros(2, 3, 40, 40, dtype=torch.uint8), (), erased)
        painted = (result[0] != 0).float().mean(dim=(1, 2))
        assert torch.equal(result[0], result[1])
        assert painted[0] == 0 or painted[0] == pytest.approx(height * width, abs=0.1)


def test_the_device_does_what_the_cpu_does():
    for seed in range(6):
        draw = draw_augmentation(64, 64, PICTURES, np.random.default_rng(seed))
        draw = replace(
            draw, operations=tuple(own for own in draw.operations if "ize" not in own[0])
        )
        pixels = torch.from_numpy(smooth_frames(64, 64))
        on_cpu = augment(pixels.permute(0, 3, 1, 2), draw, 32)
        on_device = augment_clips(pixels[None], [draw], 32)[0]
        off = (on_cpu.int() - on_device.int()).abs().float()
        assert off.mean() < 1.5, draw


def test_drawn_images_are_moved_but_keep_their_colours():
    operations = (("rotate", 0.5), ("solarize", 0.5), ("shear-x", -0.5))
    erased = draw_erased(np.random.default_rng(0))
    draw = AugmentDraw(1.2, 3.0, (0, 0, 8, 8), False, operations=operations, erased=erased)
    moved = draw.of_drawn_images()
    assert moved == AugmentDraw(1.0, 3.0, (0, 0, 8, 8), False, operations=operations[::2])


def batch(count: int = 4, **streams: object) -> Batch:
    frames = torch.stack(
        [torch.full((2, 3, 8, 8), 10 * i, dtype=torch.uint8) for i in range(count)]
    )
    labels = torch.arange(count) % 3
    return Batch(frames, labels, torch.arange(count), dict(streams))


def test_mixup_mixes_frames_and_labels_by_the_same_share():
    mixed = mix_clips(batch(), MixDraw(0.7), 3)
    assert mixed.frames[:, 0, 0, 0, 0].tolist() == [6, 16, 14, 24]
    assert torch.allclose(mixed.labels[0], torch.tensor([0.7, 0, 0.3]))
    assert mixed.labels.sum(-1).tolist() == pytest.approx([1] * 4)
    assert mix_clips(batch(), None, 3).labels.ndim == 1
    soft = replace(batch(), labels=torch.full((4, 3), 1 / 3))
    torch.testing.assert_close(mix_clips(soft, MixDraw(0.7), 3).labels, soft.labels)


def test_cutmix_takes_a_rectangle_and_counts_its_pixels():
    mixed = mix_clips(batch(), MixDraw(0.9, (0.0, 0.5, 0.5, 1.0)), 3)
    assert (mixed.frames[0, :, :, :4, 4:] == 20).all()
    assert (mixed.frames[0, :, :, 4:] == 0).all()
    assert mixed.labels[0].tolist() == [0.75, 0, 0.25]


def test_streams_are_mixed_with_the_frames():
    there = torch.tensor([True, True, False, True])
    tokens = torch.arange(4)[:, None]
    given = {"landmarks": (batch().frames, there), "captions": (tokens, there)}
    mixed = mix_clips(batch(**given), MixDraw(0.3), 3).streams
    assert mixed["landmarks"][0][1, 0, 0, 0, 0] == round(0.3 * 10 + 0.7 * 30)
    assert mixed["landmarks"][1].tolist() == [False, True, False, True]
    assert mixed["captions"][0][:, 0].tolist() == [2, 3, 0, 1]
    assert mixed["captions"][1].tolist() == [False, True, True, True]


def test_pairs_are_the_same_in_two_processes():
    whole = mix_clips(batch(8), MixDraw(0.6), 3)
    for rank in (0, 1):
        part = slice(rank, None, 2)
        every = batch(8)
        own = Batch(every.frames[part], every.labels[part], every.clips[part])
        mixed = mix_clips(own, MixDraw(0.6), 3)
        assert torch.equal(mixed.frames, whole.frames[part])
        torch.testing.assert_close(mixed.labels, whole.labels[part])


def test_each_batch_draws_one_of_the_two():
    draws = [draw_mix(ALL, 1, step) for step in range(60)]
    assert draws[7] == draw_mix(ALL, 1, 7)
    boxes = [draw.box for draw in draws if draw is not None and draw.box is not None]
    assert 15 < len(boxes) < 45
    assert all(0 <= box[0] <= box[1] <= 1 and 0 <= box[2] <= box[3] <= 1 for box in boxes)


def test_strides_and_views():
    rng = np.random.default_rng(0)
    drawn = sample_training(64, 16, Sampling(stride=4), rng)
    assert set(np.diff(drawn)) == {4}
    assert 0 <= drawn[0] <= 3
    assert sample_view(64, 16, Sampling(stride=4)).tolist() == list(range(1, 62, 4))
    two = [sample_view(100, 16, Sampling(4, 2), view)[[0, -1]].tolist() for view in (0, 1)]
    assert two == [[0, 60], [39, 99]]
    for number in (1, 7, 16, 40, 60):  # too short for the stride: as published
        assert np.array_equal(sample_view(number, 16, Sampling(4)), sample_test(number, 16))
    apart = [sample_view(64, 16, Sampling(0, 2), view) for view in (0, 1)]
    assert np.array_equal(apart[1] - apart[0], [2] * 16)
    mirrored = Sampling(0, 2, mirrored=True)
    assert mirrored.num_views == 4
    assert np.array_equal(sample_view(64, 16, mirrored, 3), apart[1])


def test_averages_follow_the_weights_and_leave_no_trace():
    module = torch.nn.Linear(2, 2)
    start = module.weight.detach().clone()
    averaged = AveragedWeights(module, 0.5)
    with torch.no_grad():
        module.weight.add_(1)
    averaged.update(0)
    torch.testing.assert_close(averaged.averages()["weight"], start + 0.9)  # 1/10 is kept at first
    averaged.update(1000)
    torch.testing.assert_close(averaged.averages()["weight"], start + 0.95)
    with averaged.in_place():
        torch.testing.assert_close(module.weight.detach(), start + 0.95)
    torch.testing.assert_close(module.weight.detach(), start + 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("all") / "faces", frames=7)


def test_views_are_averaged_and_the_last_ones_are_mirrored(store: Path):
    module = new_model(MODEL, ("happiness", "sadness"), 1).module
    clips = read_store_fold(store).train[:5]
    fabric = make_fabric("cpu", 1, "32")

    def logits(sampling: Sampling, **settings: bool) -> np.ndarray:
        data = ClipDataset(
            clips, ("happiness", "sadness"), num_frames=3, image_size=48, sampling=sampling
        )
        progress = SilentProgress()
        return predict_logits(fabric, module, data, progress, batch_size=2, workers=0, **settings)

    data = ClipDataset(
        clips,
        ("happiness", "sadness"),
        num_frames=3,
        image_size=48,
        sampling=Sampling(0, 1, mirrored=True),
    )
    plain, mirrored = data[(0, 1)], data[(1, 1)]
    assert torch.equal(plain[0].flip(-1), mirrored[0])
    both = logits(Sampling(0, 1, mirrored=True))
    module.eval()
    with torch.no_grad():
        expected = (module(plain[0][None]) + module(mirrored[0][None])) / 2
    np.testing.assert_allclose(both[1], expected[0].numpy(), atol=1e-4)
    once = logits(Sampling())
    assert np.array_equal(logits(Sampling(0, 1, mirrored=True), one_view=True), once)
    assert not np.array_equal(once, both)


def settings(store: Path, out: Path, **changes: object):
    config = small_config(store, out, augment=ALL, **changes)
    optim = replace(
        config.optim, label_smoothing=0.1, loss="focal", class_weights="inverse", epochs=2
    )
    return replace(config, optim=optim)


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def same_runs(run: Path, other: Path) -> bool:
    """The same model to the byte, and the same state to continue training from."""
    last = [folder / "fold-1" / "checkpoints" / "last" for folder in (run, other)]
    models = {(own / "model.safetensors").read_bytes() for own in last}
    states = [torch.load(own / "training_state.pt", weights_only=True) for own in last]
    return len(models) == 1 and same(*states)


@pytest.mark.parametrize("method", ["clip-lora", "dfer-clip"])
def test_a_resume_is_exact_to_the_byte_with_all_of_them(store: Path, tmp_path: Path, method: str):
    model = MODEL
    if method == "clip-lora":
        model = replace(MODEL, method=method, clip="tiny-vit/random")
    train.run(settings(store, tmp_path / "whole", model=model), LogProgress())
    config = settings(store, tmp_path / "stopped", checkpoint_every=1, model=model)
    with pytest.raises(KeyboardInterrupt):
        train.run(config, Interrupting(after_steps=5))
    train.resume(tmp_path / "stopped" / "run", LogProgress())
    whole, stopped = (tmp_path / name / "run" for name in ("whole", "stopped"))
    assert same_runs(stopped, whole)
    rows = [list(read_rows(run / "fold-1" / "metrics.jsonl")) for run in (whole, stopped)]
    assert rows[0] == rows[1]
    last = whole / "fold-1" / "checkpoints" / "last"
    state = torch.load(last / "training_state.pt", weights_only=True)
    held = last_weights(whole)
    assert any(not torch.equal(held[name], own) for name, own in state["weights"].items())
    card = restore_model(last).card
    told = {name: card.sampling[name] for name in ("stride", "views", "mirrored")}
    assert told == {"stride": 1, "views": 2, "mirrored": True}


def test_a_resume_in_two_processes_is_exact_to_the_byte(store: Path, tmp_path: Path):
    given = {
        **{f"augment.{name}": getattr(ALL, name) for name in asdict(ALL)},
        "model.num_frames": 3,
        "model.context_tokens": 2,
        "data.validation": 0.25,
        "checkpoint_every": 1,
    }
    assigned = [f"--set={name}={str(value).lower()}" for name, value in given.items()]
    options = ["--clip", "tiny/random", "--accelerator", "cpu", "--workers", "0", "--epochs", "3"]
    options += ["--batch-size", "4", "--test-share", "0", "--out", str(tmp_path)]
    command = ["train", store, *options, *assigned]
    whole = two_processes(*command, "--name", "whole", folder=tmp_path / "p")
    assert [own.ended() for own in whole] == [0, 0], whole[0].err
    run = tmp_path / "stopped"
    stopped = two_processes(*command, "--name", "stopped", folder=tmp_path / "q")
    stopped[0].wait_until(FoldFolder(run / "fold-1").last.is_symlink)
    os.kill(stopped[0].pid, signal.SIGTERM)
    assert stopped[1].ended() in (0, 143)
    assert stopped[0].ended() == 143
    assert "SIGTERM: saved after epoch" in stopped[0].err
    assert not FoldFolder(run / "fold-1").is_finished
    resumed = two_processes("train", "--resume", run, folder=tmp_path / "r")
    assert [own.ended() for own in resumed] == [0, 0], resumed[0].err
    assert same_runs(run, tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "1", "--set", "augment.mixup=1"], "need two clips in each process"),
        (["--strategy", "fsdp", "--set", "augment.ema=0.9"], "needs whole weights"),
        (["--set", "augment.ema=1"], "augment.ema"),
        (["--set", "augment.rand_magnitude=11"], "augment.rand_magnitude"),
        (
            ["--freeze-image", "--cache-features", "--set", "augment.cutmix=1"],
            "do not go with augment.cutmix",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options, message
):
    arguments = ["train", str(store), "--clip", "tiny/random", "--accelerator", "cpu"]
    assert dfer([*arguments, "--out", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


def test_cached_features_take_strides_views_and_averages(store: Path, tmp_path: Path):
    augment = replace(ALL, mixup=0.0, cutmix=0.0, mirrored=False)
    config = small_config(
        store,
        tmp_path,
        augment=augment,
        model=replace(MODEL, freeze_image=True),
        cache_features=True,
        cached_views=2,
        features_in=tmp_path / "features",
    )
    result = train.run(config, LogProgress())
    assert result.folds[0].evaluation is not None
