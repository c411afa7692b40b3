"""What a process imports for recognition."""

import subprocess
import sys

import pytest

from dfercli.cli.app import run as dfer

FIRST = "from dfercli.inference.light_imports import import_models; import_models()"
LOOK = "import sys; print([name for name in {names} if sys.modules.get(name) is not None])"


def loaded(*lines: str) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_is_imported_without_what_it_never_uses():
    names = ["open_clip", "torch._dynamo", "torch._inductor", "transformers"]
    assert loaded(FIRST, LOOK.format(names=names)) == "['open_clip']"


def test_the_collector_runs_again_after_imports():
    assert loaded(FIRST, "import gc; print(gc.isenabled())") == "True"


def test_predict_begins_without_what_takes_long():
    """Else the processes that find faces would wait for it."""
    names = ["torch", "open_clip", "scipy", "pandas", "matplotlib", "httpx2", "openai", "ray"]
    assert loaded("import dfercli.prediction.run", LOOK.format(names=names)) == "[]"


def test_skipped_modules_are_there_when_they_are_needed():
    lines = (
        FIRST,
        "import torch, torchvision, timm.models.naflexvit as naflex",
        "boxes = torch.tensor([[0., 0., 0., 4., 4.]])",
        "aligned = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, 2)",
        "compiled = torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1))",
        "rope = naflex.NaFlexRopeIterator",
        "print(aligned.mean().item(), compiled.item(), torch._dynamo.__name__)",
    )
    assert loaded(*lines) == "1.0 2.0 torch._dynamo"


def test_transformers_can_be_imported_afterwards():
    pytest.importorskip("transformers")
    assert loaded(FIRST, "import transformers; print(transformers.__name__)") == "transformers"


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
