"""Clips with shares of several classes: read, trained on and counted, but never measured on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stores import bright_and_dark_store
from test_cached_features import frozen_config
from trainings import MODEL, Interrupting, last_weights, small_config

from dfercli.config import AugmentConfig, FineCliperConfig, OptimConfig
from dfercli.data import fold_clips
from dfercli.data.batches import collate
from dfercli.data.clips import Clip, has_one_class, label_index
from dfercli.data.fold_clips import read_fold_clips
from dfercli.data.folds import read_fold_of
from dfercli.data.loading import ClipDataset, batch_loader
from dfercli.data.targets import recognised, soft_targets
from dfercli.errors import DataError
from dfercli.models.losses import make_criterion
from dfercli.progress import LogProgress
from dfercli.training import run as train

NAMES = ("happiness", "sadness")
TIE = {"sadness": 0.5, "happiness": 0.5}
LABELS = [0] * 80 + [1] * 15 + [2] * 5
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
HARD = torch.tensor([0, 0, 0, 1, 1, 2])
SHARES = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)).softmax(-1)


def clip(label, **shares):
    return Clip("a", Path("a"), label, soft_label=shares)


LOSSES = [
    {},
    {"label_smoothing": 0.1},
    {"loss": "focal"},
    {"class_weights": "inverse"},
    {"loss": "focal", "label_smoothing": 0.2, "class_weights": "effective", "effective_beta": 0.9},
]


@pytest.mark.parametrize("settings", LOSSES)
def test_one_class_with_a_share_of_one_has_the_loss_of_its_label(settings):
    criterion = make_criterion(OptimConfig(**settings), LABELS, "abc")
    hard = criterion(LOGITS, HARD)
    torch.testing.assert_close(criterion(LOGITS, F.one_hot(HARD, 3).float()), hard)


@pytest.mark.parametrize("settings", LOSSES)
def test_the_loss_of_shares_is_the_weighted_loss_of_their_classes(settings):
    criterion = make_criterion(OptimConfig(**settings), LABELS, "abc")
    alone = torch.stack(
        [
            torch.stack([criterion(LOGITS[i : i + 1], torch.tensor([k])) for k in range(3)])
            for i in range(6)
        ]
    )
    torch.testing.assert_close(criterion(LOGITS, SHARES), (SHARES * alone).sum(-1).mean())
    if not {"loss", "class_weights"} & set(settings):
        expected = F.cross_entropy(LOGITS, SHARES, **settings)
        torch.testing.assert_close(criterion(LOGITS, SHARES), expected)


def test_class_weights_count_shares():
    soft = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    weights = make_criterion(OptimConfig(class_weights="inverse"), soft, "ab").class_weights
    assert weights is not None
    assert (weights[1] / weights[0]).item() == pytest.approx(3)


def test_finecliper_takes_shares_in_its_binary_loss():
    from dfercli.inference.restore import new_model

    own = FineCliperConfig(logits="binary")
    config = replace(
        MODEL, method="finecliper", clip="tiny-vit/random", text_type="pn", finecliper=own
    )
    module = new_model(config, NAMES, 1).module
    outputs = torch.randn(2, 2, 2)
    hard = module.loss(outputs, torch.tensor([0, 1]))
    torch.testing.assert_close(module.loss(outputs, torch.eye(2)), hard)


def test_targets_of_clips():
    clips = [clip("sadness"), clip(None, **TIE), clip("happiness", sadness=0.25, happiness=0.75)]
    targets = soft_targets(clips, NAMES)
    assert targets is not None
    assert targets.tolist() == [[0, 1], [0.5, 0.5], [0.75, 0.25]]
    assert [label_index(own, NAMES) for own in clips] == [1, 1, 0]
    assert [has_one_class(own) for own in clips] == [True, False, True]
    assert soft_targets(clips[:1], NAMES) is None
    right = recognised(torch.tensor([[0.0, 1], [1, 0], [0, 1]]), targets)
    assert right.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"joy": 1.0}, "a share of 'joy', which is not in the label set"),
        ({"sadness": 0.5}, "add up to 1"),
        ({"sadness": 1.5, "happiness": -0.5}, "at least 0"),
        ({"sadness": float("nan"), "happiness": 0.5}, "at least 0"),
    ],
)
def test_invalid_shares_are_refused(shares, message):
    with pytest.raises(DataError, match=message):
        soft_targets([clip(None, **shares)], NAMES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("soft") / "faces", frames=4)


@pytest.fixture
def tied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the sixteen clips have votes instead of a label, another has both."""

    def read(*arguments, **settings):
        fold = read_fold_of(*arguments, **settings)
        changes = {
            "happiness-1": {"label": None, "soft_label": TIE},
            "sadness-2": {"label": None, "soft_label": TIE},
            "sadness-3": {"soft_label": {"sadness": 0.8, "happiness": 0.2}},
        }
        clips = tuple(replace(own, **changes.get(own.clip_id, {})) for own in fold.train)
        return replace(fold, train=clips)

    monkeypatch.setattr(fold_clips, "read_fold_of", read)


def test_no_clip_of_several_classes_is_used_to_choose_or_measure(
    store: Path, tmp_path: Path, tied: None
):
    seen = 0
    for seed in range(8):
        config = small_config(store, tmp_path, seed=seed)
        config = replace(config, data=replace(config.data, validation=0.5, test_share=0.3))
        clips = read_fold_clips(config, 1)
        assert all(has_one_class(own) for own in (*clips.held_out, *clips.test))
        subjects = {own.subject for own in clips.train}
        assert not subjects & {own.subject for own in (*clips.held_out, *clips.test)}
        seen += sum(not has_one_class(own) for own in clips.train)
    assert 0 < seen < 16


def test_batches_carry_shares_in_training_and_labels_elsewhere(store: Path, tied: None):
    clips = fold_clips.read_fold_of(str(store), small_config(store, store).data).train
    settings = {"num_frames": 2, "image_size": 16}
    training = ClipDataset(clips, NAMES, augmentation=AugmentConfig(), **settings)
    (batch,) = batch_loader(training, [[(0, i) for i in range(16)]], workers=0)
    assert batch.labels.shape == (16, 2)
    assert batch.labels.sum(-1).tolist() == [1] * 16
    assert [piece.labels.shape for piece in batch.split(3)] == [(6, 2), (6, 2), (4, 2)]
    judged = ClipDataset([own for own in clips if has_one_class(own)], NAMES, **settings)
    item = judged[(0, 1)]
    assert not isinstance(item, DataError)
    batch = collate([item])
    assert batch.labels.dtype == torch.int64


@pytest.mark.parametrize("cached", [False, True])
def test_a_training_on_shares_learns_from_them_and_resumes(
    store: Path, tmp_path: Path, tied: None, monkeypatch: pytest.MonkeyPatch, cached: bool
):
    def config(out: str, **changes):
        features = tmp_path / "features" if cached else None
        made = frozen_config(store, tmp_path / out, features, **changes)
        return replace(
            made,
            select="last",
            optim=replace(made.optim, loss="focal", class_weights="inverse", label_smoothing=0.1),
            data=replace(made.data, sampler="balanced"),
        )

    train.run(config("whole"), LogProgress())
    with pytest.raises(KeyboardInterrupt):
        train.run(config("stopped", checkpoint_every=1), Interrupting(after_steps=6))
    train.resume(
        tmp_path / "stopped" / "run", LogProgress(), tmp_path / "features" if cached else None
    )
    whole = last_weights(tmp_path / "whole" / "run")
    again = last_weights(tmp_path / "stopped" / "run")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    monkeypatch.undo()
    train.run(config("labels"), LogProgress())
    other = last_weights(tmp_path / "labels" / "run")
    assert any(not np.array_equal(whole[name], other[name]) for name in whole)
