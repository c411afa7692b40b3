"""CLIP with LoRA: its start, what it trains and keeps, and its merged weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from stores import bright_and_dark_store
from trainings import MODEL, OPTIM, last_weights, small_config

from dfercli.cli.app import run as dfer
from dfercli.config import ClipLoraConfig, ModelConfig, OptimConfig
from dfercli.errors import ConfigError
from dfercli.inference.loaded_model import load_checkpoint
from dfercli.inference.restore import new_model, restore_model
from dfercli.models.build import build_model
from dfercli.models.clip_backbone import (
    build_clip,
    clip_architecture,
    encode_images,
    load_backbone,
)
from dfercli.models.clip_lora import ClipLora
from dfercli.models.zero_shot import ZeroShotClip
from dfercli.progress import LogProgress
from dfercli.training import run as train

NAMES = ("happiness", "sadness")
FRAMES = torch.rand(2, 3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
LORA = replace(
    MODEL, method="clip-lora", clip="tiny-vit/random", text_type="context", context_tokens=0
)


def lora(head: str = "linear", **settings: object) -> ClipLora:
    own = ClipLoraConfig(head=head, **settings)
    module = new_model(replace(LORA, clip_lora=own, temporal_layers=0), NAMES, 1).module
    assert isinstance(module, ClipLora)
    return module


def shaken(module: ClipLora) -> ClipLora:
    """The model after some training, as far as weights can tell."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return module


@pytest.mark.parametrize("feature", ["before", "after"])
def test_frames_are_encoded_as_by_frozen_clip_at_the_start(feature):
    torch.manual_seed(1)
    clip = build_clip(clip_architecture("tiny-vit"))
    visual = clip.visual
    with torch.no_grad():
        projected = encode_images(clip, FRAMES[0])
        if feature == "before":
            projection, visual.proj = visual.proj, None
            expected = encode_images(clip, FRAMES[0])
            visual.proj = projection
            torch.testing.assert_close(expected @ projection, projected, rtol=1e-5, atol=1e-5)
        else:
            expected = projected
        config = replace(LORA, clip_lora=ClipLoraConfig(feature=feature))
        module = build_model(clip, NAMES, config)
        for mode in (True, False):
            found = module.train(mode).frame_features(FRAMES[0])
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_with_texts_and_without_temporal_layers_it_starts_as_zero_shot_clip():
    module = lora("texts").eval()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        clip, _ = load_backbone("tiny-vit/random", None)
    texts = [[text] for text in new_model(replace(LORA), NAMES, 1).card.class_texts]
    assert texts == [["happiness"], ["sadness"]]  # the linear head knows only names
    from dfercli.inference.restore import class_texts_for

    texts = [list(own) for own in class_texts_for(LORA, NAMES).positive]
    zero_shot = ZeroShotClip(clip, texts, 3)
    zero_shot.normalization = module.normalization
    with torch.no_grad():
        torch.testing.assert_close(module(FRAMES), zero_shot(FRAMES), rtol=1e-5, atol=1e-5)


def test_the_papers_numbers_of_tuned_weights():
    config = ModelConfig(method="clip-lora")
    for name, millions in (("ViT-B-16-quickgelu", 4.5), ("ViT-L-14-quickgelu", 7.7)):
        with torch.device("meta"):
            clip = build_clip(clip_architecture(name))
            module = build_model(clip, list("abcdefg"), config)
        tuned = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
        assert tuned / 1e6 == pytest.approx(millions, abs=0.1)
        if name.startswith("ViT-B"):
            assert tuned * 4 < 20e6  # bytes of a checkpoint


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"targets": ("q",)}, {"in_proj_weight"}),
        ({"targets": ("k", "v", "out")}, {"in_proj_weight", "out_proj"}),
        ({"targets": ("mlp",)}, {"c_fc", "c_proj"}),
    ],
)
def test_only_the_targets_are_adapted_and_only_the_last_blocks(settings, names):
    module = lora(adapted_blocks=2, **settings)
    trained = [
        name
        for name, weight in module.named_parameters()
        if weight.requires_grad and name.startswith("clip.")
    ]
    assert {name.split(".")[4] for name in trained} == {"1", "2"}
    for name in names:
        assert any(name in own for own in trained)
    assert len(trained) == 2 * 2 * len(names)


def test_q_and_v_alone_leave_k_as_it_is():
    module = shaken(lora(targets=("q", "v")))
    attention = module.clip.visual.transformer.resblocks[0].attn
    before = attention.parametrizations.in_proj_weight.original.chunk(3)
    after = attention.eval().in_proj_weight.chunk(3)
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [False, True, False]


@pytest.mark.parametrize("head", ["linear", "texts"])
def test_merged_weights_predict_the_same_without_any_adapter(head):
    module = shaken(lora(head, targets=("q", "v", "out", "mlp"))).eval()
    with torch.no_grad():
        before, features = module(FRAMES), module.frame_features(FRAMES[0])
        module.merge()
        assert not [name for name in module.state_dict() if "parametrizations" in name]
        torch.testing.assert_close(module(FRAMES), before, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(module.frame_features(FRAMES[0]), features)
        assert not torch.allclose(features, lora(head).frame_features(FRAMES[0]), atol=1e-3)


def test_dropout_leaves_out_input_features_only_in_training():
    module = shaken(lora(dropout=0.5))
    torch.manual_seed(0)
    first, second = (module.train().frame_features(FRAMES[0]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(*(module.eval().frame_features(FRAMES[0]) for _ in range(2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": "tiny/random"}, "need a vision transformer, this CLIP has a ResNet"),
        ({"clip": "RN50/random"}, "need a vision transformer, this CLIP has a ModifiedResNet"),
        ({"clip_lora": ClipLoraConfig(targets=())}, "names nothing to adapt"),
        (
            {"clip_lora": ClipLoraConfig(head="texts", feature="before")},
            "needs features after CLIP's projection",
        ),
    ],
)
def test_models_and_settings_that_cannot_be_adapted_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        new_model(replace(LORA, **changes), NAMES, 1)


def test_every_weight_that_is_trained_is_in_one_group():
    from dfercli.models.optimizer import build_optimizer

    for head in ("linear", "texts"):
        own = replace(LORA, context_tokens=2, clip_lora=ClipLoraConfig(head=head))
        optimizer = build_optimizer(new_model(own, NAMES, 1).module, OptimConfig())
        names = [group["name"] for group in optimizer.param_groups]
        assert names == ["adapters", "temporal", *(["context"] if head == "texts" else [])]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("lora") / "faces", frames=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of CLIP weights; with it, checkpoints leave CLIP out."""
    file = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.manual_seed(0)
    torch.save(build_clip(clip_architecture("tiny-vit")).state_dict(), file)
    return file


@pytest.fixture(scope="module", params=["linear", "texts"])
def run(
    request: pytest.FixtureRequest,
    store: Path,
    weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("run")
    model = replace(
        LORA,
        clip="tiny-vit/file",
        clip_weights=weights,
        clip_lora=ClipLoraConfig(rank=2, head=request.param),
    )
    config = small_config(store, out, model=model, optim=replace(OPTIM, lr_adapter=1e-2))
    return train.run(config, LogProgress()).run


def test_a_checkpoint_holds_only_trained_weights_and_frozen_ones_come_from_the_file(
    run: Path, weights: Path
):
    held = last_weights(run)
    last = run / "fold-1" / "checkpoints" / "last"
    module = restore_model(last).module
    trained = {name for name, weight in module.named_parameters() if weight.requires_grad}
    assert set(held) == trained
    assert (last / "model.safetensors").stat().st_size < weights.stat().st_size / 2
    assert all(
        torch.equal(held[name], weight)
        for name, weight in module.state_dict().items()
        if name in held
    )
    original = torch.load(weights, weights_only=True)
    frozen = {
        name.removeprefix("clip.")
        .replace("parametrizations.", "")
        .removesuffix(".original"): weight
        for name, weight in module.named_parameters()
        if name.startswith("clip.") and not weight.requires_grad
    }
    for name, weight in frozen.items():
        assert torch.equal(weight, original[name]), name
    ups = [weight for name, weight in held.items() if name.endswith(".up")]
    assert ups
    assert all(weight.any() for weight in ups)


def test_a_loaded_model_is_merged_and_says_what_the_checkpoint_says(run: Path):
    last = run / "fold-1" / "checkpoints" / "last"
    module = restore_model(last).module.eval()
    with torch.no_grad():
        expected = module(FRAMES)
    loaded = load_checkpoint(last, device="cpu")
    torch.testing.assert_close(loaded.logits(FRAMES), expected, rtol=1e-4, atol=1e-4)


def test_the_texts_of_other_classes_make_a_model_of_them_and_a_linear_head_does_not(run: Path):
    last = run / "fold-1" / "checkpoints" / "last"
    others = ("anger", "fear", "neutral")
    if restore_model(last).config.clip_lora.head == "linear":
        with pytest.raises(ConfigError, match="knows only its own classes"):
            restore_model(last, label_set=others)
        return
    module = restore_model(last, label_set=others).module.eval()
    assert F.softmax(module(FRAMES), -1).shape == (2, 3)


def test_it_is_evaluated_exported_and_described(
    run: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert dfer(["eval", str(run), str(store), "--out", str(tmp_path / "e"), "--quiet"]) == 0
    last = run / "fold-1" / "checkpoints" / "last"
    kind = "onnx" if restore_model(last).config.clip_lora.head == "texts" else "torchscript"
    out = str(tmp_path / f"model.{kind}")
    assert dfer(["export", str(run), "--format", kind, "--out", out, "--quiet"]) == 0
    assert dfer(["info", str(run)]) == 0
    assert "clip-lora" in capsys.readouterr().out


def test_the_command_line_trains_by_its_recipe(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--clip", "tiny-vit/random", "--epochs", "1", "--batch-size", "4", "--workers", "0"]
    arguments = ["train", str(store), "--method", "clip-lora", *options, "--accelerator", "cpu"]
    assert dfer([*arguments, "--out", str(tmp_path), "--name", "run"]) == 0
    assert "tunable weights" in capsys.readouterr().err
    assert dfer([*arguments, "--cache-features", "--freeze-image", "--name", "b"]) == 2
    assert "it trains low-rank matrices inside its image encoder" in capsys.readouterr().err
