"""Faster training has the same result: one kernel for all weights, torch.compile."""

from dataclasses import replace

import pytest
import torch
from stores import bright_and_dark_store
from torch import nn
from trainings import OPTIM, TOWER, last_weights, small_config

from dfercli.cli.app import run as dfer
from dfercli.config import ModelConfig, OptimConfig
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models.clip_backbone import TINY
from dfercli.models.optimizer import build_optimizer, can_fuse
from dfercli.progress import LogProgress
from dfercli.training import run as train


def test_weights_are_updated_in_one_kernel_on_cuda_only():
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert can_fuse(cuda, "bf16-mixed")
    assert can_fuse(cuda, "32")
    assert not can_fuse(cuda, "16-mixed")  # fused, its scaled gradients cannot be clipped
    assert not can_fuse(cpu, "32")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_one_kernel_gives_the_same_weights(optimizer):
    weights = []
    for fused in (False, True):
        config = ModelConfig(clip="tiny-vit/random", num_frames=2)
        model = new_model(config, SEVEN, seed=1).module
        built = build_optimizer(model, OptimConfig(optimizer=optimizer), fused=fused)
        assert all(bool(group["fused"]) == fused for group in built.param_groups)
        torch.manual_seed(0)
        for _ in range(2):
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
            built.step()
        weights.append(torch.cat([one.flatten() for one in model.parameters()]).detach())
    torch.testing.assert_close(weights[0], weights[1])


@pytest.fixture
def compiled(monkeypatch):
    """Traces models as torch.compile does, but runs them as they are: kernels need a minute."""
    seen: list[nn.Module] = []
    real = torch.compile

    def trace(model, **options):
        seen.append(model)
        return real(model, **{**options, "backend": "eager"})

    monkeypatch.setattr(torch, "compile", trace)
    yield seen
    torch._dynamo.reset()


def test_a_compiled_training_ends_with_the_same_weights(tmp_path, compiled, monkeypatch):
    monkeypatch.setitem(TINY, "vision_cfg", TOWER)
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=4)
    for name, compile in (("plain", None), ("compiled", True)):
        config = small_config(
            store, tmp_path / name, select="last", compile=compile, optim=replace(OPTIM, epochs=1)
        )
        train.run(config, LogProgress())
        assert bool(compiled) == bool(compile)
    plain, other = last_weights(tmp_path / "plain/run"), last_weights(tmp_path / "compiled/run")
    assert plain.keys() == other.keys()
    for key, weight in plain.items():
        torch.testing.assert_close(other[key], weight, rtol=1e-4, atol=1e-5)


def test_the_option_reaches_the_settings(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(train, "run", lambda config, progress: asked.append(config) or 1 / 0)
    for options in ([], ["--compile"], ["--no-compile"]):
        with pytest.raises(ZeroDivisionError):
            dfer(["train", str(tmp_path), *options])
    assert [config.compile for config in asked] == [None, True, False]
