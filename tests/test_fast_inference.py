"""Speed must not change answers: shared frames, bfloat16, activations, loading."""

import itertools

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from toy_model import write_toy_checkpoint

from dfercli.artifacts.face_store import TrackData
from dfercli.bench.reference import PublishedDferClip
from dfercli.config import ModelConfig, TrainConfig
from dfercli.data.sampling import sample_test
from dfercli.errors import ConfigError
from dfercli.inference import devices
from dfercli.inference.loaded_model import load_checkpoint, ready
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models import clip_backbone
from dfercli.models.class_token import ClassTokenBlock, read_all_tokens, read_class_token_alone
from dfercli.models.clip_backbone import QuickGelu, build_clip, clip_architecture, encode_images
from dfercli.models.method import cosines
from dfercli.prediction.windows import windows_of


def track_of(pts_seconds):
    count = len(pts_seconds)
    return TrackData(
        frame_index=np.arange(count),
        pts_seconds=np.array(pts_seconds, float),
        box_xyxy_px=np.tile(np.float32([0, 0, 10, 10]), (count, 1)),
        score=np.ones(count, np.float32),
    )


@pytest.mark.parametrize("fps", [25, 30, 30000 / 1001, 60])
def test_windows_a_quarter_apart_share_three_quarters_of_their_frames(fps):
    track = track_of(np.round(np.arange(round(10 * fps)) / fps, 6))
    found = list(windows_of(track, window=2.0, stride=0.5, num_frames=16))
    assert found[0].frames.tolist() == sample_test(round(2 * fps), 16).tolist()
    for before, after in itertools.pairwise(found[:-1]):
        assert after.frames[:-4].tolist() == before.frames[4:].tolist()
        assert len(set(after.frames.tolist())) == 16


def test_late_frames_are_sampled_by_the_time_at_which_they_are_shown():
    slow_then_fast = [*np.arange(0, 1, 0.1), *np.arange(1, 2, 0.02)]
    (found,) = windows_of(track_of(slow_then_fast), window=2.0, stride=2.0, num_frames=4)
    shown = [slow_then_fast[number] for number in found.frames]
    assert shown == pytest.approx([0.2, 0.7, 1.24, 1.74])


def test_a_frame_in_several_clips_is_encoded_once_with_the_same_result(tmp_path):
    model = load_checkpoint(write_toy_checkpoint(tmp_path / "checkpoint"))
    frames = torch.randint(0, 256, (6, 3, model.image_size, model.image_size), dtype=torch.uint8)
    clips = np.array([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [5, 5, 5, 5]])
    encoded = []
    encode = model._encode
    model._encode = lambda images: encoded.append(len(images)) or encode(images)
    shared = model.probabilities_of_clips(frames, clips)
    np.testing.assert_allclose(shared, model.probabilities(frames[clips]), atol=1e-6)
    assert encoded == [6]


def test_on_a_cpu_images_are_encoded_few_at_a_time_with_the_same_result(monkeypatch):
    clip = build_clip(clip_architecture("tiny-vit"))
    clip.eval()
    images = torch.rand(7, 3, 48, 48)
    seen = []
    clip.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    whole = encode_images(clip, images)  # with gradients, as in training: at once
    monkeypatch.setattr(clip_backbone, "PIXELS_AT_ONCE", 3 * 48 * 48)
    with torch.no_grad():
        torch.testing.assert_close(encode_images(clip, images), whole)
    assert seen == [7, 3, 3, 1]


def test_a_model_whose_frames_depend_on_one_another_sees_whole_clips():
    config = ModelConfig(method="finecliper", clip="tiny-vit/random", num_frames=4, text_type="pn")
    model = ready(new_model(config, SEVEN, 1), "fine")
    assert not model.shares_frames
    frames = torch.randint(0, 256, (5, 3, 48, 48), dtype=torch.uint8)
    clips = np.array([[0, 1, 2, 3], [1, 2, 3, 4]])
    np.testing.assert_array_equal(
        model.probabilities_of_clips(frames, clips), model.probabilities(frames[clips])
    )


def test_bfloat16_on_a_cpu_rounds_the_image_encoder_and_hardly_moves_probabilities():
    config = ModelConfig(clip="tiny-vit/random", num_frames=4)
    frames = torch.randint(0, 256, (8, 4, 3, 48, 48), dtype=torch.uint8)
    exact = ready(new_model(config, SEVEN, 1), "32", precision="32")
    restored = new_model(config, SEVEN, 1)
    rounded = ready(restored, "bf16", precision="bf16-mixed")
    assert restored.module.clip.visual.conv1.weight.dtype == torch.bfloat16
    assert restored.module.temporal.class_token.dtype == torch.float32
    difference = np.abs(exact.probabilities(frames) - rounded.probabilities(frames)).max()
    assert 0 < difference < 0.05


def test_auto_is_bfloat16_for_large_encoders_on_cpus_that_gain_by_it(monkeypatch):
    cpu = torch.device("cpu")
    toy = new_model(ModelConfig(clip="tiny/random", num_frames=2), SEVEN, 1).module
    for is_faster, worth, expected in (
        (True, 1, "bf16-mixed"),
        (True, 10**12, "32"),
        (False, 1, "32"),
    ):
        monkeypatch.setattr(devices, "prefers_bfloat16", lambda has=is_faster: has)
        monkeypatch.setattr(devices, "WORTH_BFLOAT16", worth)
        assert devices.precision_for_answers("auto", cpu, toy)[0] == expected
        assert devices.precision_for_answers("32", cpu, toy)[0] == "32"
    with pytest.raises(ConfigError, match="16-mixed needs a CUDA device"):
        devices.precision_for_answers("16-mixed", cpu, toy)
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or mps"):
        devices.resolve_device("tpu")


def test_training_on_such_a_cpu_is_in_bfloat16_except_for_toys(monkeypatch):
    monkeypatch.setattr(devices, "prefers_bfloat16", lambda: True)
    big = TrainConfig(accelerator="cpu", model=ModelConfig(clip="ViT-B-32-quickgelu/openai"))
    toy = TrainConfig(accelerator="cpu", model=ModelConfig(clip="tiny/random"))
    assert devices.precision_for_training(big) == "bf16-mixed"
    assert devices.precision_for_training(toy) == "32"
    monkeypatch.setattr(devices, "prefers_bfloat16", lambda: False)
    assert devices.precision_for_training(big) == "32"


def test_cosines_keep_all_their_bits_in_mixed_precision():
    torch.manual_seed(0)
    video, texts = (torch.nn.functional.normalize(torch.randn(4, 64), dim=-1) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = cosines(video, texts)
    torch.testing.assert_close(mixed, video @ texts.T, rtol=0, atol=1e-6)


def test_the_fused_activation_is_that_of_clip_forward_and_backward():
    ours, theirs = (torch.linspace(-9, 9, 999, requires_grad=True) for _ in range(2))
    values, expected = QuickGelu()(ours), QuickGELU()(theirs)
    with torch.no_grad():
        torch.testing.assert_close(QuickGelu()(ours), expected)
    assert torch.equal(ours, theirs)  # its input is unchanged
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-6)
    values.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)
    model = build_clip(clip_architecture("tiny-vit"))
    kinds = {type(part) for part in model.modules()}
    assert QuickGelu in kinds
    assert QuickGELU not in kinds


def test_a_clip_that_will_load_weights_is_built_without_random_ones(monkeypatch):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    model = build_clip(clip_architecture("tiny-vit"), draw=False)
    drawn = open_clip.CLIP(**clip_architecture("tiny-vit"))
    assert model.state_dict().keys() == drawn.state_dict().keys()
    torch.random.set_rng_state(before)
    assert torch.equal(model.attn_mask, drawn.attn_mask)


def test_the_reference_of_the_benchmark_computes_what_the_model_computes():
    config = ModelConfig(clip="tiny-vit/random", num_frames=4)
    model = new_model(config, SEVEN, 1).module.eval()
    reference = PublishedDferClip(new_model(config, SEVEN, 1).module).eval()
    frames = torch.randint(0, 256, (2, 4, 3, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(
            reference(frames.float() / 255), model(frames), atol=1e-4, rtol=0
        )


def test_the_last_block_computes_the_class_token_alone_with_the_same_result_and_gradients():
    config = ModelConfig(clip="tiny-vit/random", num_frames=2)
    frames = torch.rand(2, 2, 3, 48, 48)
    models = [new_model(config, SEVEN, 1).module for _ in range(2)]
    read_all_tokens(models[1].clip.visual)
    kinds = [type(model.clip.visual.transformer.resblocks[-1]) for model in models]
    assert kinds == [ClassTokenBlock, ResidualAttentionBlock]
    results = []
    for model in models:
        logits = model(frames)
        logits.logsumexp(-1).sum().backward()
        gradients = {name: own.grad for name, own in model.clip.visual.named_parameters()}
        results.append((logits.detach(), gradients))
    (ours, our_gradients), (whole, gradients) = results
    torch.testing.assert_close(ours, whole, atol=1e-4, rtol=0)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, atol=1e-4, rtol=1e-3)
    assert models[0].state_dict().keys() == models[1].state_dict().keys()
    seen = []
    block = models[0].clip.visual.transformer.resblocks[-1]
    block.mlp.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[1]))
    models[0](frames)
    assert seen == [1]


def test_an_encoder_keeps_its_last_block_where_other_tokens_are_read():
    pooled = build_clip(clip_architecture("tiny-vit")).visual
    pooled.pool_type = "avg"
    read_class_token_alone(pooled)
    assert type(pooled.transformer.resblocks[-1]) is ResidualAttentionBlock
    config = ModelConfig(method="finecliper", clip="tiny-vit/random", num_frames=2, text_type="pn")
    adapted = new_model(config, SEVEN, 1).module.clip.visual.transformer.resblocks[-1]
    assert type(adapted.block) is ResidualAttentionBlock
