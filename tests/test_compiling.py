"""Long work is compiled with a note, and goes on uncompiled where that is no faster."""

import numpy as np
import pytest
import torch
from stores import bright_and_dark_store
from torch import nn
from toy_model import write_toy_checkpoint
from trainings import TOWER, last_weights, small_config

from dfercli.cli.app import run as dfer
from dfercli.config import ModelConfig
from dfercli.inference import compiling, devices
from dfercli.inference.compiling import Compiling, LongWork
from dfercli.inference.loaded_model import ready
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models.clip_backbone import TINY, TINY_VIT
from dfercli.progress import LogProgress
from dfercli.training import run as train

COSTS = Compiling(costs=40.0, saves=0.2)


@pytest.fixture
def compiled(monkeypatch):
    """The modules that were compiled: traced, but run as they are, as kernels take a minute."""
    seen: list[nn.Module] = []

    def trace(module):
        seen.append(module)
        module.compile(backend="eager")

    monkeypatch.setattr(compiling, "compile_in_place", trace)
    monkeypatch.setattr(compiling, "what_compiling_lacks", lambda: None)
    yield seen
    torch.compiler.reset()


def told(times, waiting, **settings):
    notes: list[str] = []
    encoder = nn.Linear(2, 2)
    work = LongWork(encoder, notes.append, COSTS, "windows")
    for seconds in times:
        work.done(2, seconds, waiting)
    return encoder, notes


def test_little_work_is_not_compiled(compiled):
    _, notes = told([9.0] + [2.0] * 10, waiting=399)  # saves 79.8 s, compiling costs 40
    assert notes == []
    assert compiled == []


def test_long_work_is_compiled_once_with_a_note(compiled):
    encoder, notes = told([9.0] + [2.0] * 3 + [60.0] + [1.5] * 20, waiting=400)
    assert compiled == [encoder]
    (note,) = notes
    assert note.startswith("about 400 windows wait, 7 minutes: compiling the image encoder")
    assert "--no-compile" in note


def test_work_that_is_no_faster_compiled_goes_on_as_before(compiled):
    encoder, notes = told([9.0] + [2.0] * 3 + [60.0] + [2.1] * 20, waiting=4000)
    assert compiled == [encoder]
    assert notes[1:] == ["it is no faster when compiled: going on as before"]
    assert torch.equal(encoder(torch.ones(1, 2)), nn.Linear.forward(encoder, torch.ones(1, 2)))
    with torch.compiler.set_stance("fail_on_recompile"):
        encoder(torch.ones(3, 2, dtype=torch.float32))  # nothing is left to compile


def test_without_a_compiler_it_is_one_line(compiled, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("CXX", "no-such-compiler")
    _, notes = told([2.0] * 10, waiting=4000)
    assert notes == ["not compiled: there is no C++ compiler here (no-such-compiler)"]


@pytest.fixture
def long_and_large(monkeypatch):
    """As if toys were large and compiling cost nothing."""
    monkeypatch.setattr(devices, "WORTH_BFLOAT16", 1)
    monkeypatch.setattr(compiling, "FORWARD", Compiling(0.0, 0.1))
    monkeypatch.setattr(compiling, "TRAINING", Compiling(0.0, 0.1))
    monkeypatch.setattr(compiling, "FEW", 1)
    monkeypatch.setenv("DFER_PRECISION", "32")
    monkeypatch.setitem(TINY, "vision_cfg", TOWER)


@pytest.mark.parametrize(
    ("options", "count", "says"),
    [([], 1, True), (["--no-compile"], 0, False), (["--compile"], 1, False)],
)
def test_predict_compiles_long_work(
    tmp_path, compiled, long_and_large, capsys, options, count, says
):
    checkpoint = write_toy_checkpoint(tmp_path / "checkpoint")
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=2)
    command = ["predict", str(store), "--model", str(checkpoint), "--batch-size", "1", *options]
    assert dfer([*command, "--device", "cpu", "--json"]) == 0
    assert len(compiled) == count
    assert ("compiling the image encoder" in capsys.readouterr().err) == says


@pytest.mark.parametrize(("compile", "count"), [(None, 1), (False, 0)])
def test_training_compiles_long_work_with_the_same_names_of_weights(
    tmp_path, compiled, long_and_large, compile, count
):
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=4)
    config = small_config(store, tmp_path, select="last", compile=compile, accelerator="cpu")
    train.run(config, LogProgress())
    assert len(compiled) == count
    names = new_model(config.model, SEVEN, 1).module.state_dict().keys()
    assert last_weights(tmp_path / "run").keys() == names


def test_toys_are_never_compiled(tmp_path):
    config = ModelConfig(clip="tiny/random", num_frames=2)
    assert ready(new_model(config, SEVEN, 1), "toy", device="cpu").encoder is None
    notes: list[str] = []
    assert compiling.for_windows(None, True, notes.append) is None
    assert notes == ["not compiled: only large models in PyTorch on a CPU are"]


def test_kernels_give_the_same_answers(monkeypatch):
    monkeypatch.setattr(devices, "WORTH_BFLOAT16", 1)
    monkeypatch.setitem(TINY_VIT, "vision_cfg", TOWER)
    assert compiling.what_compiling_lacks() is None
    config = ModelConfig(clip="tiny-vit/random", num_frames=2)
    models = [ready(new_model(config, SEVEN, 1), "", device="cpu", precision="32") for _ in "ab"]
    compiling.compile_in_place(models[1].encoder)
    for clips in (3, 2):
        frames = torch.randint(0, 256, (clips, 2, 3, 32, 32), dtype=torch.uint8)
        plain, other = (model.logits(frames).numpy() for model in models)
        np.testing.assert_allclose(other, plain, atol=1e-3)
    torch.compiler.reset()
