"""The cost of a method, counted without weights and without running it."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from dfercli.cli.app import run as dfer
from dfercli.config import FineCliperConfig, ModelConfig
from dfercli.models.build import METHODS, build_model
from dfercli.models.clip_backbone import build_clip, clip_architecture
from dfercli.models.cost import cost_of, flop_counter

TEXTS = ["a", "b", "c", "d"]


def tiny(method: str, **own: object):
    config = ModelConfig(
        method=method,
        num_frames=2,
        context_tokens=2 if method == "dfer-clip" else 0,
        finecliper=FineCliperConfig(**own),
    )
    return build_model(build_clip(clip_architecture("tiny-vit")), TEXTS, config)


@pytest.mark.parametrize("method", METHODS)
def test_counting_changes_nothing_and_counts_the_weights(method):
    model = tiny(method)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    cost = cost_of(model)
    assert cost.total_weights == sum(weight.numel() for weight in model.parameters())
    assert cost.tunable_weights < cost.total_weights
    assert cost.flops_per_clip > 0
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("fused", [True, False])
def test_attention_is_counted_whether_it_is_fused_or_not(fused):
    backend = SDPBackend.FLASH_ATTENTION if fused else SDPBackend.MATH
    query = torch.rand(2, 3, 5, 8, requires_grad=True)
    key, value = (torch.rand(2, 3, 7, 8, requires_grad=True) for _ in range(2))
    product = 2 * 2 * 3 * 5 * 7 * 8
    with flop_counter() as counter, sdpa_kernel(backend):
        attended = F.scaled_dot_product_attention(query, key, value)
        assert counter.get_total_flops() == 2 * product
        attended.sum().backward()
    # The fused backward pass computes the scores again.
    assert counter.get_total_flops() == (7 if fused else 6) * product


def test_counting_leaves_batch_normalisation_as_it_was():
    config = ModelConfig(num_frames=2)
    model = build_model(build_clip(clip_architecture("tiny")), TEXTS, config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost_of(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_streams_cost_and_gradient_checkpointing_saves_memory():
    frames, both = (
        cost_of(tiny("finecliper")),
        cost_of(tiny("finecliper", streams=("frames", "parsing"))),
    )
    assert both.flops_per_clip == pytest.approx(2 * frames.flops_per_clip, rel=0.01)
    model = tiny("finecliper")
    model.clip.set_grad_checkpointing()
    assert cost_of(model).activation_bytes_per_clip < frames.activation_bytes_per_clip / 2


def test_info_counts_vit_b_16_with_the_default_settings(capsys):
    assert dfer(["info", "--method", "finecliper", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["tunable_weights"] == 10_651_392 + 3_161_088  # image adapters and text adapters
    assert (
        dfer(["info", "--method", "dfer-clip", "--clip", "ViT-B-16-quickgelu/openai", "--json"])
        == 0
    )
    cost = json.loads(capsys.readouterr().out)
    # 17.6 billion multiply-adds per picture, as published for ViT-B/16, less those of the last
    # block for all tokens but the class token: queries, attention, projection and MLP.
    tokens, width = 196, 768
    saved = tokens * (2 * width**2 + 2 * (tokens + 1) * width + 8 * width**2) / 1e9
    assert cost["flops_per_clip"] / 16 / 2e9 == pytest.approx(17.6 - saved, abs=0.1)


def test_info_needs_a_checkpoint_or_a_method(capsys):
    assert dfer(["info"]) == 2
    assert "a checkpoint, a method or --machine" in capsys.readouterr().err
    assert dfer(["info", "--method", "telepathy"]) == 2


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        ("ViT-B-16/nonsense", "it has: openai, laion400m_e31"),
        ("nonsense", "named MODEL/TAG"),
        ("nonsense/random", "knows no model 'nonsense'"),
    ],
)
def test_a_clip_that_does_not_exist_is_refused_before_any_work(clip, said, capsys, tmp_path):
    assert dfer(["info", "--method", "finecliper", "--clip", clip]) == 2
    assert said in capsys.readouterr().err
    # The data set does not exist: this comes before the search for it.
    assert dfer(["train", str(tmp_path / "none"), "--clip", clip]) == 2
    assert said in capsys.readouterr().err


def test_with_a_local_file_any_tag_will_do(capsys, tmp_path):
    own = ["--set", f"model.clip_weights={tmp_path / 'own.bin'}"]
    assert dfer(["info", "--method", "finecliper", "--clip", "tiny-vit/mine", *own]) == 0
    assert dfer(["info", "--method", "finecliper", "--clip", "nonsense/mine", *own]) == 2
    assert "knows no model 'nonsense'" in capsys.readouterr().err
