"""The fastest arithmetic of a machine: measured, kept, overridden, recorded."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_model import write_toy_checkpoint

import dfercli
from dfercli.cli.app import run as dfer
from dfercli.config import ModelConfig, TrainConfig
from dfercli.errors import ConfigError
from dfercli.inference import arithmetic, devices
from dfercli.inference.eight_bits import encode_in_int8
from dfercli.inference.loaded_model import load_checkpoint, ready
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models.clip_backbone import TINY_VIT

CPU = torch.device("cpu")
BIG = TrainConfig(accelerator="cpu", model=ModelConfig(clip="ViT-B-32-quickgelu/openai"))


class Clock:
    """A processor whose products take a given time, and which counts them."""

    def __init__(self, bfloat16: float) -> None:
        self.seconds = {torch.float32: 1e-3, torch.bfloat16: bfloat16 * 1e-3}
        self.products = 0

    def __call__(self, work, dtype) -> float:
        work()
        self.products += 1
        return self.seconds[dtype]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DFER_PRECISION", raising=False)
    monkeypatch.setattr(arithmetic, "WIDTH", 16)
    monkeypatch.setattr(arithmetic, "HIDDEN", 64)
    monkeypatch.setattr(devices, "WORTH_BFLOAT16", 1)
    arithmetic.forget()
    yield tmp_path / "cache" / "machine"
    arithmetic.forget()


def processor(monkeypatch, *, bfloat16: float, flags: str = "amx_tile amx_bf16 avx512_bf16"):
    """A processor with these flags, whose bfloat16 takes `bfloat16` times as long as float32."""
    clock = Clock(bfloat16)
    facts = {"model name": "Simulated", "flags": flags}
    monkeypatch.setattr(arithmetic, "seconds_of", clock)
    monkeypatch.setattr(arithmetic, "_facts", lambda: facts)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_tile": True}, raising=False)
    arithmetic.forget()
    return clock


@pytest.mark.parametrize(
    ("bfloat16", "expected"),
    [(0.5, "bf16-mixed"), (0.8, "bf16-mixed"), (0.9, "32"), (2.0, "32"), (7.0, "32")],
)
def test_the_measurement_counts_whatever_the_processor_claims(monkeypatch, bfloat16, expected):
    processor(monkeypatch, bfloat16=bfloat16)
    module = new_model(ModelConfig(clip="tiny/random", num_frames=2), SEVEN, 1).module
    assert devices.precision_for_answers("auto", CPU, module)[0] == expected
    assert devices.precision_for_training(BIG) == expected
    toy = replace(BIG, model=ModelConfig(clip="tiny/random"))
    assert devices.precision_for_training(toy) == "32"
    assert devices.resolve_precision("auto", "cpu") == "32"  # of dfer eval


def test_a_processor_that_is_fast_without_such_instructions_uses_bfloat16(monkeypatch):
    processor(monkeypatch, bfloat16=0.4, flags="neon")
    assert devices.precision_for_training(BIG) == "bf16-mixed"


def test_it_is_measured_once_and_kept(monkeypatch, folder):
    clock = processor(monkeypatch, bfloat16=0.5)
    first = arithmetic.arithmetic_here()
    products = clock.products
    assert first.ratio == pytest.approx(2)
    arithmetic.forget()  # as another process
    assert arithmetic.arithmetic_here() == first
    assert clock.products == products
    (file,) = folder.glob("arithmetic-*.json")
    assert file == arithmetic.arithmetic_file()
    kept = json.loads(file.read_text())
    assert kept["schema"] == "dfer.arithmetic/1"
    assert kept["processor"] == "Simulated"
    assert kept["torch"] == torch.__version__
    assert kept["threads"] == torch.get_num_threads()


def test_threads_that_ask_at_once_measure_once(monkeypatch, folder):
    clock = processor(monkeypatch, bfloat16=0.5)
    alone = arithmetic.measure()
    products, clock.products = clock.products, 0
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: arithmetic.kept_or_measured(folder, 1), range(4)))
    assert len(found) == 1
    assert clock.products == products
    assert alone.ratio == found.pop().ratio


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        '{"schema": "dfer.arithmetic/2"}',
        '{"schema": "dfer.arithmetic/1", "torch": 3}',
        "[" * 100_000,
    ],
)
def test_a_broken_file_is_replaced_by_a_new_measurement(monkeypatch, folder, broken):
    processor(monkeypatch, bfloat16=0.5)
    first = arithmetic.arithmetic_here()
    arithmetic.arithmetic_file().write_text(broken)
    arithmetic.forget()
    assert arithmetic.arithmetic_here().ratio == first.ratio
    assert json.loads(arithmetic.arithmetic_file().read_text())["processor"] == "Simulated"


@pytest.mark.parametrize(
    "field", [{"torch": "1.0"}, {"threads": 99}, {"kind": "another"}, {"float32_gflops": 0}]
)
def test_a_file_of_another_machine_is_replaced_by_a_new_measurement(monkeypatch, field):
    clock = processor(monkeypatch, bfloat16=0.5)
    arithmetic.arithmetic_here()
    file = arithmetic.arithmetic_file()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "bfloat16_gflops": 1.0, **field}))
    arithmetic.forget()
    clock.products = 0
    assert arithmetic.arithmetic_here().ratio == pytest.approx(2)
    assert clock.products


def test_processors_of_one_name_with_different_instructions_are_told_apart(monkeypatch):
    files = []
    for flags in ("avx2", "avx2 avx512_bf16"):
        processor(monkeypatch, bfloat16=0.5, flags=flags)
        files.append(arithmetic.arithmetic_file())
    assert files[0] != files[1]


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch, tmp_path, caplog):
    processor(monkeypatch, bfloat16=0.5)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "file"))
    assert arithmetic.arithmetic_here().prefers_bfloat16
    assert "the measurement of this processor is not kept" in caplog.text


def test_the_real_clock_finds_both_rates(folder):
    found = arithmetic.measure()
    assert found.float32_gflops > 0
    assert found.bfloat16_gflops > 0
    assert torch.get_num_threads() == found.threads


def test_the_environment_stands_in_for_auto_and_an_option_beats_it(monkeypatch):
    processor(monkeypatch, bfloat16=7)
    module = new_model(ModelConfig(clip="tiny/random", num_frames=2), SEVEN, 1).module
    monkeypatch.setenv("DFER_PRECISION", "bf16-mixed")
    assert devices.precision_for_answers("auto", CPU, module)[0] == "bf16-mixed"
    assert devices.precision_for_answers("32", CPU, module)[0] == "32"
    assert devices.precision_for_training(BIG) == "bf16-mixed"
    assert devices.precision_for_training(replace(BIG, precision="32")) == "32"
    assert devices.resolve_precision("auto", "cpu") == "bf16-mixed"
    monkeypatch.setenv("DFER_PRECISION", "int8")
    assert devices.precision_for_answers("auto", CPU, module)[0] == "int8"
    with pytest.raises(ConfigError, match="int8 is for dfer predict"):
        devices.precision_for_training(BIG)
    monkeypatch.setenv("DFER_PRECISION", "half")
    with pytest.raises(ConfigError, match="DFER_PRECISION: expected one of auto, 32"):
        devices.precision_for_training(BIG)


def test_info_shows_the_measurement_and_what_follows(monkeypatch, capsys):
    processor(monkeypatch, bfloat16=0.5)
    assert dfer(["info", "--machine"]) == 0
    out = capsys.readouterr().out
    assert "Simulated" in out
    assert "2.00 times, at least 1.2" in out
    assert str(arithmetic.arithmetic_file()) in out.replace("\n", "")
    monkeypatch.setenv("DFER_PRECISION", "32")
    assert dfer(["info", "--machine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ratio"] == pytest.approx(2)
    assert told["asked"] == told["answers"] == told["training"] == "32"
    assert dfer(["info", "--machine", "runs/x"]) == 2
    monkeypatch.setenv("DFER_PRECISION", "nothing")
    assert dfer(["info", "--machine"]) == 2
    assert "DFER_PRECISION" in capsys.readouterr().err


def test_a_loaded_model_says_what_it_computes_in(monkeypatch, tmp_path):
    checkpoint = write_toy_checkpoint(tmp_path / "checkpoint")
    processor(monkeypatch, bfloat16=0.5)
    assert load_checkpoint(checkpoint, device="cpu").precision == "bf16-mixed"
    processor(monkeypatch, bfloat16=5, flags="another")
    assert load_checkpoint(checkpoint, device="cpu").precision == "32"
    both = dfercli.load(f"{checkpoint},{checkpoint}", device="cpu")
    assert both.precision == "32"


def test_int8_is_made_at_load_kept_and_hardly_moves_probabilities(folder, caplog, monkeypatch):
    monkeypatch.setitem(TINY_VIT["vision_cfg"], "layers", 1)  # each takes seconds to trace
    config = ModelConfig(clip="tiny-vit/random", num_frames=4)
    frames = torch.randint(0, 256, (8, 4, 3, 48, 48), dtype=torch.uint8)
    exact = ready(new_model(config, SEVEN, 1), "32", device="cpu", precision="32")
    rounded = ready(new_model(config, SEVEN, 1), "int8", device="cpu", precision="int8")
    assert rounded.precision == "int8"
    assert "rounding the image encoder to 8 bits, once" in caplog.text
    expected = exact.probabilities(frames)
    difference = np.abs(expected - rounded.probabilities(frames)).max()
    assert 0 < difference < 0.05
    assert (rounded.probabilities(frames).argmax(1) == expected.argmax(1)).all()
    shared = rounded.probabilities_of_clips(frames[0], np.array([[0, 1, 2, 3]]))
    np.testing.assert_allclose(shared, rounded.probabilities(frames[:1]), atol=1e-3)
    (file,) = (folder.parent / "int8").glob("*.onnx")
    made = file.stat().st_mtime_ns
    caplog.clear()
    again = ready(new_model(config, SEVEN, 1), "int8", device="cpu", precision="int8")
    np.testing.assert_array_equal(again.probabilities(frames), rounded.probabilities(frames))
    assert file.stat().st_mtime_ns == made
    assert "rounding" not in caplog.text


def test_int8_says_what_it_cannot_do(monkeypatch, caplog):
    whole = ModelConfig(method="finecliper", clip="tiny-vit/random", num_frames=4, text_type="pn")
    with pytest.raises(ConfigError, match="encode each frame alone"):
        encode_in_int8(new_model(whole, SEVEN, 1).module)
    with pytest.raises(ConfigError, match="int8 is for a CPU, not for cuda"):
        devices.require_precision("int8", torch.device("cuda"))
    with pytest.raises(ConfigError, match="int8 is for dfer predict"):
        devices.resolve_precision("int8")
    for flags, has in (("avx2", False), ("avx512_vnni", True), ("", True)):
        processor(monkeypatch, bfloat16=7, flags=flags)
        assert arithmetic.has_int8_instructions() == has
