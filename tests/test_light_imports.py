"""What a process imports for recognition."""

import json
import subprocess
import sys
from typing import Any

import pytest

from dfercli.cli.app import run as dfer

AFTER = """
import gc, json, sys
from dfercli.inference.light_imports import import_models
import_models()
said = {"collects": gc.isenabled()}
names = ("open_clip", "torch._dynamo", "torch._inductor", "transformers")
said["loaded"] = [name for name in names if sys.modules.get(name) is not None]
import torch, torchvision, timm.models.naflexvit as naflex
boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
said["aligned"] = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, 2).mean().item()
said["compiled"] = torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item()
said["later"] = [naflex.NaFlexRopeIterator.__name__, torch._dynamo.__name__]
try:
    import transformers
    said["later"].append(transformers.__name__)
except ImportError:
    said["later"].append("transformers is not installed")
print(json.dumps(said))
"""


def said_by(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def after() -> dict[str, Any]:
    """What one process finds after it has imported a model's modules, step by step."""
    found: dict[str, Any] = json.loads(said_by(AFTER))
    return found


def test_a_model_is_imported_without_what_it_never_uses(after):
    assert after["loaded"] == ["open_clip"]


def test_the_collector_runs_again_after_imports(after):
    assert after["collects"]


def test_predict_begins_without_what_takes_long():
    """Else the processes that find faces would wait for it."""
    names = ["torch", "open_clip", "scipy", "pandas", "matplotlib", "httpx2", "openai", "ray"]
    look = f"import sys; print([name for name in {names} if name in sys.modules])"
    assert said_by(f"import dfercli.prediction.run; {look}") == "[]"


def test_skipped_modules_are_there_when_they_are_needed(after):
    assert (after["aligned"], after["compiled"]) == (1.0, 2.0)
    assert after["later"][:2] == ["NaFlexRopeIterator", "torch._dynamo"]


def test_transformers_can_be_imported_afterwards(after):
    pytest.importorskip("transformers")
    assert after["later"][2] == "transformers"


@pytest.mark.parametrize("said", ["operator torchvision::nms does not exist", "another fault"])
def test_torchvision_for_another_pytorch_is_one_line(said, monkeypatch, capsys):
    """Pip can take PyTorch for CPUs from one index and torchvision for CUDA from another."""

    def refuse(*_, **__):
        raise RuntimeError(said)

    monkeypatch.setattr("dfercli.cli.app.app", refuse)
    if said == "another fault":
        with pytest.raises(RuntimeError, match=said):
            dfer(["info", "--machine"])
        return
    assert dfer(["info", "--machine"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: torchvision was built for another PyTorch")
    assert "one index" in hint
