"""Adapters start as the same function as frozen CLIP, and have the computed number of weights."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from dfercli.config import FineCliperConfig, ModelConfig
from dfercli.errors import ConfigError
from dfercli.models.adapters import Adapter, adapt_image_encoder, adapt_text_encoder
from dfercli.models.clip_backbone import build_clip, clip_architecture
from dfercli.models.clip_text import encode_texts
from dfercli.models.finecliper import FineCliper

POSITIVE = ["A person with an expression of joy", "A person with an expression of fear"]
NEGATIVE = ["A person with an expression of no joy", "A person with an expression of no fear"]
FRAMES = 2


def shallow(name: str, layers: int = 2) -> dict:
    """The architecture of a CLIP with its real widths and patches, but few layers."""
    architecture = clip_architecture(name)
    architecture["vision_cfg"]["layers"] = layers
    architecture["text_cfg"]["layers"] = layers
    return architecture


def config(**own: object) -> ModelConfig:
    return ModelConfig(
        method="finecliper",
        num_frames=FRAMES,
        normalization="clip",
        text_type="pn",
        context_tokens=0,
        temporal_layers=0,
        finecliper=FineCliperConfig(**own),
    )


def tiny_model(**own: object) -> FineCliper:
    torch.manual_seed(0)
    return FineCliper(build_clip(clip_architecture("tiny-vit")), POSITIVE + NEGATIVE, config(**own))


def adapters_of(model: torch.nn.Module) -> int:
    return sum(
        weight.numel()
        for module in model.modules()
        if isinstance(module, Adapter)
        for weight in module.parameters()
    )


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu"])
@pytest.mark.parametrize("second", [False, True])
def test_at_the_start_the_adapted_network_is_frozen_clip_frame_by_frame(name, second):
    torch.manual_seed(1)
    clip = build_clip(shallow(name)).eval()
    frames = torch.rand(1, FRAMES, 3, 224, 224)
    own = config(second_temporal_adapter=second)
    with torch.no_grad():
        expected_texts = encode_texts(clip, POSITIVE + NEGATIVE)
        model = FineCliper(clip, POSITIVE + NEGATIVE, own).eval()
        images = model.normalization(rearrange(frames, "b t c h w -> (b t) c h w"))
        plain = build_clip(shallow(name), draw=False).eval()
        plain.load_state_dict(
            {key.replace(".block.", "."): w for key, w in clip.state_dict().items()}, strict=False
        )
        expected = plain.visual(images)
        torch.testing.assert_close(clip.visual(images), expected, atol=1e-5, rtol=0)
        video = F.normalize(expected.mean(dim=0, keepdim=True), dim=-1)
        found = model.video_features(frames)
        torch.testing.assert_close(found, video, atol=1e-5, rtol=0)
        torch.testing.assert_close(model.text_features(), expected_texts, atol=1e-5, rtol=0)


def test_an_adapter_has_the_computed_number_of_weights():
    adapter = Adapter(768, 0.25, skip=False)
    assert sum(weight.numel() for weight in adapter.parameters()) == 295_872
    assert not adapter(torch.randn(3, 768)).any()
    x = torch.randn(3, 768)
    assert torch.equal(Adapter(768, 0.25, skip=True)(x), x)


@pytest.mark.parametrize(
    ("own", "millions"),
    [
        ({"text_adapters": ()}, 10.65),
        ({"text_adapters": (), "second_temporal_adapter": True}, 14.20),
        ({"text_adapters": ("mlp",), "adapters": ()}, 1.58),
        ({}, 13.81),
        ({"second_temporal_adapter": True}, 17.36),
    ],
)
def test_all_adapters_of_vit_b_16_have_the_computed_number_of_weights(own, millions):
    with torch.device("meta"):
        clip = build_clip(clip_architecture("ViT-B-16-quickgelu"))
        adapt_image_encoder(clip, 16, FineCliperConfig(**own))
        adapt_text_encoder(clip, FineCliperConfig(**own))
    assert adapters_of(clip) / 1e6 == pytest.approx(millions, abs=0.005)


def test_only_the_last_blocks_are_adapted_if_set_so():
    whole, part = tiny_model(), tiny_model(adapted_blocks=1)
    assert adapters_of(part) == adapters_of(whole.clip.visual.transformer.resblocks[-1]) + (
        adapters_of(whole.clip.transformer.resblocks[-1])
    )


@pytest.mark.parametrize("kind", ["temporal", "spatial", "mlp"])
@pytest.mark.parametrize("placement", ["parallel", "sequential"])
def test_every_kind_of_adapter_changes_the_features_once_it_is_not_zero(kind, placement):
    model = tiny_model(adapters=(kind,), mlp_placement=placement, text_adapters=()).eval()
    images = torch.rand(2 * FRAMES, 3, 48, 48)
    with torch.no_grad():
        before = model.clip.visual(images)
        for module in model.modules():
            if isinstance(module, Adapter):
                module.up.weight.normal_(std=0.5)
        assert (model.clip.visual(images) - before).abs().max() > 1e-3


def test_only_the_temporal_adapter_sees_the_other_frames():
    for kind, sees_others in (("temporal", True), ("spatial", False), ("mlp", False)):
        model = tiny_model(adapters=(kind,), text_adapters=()).eval()
        images = torch.rand(FRAMES, 3, 48, 48)
        changed = images.clone()
        changed[1] = torch.rand(3, 48, 48)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, Adapter):
                    module.up.weight.normal_(std=0.5)
            first = model.clip.visual(images)[0]
            difference = (model.clip.visual(changed)[0] - first).abs().max()
        assert (difference > 1e-4) == sees_others, kind


def test_a_backbone_other_than_a_vision_transformer_is_refused():
    clip = build_clip(clip_architecture("tiny"))
    with pytest.raises(ConfigError, match="vision transformer"):
        adapt_image_encoder(clip, FRAMES, FineCliperConfig())


def test_gradient_checkpointing_gives_the_same_gradients():
    images = torch.rand(2 * FRAMES, 3, 48, 48)
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(drop_path=0.0).train()
        model.clip.set_grad_checkpointing(checkpointing)
        for module in model.modules():
            if isinstance(module, Adapter):
                torch.nn.init.constant_(module.up.weight, 0.01)
        model.clip.visual(images).square().sum().backward()
        gradients.append([w.grad for w in model.parameters() if w.grad is not None])
    assert gradients[0]
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)
