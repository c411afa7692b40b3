"""`dfer bench`: what it prints and what it refuses."""

import json

import pytest
import torch

from dfercli.bench import machine as bench_machine
from dfercli.cli.app import run


@pytest.fixture(autouse=True)
def one_product(monkeypatch):
    monkeypatch.setattr(bench_machine, "MATRIX_WINDOWS", 1)
    # A CPU without bfloat16 instructions takes half a minute for one product of 2048 x 2048.
    monkeypatch.setattr(bench_machine, "MATRIX_SIDES", {"cpu": 128})


def test_the_reference_multiplies_in_full_float32_and_restores_the_settings(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as PyTorch starts with
    torch.set_float32_matmul_precision("high")
    try:
        with bench_machine.whole_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")


TOY = ("bench", "--clip", "tiny/random", "--runs", "1", "--num-frames", "4", "--quiet")


def test_json_holds_the_ratios_and_both_their_terms(capsys):
    assert run([*TOY, "--batch-sizes", "2,1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for part in ("loading", "inference", "training"):
        entry = told[part]
        ratio = entry["reference_seconds"] / entry["seconds"]
        assert entry["ratio_to_reference"] == pytest.approx(ratio)
        assert entry["clips_per_second"] == pytest.approx(entry["batch_size"] / entry["seconds"])
    assert [batch["batch_size"] for batch in told["inference"]["batches"]] == [2, 1]
    assert told["inference"]["batch_size"] == 2
    assert set(told["inference"]["parts"]) == {
        "image encoder",
        "temporal encoder",
        "class texts, once",
    }
    assert told["peak_gflops"]["32"] > 0
    assert told["memory_mb"] > 50
    assert "recognising" in told["bottleneck"]
    assert "training" in told["bottleneck"]


def test_the_table_names_only_what_was_measured(capsys):
    assert run([*TOY, "--only", "inference", "--batch-sizes", "1"]) == 0
    out = capsys.readouterr().out
    assert "inference, 1 at once" in out
    assert "training step" not in out
    assert "one clip: image encoder" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "sleeping"), "one of loading, inference, training"),
        (("--batch-sizes", "0"), "--batch-sizes takes positive numbers"),
        (("--device", "tpu"), "expected auto, cpu, cuda or mps"),
        (("--clip", "ViT-Z/random"), "knows no model 'ViT-Z'"),
        (("--precision", "16-mixed", "--device", "cpu"), "needs a CUDA device"),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments, said, capsys):
    assert run(["bench", "--runs", "1", "--clip", "tiny/random", *arguments]) == 2
    assert said in capsys.readouterr().err
