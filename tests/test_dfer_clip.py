"""DFER-CLIP on a tiny CLIP: prompts, cached text features, parameter groups, batches."""

from dataclasses import replace

import pytest
import torch

from dfercli.config import ModelConfig, OptimConfig
from dfercli.errors import ConfigError
from dfercli.models.clip_backbone import load_backbone, split_clip_name
from dfercli.models.clip_text import tokenize
from dfercli.models.context import ContextTokens
from dfercli.models.dfer_clip import DferClip
from dfercli.models.method import ParameterGroup
from dfercli.models.optimizer import build_optimizer, lr_factor

TEXTS = ["happiness.", "an expression of sadness."]
CONFIG = ModelConfig(clip="tiny/random", num_frames=4, context_tokens=4)


def make_model(config: ModelConfig = CONFIG) -> DferClip:
    torch.manual_seed(0)
    clip, _ = load_backbone(config.clip, None)
    return DferClip(clip, TEXTS, config)


@pytest.fixture(scope="module")
def model() -> DferClip:
    return make_model().eval()


def frames(batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 4, 3, 48, 48, generator=generator)


@pytest.mark.parametrize("class_specific", [True, False])
@pytest.mark.parametrize(
    ("position", "before"), [("end", 4), ("middle", 2), ("front", 0)], ids=lambda value: str(value)
)
def test_context_tokens_stand_around_the_class_text(
    model: DferClip, position: str, before: int, class_specific: bool
) -> None:
    context = ContextTokens(
        model.clip, TEXTS, 4, class_specific=class_specific, class_position=position
    )
    prompts = context(model.clip.token_embedding)
    plain = tokenize(TEXTS, 77)
    for k in range(len(TEXTS)):
        vectors = context.vectors[k] if class_specific else context.vectors
        length = int(plain[k].argmax()) - 1  # tokens of the class text
        embedded = model.clip.token_embedding(plain[k])
        expected = torch.cat(
            [
                embedded[:1],  # SOT
                vectors[:before],
                embedded[1 : 1 + length],
                vectors[before:],
                embedded[1 + length : 2 + length],  # EOT
            ]
        )
        assert context.eot[k] == 1 + 4 + length
        assert torch.equal(prompts[k, : len(expected)], expected)


def test_without_context_tokens_the_prompt_is_the_class_text(model: DferClip) -> None:
    bare = make_model(replace(CONFIG, context_tokens=0))
    tokens = tokenize(TEXTS, 77)
    expected = bare.clip.token_embedding(tokens)
    assert torch.equal(bare.context(bare.clip.token_embedding), expected)
    assert len(build_optimizer(bare, OptimConfig()).param_groups) == 2


def test_text_features_are_kept_until_a_weight_changes() -> None:
    model, encoded = make_model().eval(), []
    encode = model.encode_classes
    model.encode_classes = lambda: encoded.append(1) or encode()
    with torch.no_grad():
        first = model.text_features()
        assert model.text_features() is first
        assert len(encoded) == 1
        model.context.vectors.add_(0.1)
        changed = model.text_features()
        assert len(encoded) == 2
        assert not torch.equal(first, changed)
        model.load_state_dict(make_model().state_dict())
        assert torch.equal(model.text_features(), first)
        assert len(encoded) == 3


def test_a_model_made_in_inference_mode_works() -> None:
    with torch.inference_mode():
        assert torch.equal(make_model().eval().text_features(), make_model().text_features())


def test_text_features_with_gradients_are_never_cached_ones() -> None:
    model = make_model()
    with torch.no_grad():
        model.text_features()
    features = model.text_features()
    assert features.requires_grad
    features.sum().backward()
    assert model.context.vectors.grad is not None
    assert torch.isfinite(model.context.vectors.grad).all()


def test_an_optimiser_step_changes_the_text_features() -> None:
    model = make_model()
    optimizer = build_optimizer(model, replace(OptimConfig(), lr_context=1.0))
    with torch.no_grad():
        before = model.text_features()
    model(frames(2)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        assert not torch.equal(model.text_features(), before)


def test_each_trainable_weight_is_in_exactly_one_group(model: DferClip) -> None:
    optimizer = build_optimizer(model, OptimConfig())
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert {name: group["initial_lr"] for name, group in groups.items()} == {
        "temporal": 1e-2,
        "image": 1e-5,
        "context": 1e-3,
    }
    grouped = [id(weight) for group in groups.values() for weight in group["params"]]
    trainable = [id(weight) for weight in model.parameters() if weight.requires_grad]
    assert sorted(grouped) == sorted(trainable)
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    assert any(name.startswith("clip.transformer.") for name in frozen)
    assert not any(name.startswith(("clip.visual.", "temporal.", "context.")) for name in frozen)


def test_a_method_that_forgets_or_repeats_a_weight_is_stopped() -> None:
    class Forgetful(DferClip):
        def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
            return super().parameter_groups(optim)[1:]

    class Repeating(DferClip):
        def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
            groups = super().parameter_groups(optim)
            return [*groups, groups[0]]

    clip, _ = load_backbone("tiny/random", None)
    with pytest.raises(AssertionError, match="differ"):
        build_optimizer(Forgetful(clip, TEXTS, CONFIG), OptimConfig())
    with pytest.raises(AssertionError, match="two"):
        build_optimizer(Repeating(clip, TEXTS, CONFIG), OptimConfig())


def test_learning_rates_follow_the_published_steps_or_a_cosine() -> None:
    published = OptimConfig()
    factors = [lr_factor(epoch * 10, 10, published) for epoch in (0, 29, 30, 39, 40, 49)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = replace(published, schedule="cosine", epochs=12, warmup_epochs=2)
    factors = [lr_factor(step, 10, cosine) for step in (0, 19, 20, 70, 120)]
    assert factors == pytest.approx([1 / 20, 1, 1, 0.5, 0])


@torch.no_grad()
def test_a_batch_of_one_equals_a_row_of_a_batch(model: DferClip) -> None:
    clips = frames(3)
    together = model(clips)
    alone = torch.cat([model(clips[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)  # logits are cosines times 100


@torch.no_grad()
def test_bytes_and_floats_give_the_same_logits(model: DferClip) -> None:
    pixels = (frames(2) * 255).round().to(torch.uint8)
    torch.testing.assert_close(model(pixels), model(pixels.float() / 255))


@torch.no_grad()
def test_only_the_temporal_encoder_knows_the_order_of_frames(model: DferClip) -> None:
    clips = frames(2) * torch.linspace(0, 1, 4).view(1, 4, 1, 1, 1)  # ever brighter
    mean_pooling = make_model(replace(CONFIG, temporal_layers=0)).eval()
    torch.testing.assert_close(mean_pooling(clips), mean_pooling(clips.flip(1)))
    assert (model(clips) - model(clips.flip(1))).abs().max() > 0.01


def test_a_text_that_is_too_long_is_named_with_its_length(model: DferClip) -> None:
    text = "brow " * 80
    with pytest.raises(ConfigError, match=r"text of 8\d tokens, CLIP takes 77"):
        ContextTokens(model.clip, [text], 4, class_specific=True, class_position="end")


def test_weights_of_another_activation_are_refused() -> None:
    with pytest.raises(ConfigError, match="QuickGELU") as refused:
        split_clip_name("ViT-B-32/openai")
    assert refused.value.hint == "use ViT-B-32-quickgelu/openai"
    assert split_clip_name("ViT-B-32-quickgelu/openai") == ("ViT-B-32-quickgelu", "openai")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-32", "MODEL/TAG"),
        ("ViT-Z-99/openai", "no model 'ViT-Z-99'"),
        ("ViT-B-32/nobody", "no weights 'nobody'"),
    ],
)
def test_an_unknown_backbone_is_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_clip_name(name)
