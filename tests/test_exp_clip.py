"""Exp-CLIP: agreement with its definition on a formula's matrix, and files that are refused."""

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_input import golden_frames
from golden_weights import weight_by_formula, weights_by_formula

from dfercli.errors import ArtifactError
from dfercli.models.clip_text import tokenize
from dfercli.models.exp_clip import ExpClip, read_projection
from dfercli.models.published_checkpoint import build_published

TEXTS = (
    ("a photo of a face with an expression of happiness.", "happiness."),
    ("a photo of a face with an expression of fear.", "fear."),
    ("a photo of a face with an expression of boredom.", "boredom."),
)
WIDTH = 4096
# By the plain formula below, on a CPU; fixed here to notice a change in CLIP's parts, too.
GOLDEN = (
    (1.320810, 1.413181, 1.434742),
    (1.340875, 1.433000, 1.460207),
)


@pytest.fixture(scope="module")
def clip():
    return build_published(weights_by_formula("specific"), "end")[0].clip.eval()


@pytest.fixture(scope="module")
def matrix(clip):
    return weight_by_formula("projection_head.mlp.weight", (WIDTH, 512))


@pytest.fixture(scope="module")
def frames():
    return golden_frames()


def by_definition(clip, matrix, frames):
    """The paper's formula, step by step, with open_clip's own encoders."""
    with torch.no_grad():
        images = clip.encode_image(frames.flatten(0, 1)) @ matrix.T  # (B T, P)
        video = F.normalize(images.view(*frames.shape[:2], -1).mean(1), dim=-1)  # (B, P)
        columns = []
        for texts in TEXTS:
            tokens = tokenize(texts, clip.context_length)
            text = F.normalize(clip.encode_text(tokens) @ matrix.T, dim=-1)  # (texts, P)
            columns.append((clip.logit_scale.exp() * video @ text.T).mean(1))
    return torch.stack(columns, dim=1)


def test_logits_are_those_of_the_definition(clip, matrix, frames):
    model = ExpClip(clip, matrix, TEXTS, frames.shape[1]).eval()
    with torch.no_grad():
        logits = model(frames)
        features = model.frame_features(frames.flatten(0, 1)).view(*frames.shape[:2], -1)
        np.testing.assert_allclose(model(features), logits, atol=1e-5)
    np.testing.assert_allclose(logits, by_definition(clip, matrix, frames), atol=1e-4)
    np.testing.assert_allclose(logits, GOLDEN, atol=1e-3)
    assert model.video_features(frames).shape == (2, WIDTH)


def test_the_matrix_is_read_from_a_published_file(tmp_path, matrix):
    path = tmp_path / "ExpCLIP.pth"
    torch.save({"mlp.weight": matrix.half()}, path)
    assert torch.equal(read_projection(path), matrix.half().float())
    torch.save({"state_dict": {"module.projection_head.mlp.weight": matrix}}, path)
    assert torch.equal(read_projection(path), matrix)


class Trap:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.system, (f"touch {self.marker}",))


def test_nothing_in_a_file_is_run(tmp_path):
    marker = tmp_path / "run"
    torch.save({"mlp.weight": torch.zeros(2, 2), "more": Trap(marker)}, tmp_path / "x.pth")
    with pytest.raises(ArtifactError, match="not a readable PyTorch file"):
        read_projection(tmp_path / "x.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.zeros(2, 2)}, "expected one tensor mlp.weight, got 0"),
        ({"a.mlp.weight": torch.zeros(2, 2), "b.mlp.weight": torch.zeros(2, 2)}, "got 2"),
        ({"mlp.weight": torch.zeros(2, 2, 2)}, "expected a matrix"),
        ({"mlp.weight": torch.zeros(2, 2, dtype=torch.int64)}, "expected a matrix"),
        ({"mlp.weight": torch.zeros(1, 20_000)}, "expected a matrix of at most"),
        ({"mlp.weight": torch.full((2, 2), torch.nan)}, "not finite"),
        ([1], "expected one tensor"),
        ({"state_dict": 1}, "expected one tensor"),
    ],
)
def test_a_file_without_such_a_matrix_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ArtifactError, match=message):
        read_projection(tmp_path / "x.pth")


def test_a_matrix_of_another_clip_is_refused(clip):
    with pytest.raises(ArtifactError, match="takes features of width 768, this CLIP gives 512"):
        ExpClip(clip, torch.zeros(WIDTH, 768), TEXTS, 4)
