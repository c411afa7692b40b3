"""The temporal encoder: two classes that differ only in the order of their frames."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from stores import write_store

from dfercli.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, TrainConfig
from dfercli.drawn_faces.clip import ORDER_LABELS, render_order_pair
from dfercli.drawn_faces.identity import random_identity
from dfercli.progress import LogProgress
from dfercli.training import run as train

NUM_FRAMES = 4  # the whole clip: both classes show the same frames
SIDE = 96
RATE = 2e-3


def order_store(folder: Path, people: range) -> Path:
    """Mouths that open and mouths that close: face crops, one pair for each drawn person."""
    clips = []
    for person in people:
        rng = np.random.default_rng(person)
        pair = render_order_pair(random_identity(rng), rng, num_frames=NUM_FRAMES, size=SIDE)
        for clip in pair:
            left, top = clip.landmarks_px.min((0, 1)).clip(0).astype(int)
            right, bottom = clip.landmarks_px.max((0, 1)).astype(int)
            frames = [cv2.resize(f[top:bottom, left:right], (64, 64)) for f in clip.frames]
            clips.append((f"{clip.label}-{person}", clip.label, str(person), np.stack(frames)))
    return write_store(folder, clips, ORDER_LABELS)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("order")
    unseen = order_store(folder / "unseen", range(1000, 1020))
    return TrainConfig(
        dataset=str(order_store(folder / "faces", range(32))),
        out=folder / "runs",
        select="last",
        accelerator="cpu",
        data=DataConfig(workers=0, test=str(unseen)),
        model=ModelConfig(
            clip="tiny/random",
            num_frames=NUM_FRAMES,
            normalization="clip",
            text_type="name",
            context_tokens=4,
        ),
        optim=OptimConfig(
            optimizer="adamw",
            epochs=14,
            batch_size=8,
            lr_temporal=RATE,
            lr_image=RATE,
            lr_context=RATE,
            schedule="cosine",
            warmup_epochs=2,
            gradient_clip=1.0,
        ),
        augment=AugmentConfig(crop_scale=0.8),
    )


def war_on_unseen_people(config: TrainConfig) -> float:
    evaluation = train.run(config, LogProgress()).folds[0].evaluation
    assert evaluation is not None
    assert evaluation.num_clips == 40
    return evaluation.war


def test_the_temporal_encoder_tells_opening_from_closing(config: TrainConfig) -> None:
    assert war_on_unseen_people(replace(config, name="temporal", seed=3)) >= 0.95


def test_mean_pooling_cannot(config: TrainConfig) -> None:
    pooling = replace(config.model, temporal_layers=0)
    short = replace(config.optim, epochs=5)
    war = war_on_unseen_people(replace(config, name="mean", model=pooling, optim=short))
    assert 0.4 <= war <= 0.6  # chance is 0.5
