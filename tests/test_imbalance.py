"""Losses, class weights, samplers and selection rules for rare classes."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stores import bright_and_dark_store, write_store
from trainings import OPTIONS, Interrupting, last_weights, small_config

from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.config import OptimConfig
from dfercli.data.loading import TrainingBatches
from dfercli.data.sampling import epoch_clips
from dfercli.errors import DataError
from dfercli.inference.restore import restore_model
from dfercli.models.losses import make_criterion
from dfercli.progress import LogProgress
from dfercli.training import run as train

LABELS = [0] * 80 + [1] * 15 + [2] * 5
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 0, 0, 1, 1, 2])


def criterion(**settings):
    return make_criterion(OptimConfig(**settings), LABELS, "abc")


def test_the_default_is_cross_entropy_to_the_last_bit():
    assert torch.equal(criterion()(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS))
    smoothed = criterion(label_smoothing=0.1)(LOGITS, TARGETS)
    assert torch.equal(smoothed, F.cross_entropy(LOGITS, TARGETS, label_smoothing=0.1))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("inverse", [100 / 240, 100 / 45, 100 / 15]),
        ("effective", [1 / (1 - 0.99**n) for n in (80, 15, 5)]),
    ],
)
def test_weights_follow_the_number_of_clips_and_their_mean_over_clips_is_one(kind, wanted):
    weights = criterion(class_weights=kind, effective_beta=0.99).class_weights
    assert weights[LABELS].mean().item() == pytest.approx(1)
    ratio = np.array(wanted) / wanted[0]
    assert (weights / weights[0]).tolist() == pytest.approx(ratio.tolist(), rel=1e-5)
    losses = F.cross_entropy(LOGITS, TARGETS, reduction="none")
    found = criterion(class_weights=kind, effective_beta=0.99)(LOGITS, TARGETS)
    torch.testing.assert_close(found, (weights[TARGETS] * losses).mean())


def test_pieces_of_a_batch_add_up_with_weights():
    weighted = criterion(class_weights="inverse", loss="focal")
    pieces = [weighted(LOGITS[part], TARGETS[part]) * 3 for part in (slice(3), slice(3, 6))]
    torch.testing.assert_close(sum(pieces) / 6, weighted(LOGITS, TARGETS))


def test_focal_loss_plays_down_easy_clips():
    sure = torch.tensor([[8.0, 0, 0], [0.1, 0, 0]])
    labels = torch.tensor([0, 0])
    chance = F.softmax(sure, -1)[:, 0]
    expected = (-((1 - chance) ** 2) * chance.log()).mean()
    torch.testing.assert_close(criterion(loss="focal")(sure, labels), expected)
    assert torch.equal(
        criterion(loss="focal", focal_gamma=0.0)(sure, labels), F.cross_entropy(sure, labels)
    )


def test_weights_for_a_class_without_clips_are_refused():
    with pytest.raises(DataError, match="no training clips of d"):
        make_criterion(OptimConfig(class_weights="inverse"), LABELS, "abcd")


def counted(sampler, epoch=0):
    order, _ = epoch_clips(LABELS, 1, epoch, sampler)
    return Counter(np.array(LABELS)[order].tolist()), order


def test_samplers_share_out_the_places_of_an_epoch():
    assert counted("shuffled")[0] == {0: 80, 1: 15, 2: 5}
    balanced = [counted("balanced", epoch)[0] for epoch in range(6)]
    assert all(sorted(counts.values()) == [33, 33, 34] for counts in balanced)
    roots = np.sqrt([80, 15, 5])
    found = counted("square-root")[0]
    assert [found[label] for label in range(3)] == pytest.approx(100 * roots / roots.sum(), abs=1)


def test_clips_of_a_rare_class_take_turns_and_frequent_ones_change_each_epoch():
    counts = Counter(counted("balanced")[1].tolist())
    rare = [counts[clip] for clip in range(95, 100)]
    assert max(rare) - min(rare) <= 1
    assert max(counts[clip] for clip in range(80)) == 1
    first, second = (set(counted("balanced", epoch)[1].tolist()) for epoch in (0, 1))
    assert first != second


def test_a_repeated_clip_gets_new_draws_and_steps_can_be_resumed():
    batches = TrainingBatches(100, 8, 2, 1, labels=LABELS, sampler="balanced")
    everything = list(batches)
    first_epoch = [key for batch in everything[:12] for key in batch]
    assert len(set(first_epoch)) == len(first_epoch) == 96
    resumed = TrainingBatches(100, 8, 2, 1, start=(1, 3), labels=LABELS, sampler="balanced")
    assert list(resumed) == everything[15:]
    ranks = [
        list(
            TrainingBatches(
                100, 8, 2, 1, rank=rank, world_size=2, labels=LABELS, sampler="balanced"
            )
        )
        for rank in (0, 1)
    ]
    assert [sorted(a + b) for a, b in zip(*ranks, strict=True)] == list(map(sorted, everything))


def test_a_sampler_on_one_class_is_refused(tmp_path: Path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (6, 4, 32, 32, 3), dtype=np.uint8)
    store = write_store(
        tmp_path / "faces", [(f"c{i}", "happiness", f"s{i}", noise[i]) for i in range(6)]
    )
    arguments = ["train", str(store), *OPTIONS, "--out", str(tmp_path), "--select", "last"]
    assert dfer([*arguments, "--set", "data.sampler=balanced"]) == 3
    assert "all 6 training clips are of one class" in capsys.readouterr().err
    assert dfer([*arguments, "--set", "optim.class_weights=inverse", "--name", "b"]) == 3
    assert "no training clips of sadness" in capsys.readouterr().err


SETTINGS = {
    "loss": "focal",
    "class_weights": "effective",
    "label_smoothing": 0.1,
    "epochs": 2,
}


def test_exact_resume_holds_with_all_of_them(tmp_path: Path):
    store = bright_and_dark_store(tmp_path / "faces")
    config = small_config(store, tmp_path / "whole", select_by="uar")
    config = replace(
        config,
        optim=replace(config.optim, **SETTINGS),
        data=replace(config.data, sampler="balanced"),
    )
    train.run(config, LogProgress())
    config = replace(config, out=tmp_path / "stopped", checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        train.run(config, Interrupting(after_steps=2))
    train.resume(tmp_path / "stopped" / "run", LogProgress())
    whole = last_weights(tmp_path / "whole" / "run")
    again = last_weights(tmp_path / "stopped" / "run")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    card = restore_model(FoldFolder(tmp_path / "whole" / "run" / "fold-1").best).card
    assert card.selected_on.startswith("validation UAR (epoch ")
    assert card.trained_on["selection"].startswith("best UAR on a held-out part")
