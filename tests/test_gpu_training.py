"""benchmarks/gpu_training.py runs on a CPU at a toy size, so that it cannot rot."""

import json
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TOY = ("--device", "cpu", "--clip", "tiny-vit/random", "--batch-size", "2", "--steps", "2")


@pytest.fixture
def gpu_training(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_training

    from dfercli.bench import machine as bench_machine

    monkeypatch.setattr(gpu_training, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(bench_machine, "MATRIX_WINDOWS", 1)
    monkeypatch.setattr(bench_machine, "MATRIX_SIDES", {"cpu": 128})
    return gpu_training


def test_the_script_runs_at_a_toy_size(gpu_training, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    rows = gpu_training.main([*TOY, "--frames", "2", "--windows", "2", "--json", str(out)])
    assert [row.variant for row in rows][:2] == ["published arithmetic, fp32", "ours, fp32"]
    assert not any("compile" in row.variant for row in rows)  # by default on CUDA only
    for row in rows:
        assert row.pieces == 1
        assert len(row.windows_seconds) == 2
        assert row.clips_per_second == pytest.approx(2 / row.step_seconds)
        assert row.ratio_to_reference == pytest.approx(rows[0].step_seconds / row.step_seconds)
    assert len(json.loads(out.read_text())["rows"]) == len(rows)
    assert "times the reference" in capsys.readouterr().out


def test_operations_are_those_of_a_transformer(gpu_training):
    model = gpu_training.build("tiny-vit/random", 2, torch.device("cpu"))
    one, two = (
        gpu_training.flops_of(model, gpu_training.Setting(torch.device("cpu"), clips, 2, 1, 5), 48)
        for clips in (1, 2)
    )
    tokens, width, layers = (48 // 8) ** 2 + 1, 64, 3
    products = 2 * 12 * width**2 * tokens * (layers - 1) + 2 * width**2
    products += 2 * width**2 * (2 * tokens + 10)  # the last block: keys and values, one token
    attention = 4 * tokens**2 * width * (layers - 1) + 4 * tokens * width
    patches = 2 * 3 * 8**2 * width * (tokens - 1)
    temporal = 2 * 3 * (4 * width * 512 + 2 * width * 1024)  # class token and two frames
    by_hand = 2 * (3 * products + 3.5 * attention + 2 * patches) + 3 * temporal
    assert two - one == pytest.approx(by_hand, rel=0.01)


def test_a_batch_that_does_not_fit_is_worked_on_in_pieces(gpu_training):
    """The gradient of the pieces is that of the whole batch."""
    model = torch.nn.Linear(3, 7)

    def step_of(pieces):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        step = gpu_training.training_step(model, optimizer, gpu_training.REFERENCE, pieces)
        torch.manual_seed(0)
        step(torch.rand(6, 3), torch.arange(6))
        return model.weight.grad.clone()

    torch.testing.assert_close(step_of(1), step_of(3))
