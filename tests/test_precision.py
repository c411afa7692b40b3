"""Names of precisions, and calibrations that belong to the streams they were fitted with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from stores import bright_and_dark_store
from trainings import OPTIONS, small_config

import dfercli
from dfercli.artifacts.model_card import ModelCard
from dfercli.cli.app import run as dfer
from dfercli.errors import ConfigError
from dfercli.inference.loaded_model import LoadedModel
from dfercli.progress import LogProgress
from dfercli.training import run as train


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("precision")
    config = small_config(bright_and_dark_store(folder / "faces", 4), folder, select="last")
    return train.run(config, LogProgress()).run


@pytest.mark.parametrize("word", ["float32", "64", "bf16", ""])
def test_an_unknown_precision_is_refused_with_the_list(run, word):
    with pytest.raises(ConfigError, match=r"auto, 32, bf16-mixed.*32-true, bf16-true"):
        dfercli.load(run, precision=word)


def test_names_of_fabric_are_understood(run):
    frames = torch.rand(2, 3, 3, 48, 48)
    plain = dfercli.load(run, precision="32").logits(frames)
    assert torch.equal(dfercli.load(run, precision="32-true").logits(frames), plain)
    rounded = dfercli.load(run, precision="bf16-true").logits(frames)
    assert 0 < (rounded - plain).abs().max() < 2


def test_weights_in_bfloat16_are_not_trained(tmp_path, capsys):
    store = bright_and_dark_store(tmp_path / "faces", 4)
    command = ["train", str(store), *OPTIONS, "--out", str(tmp_path), "--precision"]
    assert dfer([*command, "bf16-true"]) == 2
    assert "hint: train with bf16-mixed" in capsys.readouterr().err
    assert dfer([*command, "32-true"]) == 0


def card(streams, calibration) -> ModelCard:
    model = {"method": "finecliper", "finecliper": {"streams": streams}}
    return ModelCard(("a", "b"), ("a", "b"), model, {}, 48, {}, calibration=calibration)


@pytest.mark.parametrize("fitted_with", [{"streams": ["frames", "landmarks"]}, {}])
def test_a_calibration_holds_only_for_its_own_streams(fitted_with):
    fitted = {"temperature": 2.0, "min_confidence": 0.4, **fitted_with}
    both = card(["frames", "landmarks"], fitted)
    assert both.looking_at(("landmarks", "frames")) is both
    alone = both.looking_at(("frames",))
    assert alone.calibration == {"temperature": 1.0}
    assert alone.min_confidence == 0
    logits = np.float32([[2.0, 1.0]])
    model = dfercli.Recognizer(
        LoadedModel(lambda frames: torch.from_numpy(logits), both, "two streams")
    )
    frames_only = dfercli.Recognizer(
        LoadedModel(lambda frames: torch.from_numpy(logits), card(["frames"], fitted), "one stream")
    )
    assert model.card.calibration_of(("frames",)) == (1.0, 0.0)
    assert model.card.calibration_of(("landmarks", "frames")) == (2.0, 0.4)
    if not fitted_with:
        assert frames_only.card.calibration["temperature"] == 2.0
