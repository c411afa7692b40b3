"""Every method on every kind of plain vision transformer: open_clip's, and timm's (SigLIP)."""

import copy
import json
from pathlib import Path

import open_clip
import pytest
import torch

from dfercli.cli.app import run as dfer
from dfercli.config import ClipLoraConfig, FineCliperConfig, ModelConfig, OptimConfig
from dfercli.errors import ConfigError
from dfercli.models import clip_backbone
from dfercli.models.build import METHODS, build_model
from dfercli.models.clip_backbone import (
    TINY_VIT,
    build_clip,
    encode_images,
    load_backbone,
)
from dfercli.models.cost import cost_of
from dfercli.models.optimizer import build_optimizer

TEXTS = ["joy", "fear", "no joy", "no fear"]
CLIP_TEXTS = TINY_VIT["text_cfg"]
SIGLIP_TEXTS = {
    **CLIP_TEXTS,
    **{"vocab_size": 32_000, "context_length": 64, "pool_type": "last", "no_causal_mask": True},
    **{"proj_bias": True, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP"},
}


def timm_tower(**settings: object) -> dict:
    """A tower of six blocks from timm's own constructor; test_vit is 64 wide."""
    return {"image_size": 160, "timm_model_name": "test_vit", **settings}


TOWERS = {
    "ViT, class token": TINY_VIT["vision_cfg"],
    "ViT-L/14, shallow": {"image_size": 28, "patch_size": 14, "width": 1024, "layers": 2},
    "ViT, mean of tokens": {**TINY_VIT["vision_cfg"], "pool_type": "avg"},
    "ViT, layer scale": {**TINY_VIT["vision_cfg"], "ls_init_value": 0.5},
    "SigLIP": timm_tower(timm_pool="map", timm_proj="none"),
    "timm, class token": timm_tower(timm_pool="token", timm_proj="linear"),
    "timm, mean of tokens": timm_tower(timm_pool="avg", timm_proj="linear"),
}


COUNTED = ("ViT, class token", "SigLIP", "timm, class token")  # counting takes longest


def clip_with(tower: dict, texts: dict = CLIP_TEXTS) -> open_clip.CLIP:
    torch.manual_seed(1)
    return build_clip({"embed_dim": 64, "vision_cfg": dict(tower), "text_cfg": dict(texts)})


def config(method: str, **own: object) -> ModelConfig:
    return ModelConfig(
        method=method,
        num_frames=2,
        context_tokens=2 if method == "dfer-clip" else 0,
        temporal_layers=1 if method == "dfer-clip" else 0,
        finecliper=FineCliperConfig(drop_path=0.0),
        **own,
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tower", TOWERS)
def test_a_method_starts_as_frozen_clip_and_every_trained_weight_gets_a_gradient(method, tower):
    clip = clip_with(TOWERS[tower])
    size = clip_backbone.image_size(clip)
    frames = torch.rand(1, 2, 3, size, size)
    with torch.no_grad():
        expected = encode_images(clip.eval(), frames[0])
    own = config(method, clip_lora=ClipLoraConfig(feature="after", dropout=0.0))
    module = build_model(clip, TEXTS, own).eval()
    with torch.no_grad():
        if method == "finecliper":  # the temporal adapter still does nothing: frame by frame
            found = encode_images(module.clip, frames[0])
        else:
            found = module.frame_features(frames[0])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    # An adapter starts with a zero matrix, behind which nothing gets a gradient.
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad and not weight.any():
                weight.normal_(std=0.05)
    build_optimizer(module, OptimConfig())  # each weight is in exactly one group
    module.train()
    outputs = module(frames)
    module.loss(outputs, torch.tensor([1])).backward()
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    assert not [weight for weight in trained if weight.grad is None]
    if tower in COUNTED:
        assert cost_of(module).flops_per_clip > 0


@pytest.mark.parametrize("tower", TOWERS)
def test_merged_low_rank_matrices_predict_the_same_on_every_tower(tower):
    clip = clip_with(TOWERS[tower])
    size = clip_backbone.image_size(clip)
    module = build_model(clip, TEXTS[:2], config("clip-lora")).eval()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith(".up"):
                weight.normal_(std=0.1)
        frames = torch.rand(1, 2, 3, size, size)
        before = module(frames)
        module.merge()
        torch.testing.assert_close(module(frames), before, rtol=1e-4, atol=1e-4)


def test_siglip_works_with_a_linear_head_and_is_refused_with_class_texts():
    clip = clip_with(TOWERS["SigLIP"], SIGLIP_TEXTS)
    for method in ("dfer-clip", "finecliper", "mean-pooling"):
        with pytest.raises(ConfigError, match=r"vocabulary of 32,000.*'last' token"):
            build_model(clip, TEXTS, config(method))
    with pytest.raises(ConfigError, match="class texts need CLIP's tokens"):
        build_model(clip, TEXTS, config("clip-lora", clip_lora=ClipLoraConfig(head="texts")))
    module = build_model(clip, TEXTS[:2], config("clip-lora"))
    assert module(torch.rand(1, 2, 3, 160, 160)).shape == (1, 2)


@pytest.mark.parametrize("name", ["test_convnext", "test_vit_relpos"])
def test_other_towers_are_refused_by_name(name):
    tower = {"image_size": 160, "timm_model_name": name, "timm_pool": "", "timm_proj": "linear"}
    for method in ("finecliper", "clip-lora"):
        with pytest.raises(ConfigError, match="this CLIP has a "):
            build_model(clip_with(tower), TEXTS, config(method))


def test_weights_of_a_model_with_a_nested_text_tower_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = {"embed_dim": 64, "vision_cfg": TOWERS["SigLIP"], "text_cfg": SIGLIP_TEXTS}
    whole["init_logit_bias"] = -10
    torch.manual_seed(3)
    published = open_clip.CustomTextCLIP(**copy.deepcopy(whole))
    torch.save(published.state_dict(), tmp_path / "siglip.pt")
    monkeypatch.setattr(
        open_clip, "get_model_config", lambda name: copy.deepcopy({**whole, "custom_text": True})
    )
    clip, identity = load_backbone("ViT-B-16-SigLIP/webli", tmp_path / "siglip.pt")
    assert "custom_text" not in identity.architecture
    assert torch.equal(clip.token_embedding.weight, published.text.token_embedding.weight)
    assert torch.equal(clip.text_projection.weight, published.text.text_projection.weight)
    frames = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        found = encode_images(clip.eval(), frames)
        torch.testing.assert_close(found, published.eval().encode_image(frames))


def test_info_counts_every_method_on_large_towers_and_on_siglip(capsys):
    for method, clip in (
        ("clip-lora", "ViT-B-16-SigLIP/webli"),
        ("clip-lora", "ViT-L-14-quickgelu/openai"),
    ):
        assert dfer(["info", "--method", method, "--clip", clip, "--json"]) == 0
        cost = json.loads(capsys.readouterr().out)
        assert cost["tunable_weights"] < 0.15 * cost["total_weights"]
        assert cost["flops_per_clip"] > 1e11
        assert cost["training_memory_bytes"] > 4 * cost["total_weights"]
    assert dfer(["info", "--method", "dfer-clip", "--clip", "ViT-B-16-SigLIP/webli"]) == 2
    assert "class texts need CLIP's tokens" in capsys.readouterr().err
    assert dfer(["info", "--method", "clip-lora", "--clip", "RN50-quickgelu/openai"]) == 2
    assert "need a vision transformer, this CLIP has a ModifiedResNet" in capsys.readouterr().err
