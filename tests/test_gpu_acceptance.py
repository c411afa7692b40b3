"""benchmarks/gpu_acceptance.py runs on a CPU at a toy size, so that it cannot rot."""

import contextlib
import io
import json
from pathlib import Path

import pytest

from dfercli.bench import machine
from dfercli.cli.app import run as dfer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def acceptance(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_acceptance

    return gpu_acceptance


@pytest.fixture
def few_processes(acceptance, monkeypatch):
    """Run commands in this process, with small products; the stopped training as ever."""
    import gpu_training

    in_process, call = len(acceptance.DFER), acceptance.call

    def call_here(setting, seconds, *command):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            if command[:in_process] == acceptance.DFER:
                assert dfer(list(command[in_process:])) == 0
            elif command[2].endswith("gpu_training.py"):
                gpu_training.main(list(command[3:]))
            elif "--golden" in command:
                acceptance.main(list(command[3:]))
            else:
                return call(setting, seconds, *command)
        return said.getvalue()

    monkeypatch.setattr(acceptance, "call", call_here)
    monkeypatch.setattr(machine, "MATRIX_WINDOWS", 1)
    monkeypatch.setattr(machine, "MATRIX_SIDES", {"cpu": 128})


@pytest.mark.usefixtures("few_processes")
def test_all_steps_pass_at_a_toy_size(acceptance, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(acceptance, "MOST_SECONDS", 3000.0)  # on a busy machine
    monkeypatch.setattr(acceptance, "PATIENCE", 5.0)
    assert acceptance.main(["--device", "cpu", "--toy", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "report.json").read_text())
    assert [step["name"] for step in told["steps"]] == list(acceptance.STEPS)
    found = {step["name"]: step["found"] for step in told["steps"]}
    assert found["golden values"]["logits"] < 2e-4
    assert found["stopped and resumed"]["epochs"] == 3
    assert found["dfer bench"]["training step"] > 0
    page = (tmp_path / "report.md").read_text()
    assert "**no**" not in page
    for name in acceptance.STEPS:
        assert f"| {name} | yes |" in page
    assert "send" in capsys.readouterr().out


def test_a_step_that_fails_or_hangs_is_in_the_report_and_the_others_go_on(
    acceptance, tmp_path, monkeypatch
):
    def hangs(setting):
        acceptance.call(setting, 0.1, *acceptance.PYTHON, "-c", "import time; time.sleep(60)")

    def fails(setting):
        acceptance.call(setting, 60, *acceptance.PYTHON, "-c", "raise SystemExit('it broke')")

    steps = {"hangs": hangs, "fails": fails, "works": lambda setting: {"answer": 42}}
    monkeypatch.setattr(acceptance, "STEPS", steps)
    assert acceptance.main(["--device", "cpu", "--toy", "--out", str(tmp_path)]) == 1
    page = (tmp_path / "report.md").read_text()
    assert "| hangs | **no** |" in page
    assert "longer than 0 s" in page
    assert "it broke" in page
    assert "- answer: 42" in page


def test_without_a_gpu_it_says_how_to_try_it(acceptance, monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        acceptance.main([])
    assert "--device cpu --toy" in capsys.readouterr().err


def test_the_limits_of_all_steps_are_under_ten_minutes(acceptance):
    assert acceptance.MOST_SECONDS < 600
    with pytest.raises(acceptance.StepError, match="no time is left"):
        acceptance.call(acceptance.Setting("cpu", True, Path(), 0.0), 60, "true")
