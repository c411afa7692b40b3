"""Agreement with the published DFER-CLIP implementation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_input import golden_frames
from golden_weights import GOLDEN, TEXTS, formula_tokens, weights_by_formula

from dfercli.config import OptimConfig
from dfercli.models.clip_text import tokenize
from dfercli.models.optimizer import build_optimizer
from dfercli.models.published_checkpoint import (
    build_published,
    published_class_texts,
    read_published,
)

POSITIONS = ("end", "middle", "front")
VARIANTS = [(position, kind) for position in POSITIONS for kind in ("specific", "generic")]
LABELS = torch.tensor([3, 5])


@pytest.fixture(scope="module")
def values():
    return dict(np.load(GOLDEN / "official-tiny-values.npz", allow_pickle=False))


@pytest.fixture(scope="module")
def whole_checkpoint(shared):
    return read_published(shared / "golden" / "official-tiny-end-specific.pth")


@pytest.fixture(scope="module")
def frames():
    return golden_frames()


def golden_weights(shared, whole_checkpoint, position, kind):
    if (position, kind) == ("end", "specific"):
        return whole_checkpoint
    path = shared / "golden" / f"official-tiny-{position}-{kind}.pth"
    part = torch.load(path, weights_only=True)
    part = part.get("state_dict", part)
    part = {name.removeprefix("module."): tensor for name, tensor in part.items()}
    return {**whole_checkpoint, **part}


@pytest.mark.media
@pytest.mark.parametrize(("position", "kind"), VARIANTS)
def test_features_and_logits_agree(shared, whole_checkpoint, values, frames, position, kind):
    weights = golden_weights(shared, whole_checkpoint, position, kind)
    model = build_published(weights, position)[0]
    expected = {
        name: values[f"{position}-{kind}/{name}"]
        for name in ("logits", "text_features", "video_features")
    }
    with torch.no_grad():
        np.testing.assert_allclose(model.text_features(), expected["text_features"], atol=1e-5)
        np.testing.assert_allclose(
            model.video_features(frames), expected["video_features"], atol=1e-5
        )
        np.testing.assert_allclose(model(frames), expected["logits"], atol=1e-4)


def two_steps(model, frames):
    optimizer = build_optimizer(model, OptimConfig())
    losses = []
    for _ in range(2):
        loss = F.cross_entropy(model(frames), LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        return losses, model(frames)


@pytest.mark.media
@pytest.mark.parametrize(("position", "kind"), VARIANTS)
def test_two_training_steps_agree(shared, whole_checkpoint, values, frames, position, kind):
    weights = golden_weights(shared, whole_checkpoint, position, kind)
    losses, after = two_steps(build_published(weights, position)[0], frames)
    np.testing.assert_allclose(losses, values[f"{position}-{kind}/losses"], rtol=1e-4)
    np.testing.assert_allclose(after, values[f"{position}-{kind}/logits_after_2_steps"], atol=1e-2)


@pytest.fixture(scope="module")
def formula_values():
    return dict(np.load(GOLDEN / "formula-values.npz", allow_pickle=False))


@pytest.mark.parametrize(("position", "kind"), VARIANTS)
def test_weights_by_formula_agree(formula_values, frames, position, kind):
    """The same agreement in any clone: the weights need no file."""
    variant = f"{position}-{kind}"
    model, _, texts, _, _ = build_published(weights_by_formula(kind), position)
    assert texts == list(TEXTS)
    np.testing.assert_array_equal(formula_tokens(), formula_values[f"{variant}/tokens"])
    with torch.no_grad():
        np.testing.assert_allclose(model(frames), formula_values[f"{variant}/logits"], atol=1e-4)
    losses, after = two_steps(model, frames)
    np.testing.assert_allclose(losses, formula_values[f"{variant}/losses"], rtol=1e-4)
    np.testing.assert_allclose(after, formula_values[f"{variant}/logits_after_2_steps"], atol=1e-2)


@pytest.mark.media
def test_class_texts_are_recovered_from_the_embeddings(whole_checkpoint, values):
    texts = published_class_texts(whole_checkpoint)
    tokens = tokenize(["X " * 8 + text for text in texts], 77)
    np.testing.assert_array_equal(tokens, values["end-specific/tokens"])
