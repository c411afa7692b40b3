"""What training on a GPU needs, as far as a CPU can tell: no waiting, no stale texts."""

from types import SimpleNamespace

import pytest
import torch
from stores import bright_and_dark_store
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import small_config

from dfercli.config import ModelConfig, OptimConfig
from dfercli.data.batches import Batch
from dfercli.errors import ConfigError
from dfercli.inference import devices, predict_logits
from dfercli.inference import fabric as inference
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models.optimizer import build_optimizer
from dfercli.progress import LogProgress
from dfercli.training import fit, step
from dfercli.training import run as train

FRAMES = torch.randint(0, 256, (2, 2, 3, 48, 48), dtype=torch.uint8)
LABELS = torch.tensor([0, 1])
METHODS = [("dfer-clip", {}), ("mean-pooling", {}), ("finecliper", {"text_type": "pn"})]


def model_of(method, options):
    config = ModelConfig(method=method, clip="tiny-vit/random", num_frames=2, **options)
    return new_model(config, SEVEN, seed=1).module


class Looks(TorchDispatchMode):
    """Lists the operations that copy a value to the host and so wait for the device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(name in str(function) for name in ("_local_scalar_dense", "nonzero")):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_a_training_step_never_waits_for_the_device(method, options):
    fabric, module = inference.make_fabric("cpu", 1, "32"), model_of(method, options)
    optim = OptimConfig(gradient_clip=1.0)
    model, optimizer = fabric.setup(module, build_optimizer(module, optim))
    model.train()
    step.update_weights(fabric, model, module, optimizer, optim, Batch(FRAMES, LABELS, LABELS))
    # This optimiser counts its steps on the host; fused ones do so on the device.
    optimizer.step = lambda *_, **__: None
    with Looks() as looks:
        step.update_weights(fabric, model, module, optimizer, optim, Batch(FRAMES, LABELS, LABELS))
    assert looks.found == []


def test_a_step_is_compiled_as_one_graph():
    module = model_of("dfer-clip", {}).train()
    try:
        explained = torch._dynamo.explain(module)(FRAMES)
    finally:
        torch._dynamo.reset()
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)


@pytest.mark.parametrize(("method", "options"), METHODS[::2])
def test_class_texts_are_encoded_again_after_an_optimiser_that_counts_no_versions(method, options):
    module = model_of(method, options)
    optimizer = build_optimizer(module, OptimConfig(lr_context=1.0), fused=True)
    with torch.no_grad():
        before = module.eval().text_features()
    module.train()
    functional.cross_entropy(module.logits(module(FRAMES)), LABELS).backward()
    version = module.context.vectors._version
    optimizer.step()
    module.eval()
    assert module.context.vectors._version == version  # the trap
    with torch.no_grad():
        after = module.text_features()
        torch.testing.assert_close(after, module.encode_classes())
    assert (after - before).abs().max() > 1e-4


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_a_gpu_that_only_emulates_bfloat16_takes_float16(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    assert devices.resolve_precision("auto", "cuda") == expected


def test_devices_by_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.resolve_device("cuda:1") == torch.device("cuda", 1)
    for wrong in ("cuda:2", "cuda:", "cuda:x", "cpu:x", "cpu:1", "tpu"):
        with pytest.raises(ConfigError):
            devices.resolve_device(wrong)


def test_all_cores_read_for_a_gpu_and_two_for_a_cpu(monkeypatch):
    def engine(kind, processes=1):
        return SimpleNamespace(device=torch.device(kind), world_size=processes)

    monkeypatch.setattr(predict_logits, "num_cores", lambda: 24)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert predict_logits.num_readers(None, engine("cpu")) == 2
    assert predict_logits.num_readers(None, engine("cuda")) == 16
    assert predict_logits.num_readers(None, engine("cuda", 4)) == 6
    assert predict_logits.num_readers(None, engine("cuda", 8)) == 6  # on two machines
    assert predict_logits.num_readers(0, engine("cuda")) == 0


def test_a_training_that_diverges_ends_with_one_line(tmp_path, monkeypatch):
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=4)
    monkeypatch.setattr(fit, "update_weights", lambda *_: torch.tensor([torch.nan, 0.0]))
    with pytest.raises(ConfigError, match="the loss is nan in epoch 1"):
        train.run(small_config(store, tmp_path), LogProgress())


def test_the_scale_of_mixed_losses_is_kept_for_a_resume(tmp_path, monkeypatch):
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=4)
    scale = SimpleNamespace(value=2.0)
    make = train.make_fabric

    def with_scale(*arguments, **options):
        fabric = make(*arguments, **options)
        precision = fabric.strategy.precision
        precision.state_dict = lambda: {"scale": scale.value}
        precision.load_state_dict = lambda state: vars(scale).update(value=state["scale"])
        return fabric

    monkeypatch.setattr(train, "make_fabric", with_scale)
    train.run(small_config(store, tmp_path), LogProgress())
    (tmp_path / "run" / "fold-1" / "result.json").unlink()
    scale.value = 65536.0
    train.resume(tmp_path / "run", LogProgress())
    assert scale.value == 2.0
