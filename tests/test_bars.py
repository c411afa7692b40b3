"""The scripts that compare speed with a baseline: kinds of machines, and exit codes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dfercli.inference.arithmetic import Arithmetic

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SLOW = Arithmetic("Some", "abc", "2", 2, 100.0, 20.0, 0.1, "2026-01-01T00:00:00")
FAST = replace(SLOW, bfloat16_gflops=200.0)
EVEN = replace(SLOW, bfloat16_gflops=110.0)


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import check

    monkeypatch.setattr(check, "BASELINE", tmp_path / "baseline.json")
    (tmp_path / "baseline.json").write_text("{}")
    return check


def test_each_kind_of_machine_has_its_own_baseline(check, capsys):
    assert check.kind_of(SLOW) == check.kind_of(EVEN) == "no faster in bfloat16"
    assert check.kind_of(FAST) == "faster in bfloat16"
    check.write_baseline(FAST, {"one": 2.004})
    check.write_baseline(SLOW, {"one": 1.0})
    baselines = json.loads(check.BASELINE.read_text())
    assert baselines["faster in bfloat16"]["ratios"] == {"one": 2.0}
    assert baselines["no faster in bfloat16"]["bfloat16_gflops"] == 20
    assert check.compare({"one": 1.7}, baselines["faster in bfloat16"]) == 0
    assert check.compare({"one": 1.5}, baselines["faster in bfloat16"]) == 1
    assert "SLOWER" in capsys.readouterr().out
    assert check.compare({"one": 1.5}, None) == 2
    assert "no baseline of this kind" in capsys.readouterr().out


def test_the_kept_baseline_names_its_kind_of_machine_and_its_rates():
    kept = json.loads((BENCHMARKS / "baseline.json").read_text())
    for kind, baseline in kept.items():
        assert kind in ("faster in bfloat16", "no faster in bfloat16")
        assert baseline["float32_gflops"] > 0
        assert baseline["bfloat16_gflops"] > 0
        assert "loading against PIL" in baseline["ratios"]


def test_a_bar_is_missed_only_on_its_own_side_and_only_if_asked_for(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from bars import Bar

    assert Bar("clip", 2.7, 2.7).holds
    assert not Bar("clip", 2.6, 2.7).holds
    assert Bar("seconds", 5.9, 6.0, at_most=True).holds
    assert not Bar("seconds", 6.1, 6.0, at_most=True).holds
    assert Bar("clip", 0.1, None).holds
