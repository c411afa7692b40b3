"""Probabilities of logits: a value that is not a number is an error before it is used."""

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from stores import bright_and_dark_store
from toy_model import write_toy_checkpoint

from dfercli.cli.app import run
from dfercli.errors import ArtifactError
from dfercli.inference.probabilities import softmax


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_a_number_is_refused(value):
    logits = np.array([[1.0, 2.0], [0.0, value]], np.float32)
    with pytest.raises(ArtifactError, match="not a finite number"):
        softmax(logits)


@pytest.mark.parametrize("command", ["predict", "eval"])
def test_damaged_weights_end_in_a_line_and_not_in_a_page_of_nan(tmp_path, capsys, command):
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=1)
    checkpoint = write_toy_checkpoint(tmp_path / "model")
    weights = load_file(checkpoint / "model.safetensors")
    save_file({name: value * np.nan for name, value in weights.items()},
              checkpoint / "model.safetensors")  # fmt: skip
    options = {
        "predict": ["predict", str(store), "--checkpoint", str(checkpoint), "--out"],
        "eval": ["eval", str(checkpoint), str(store), "--classes", "common", "--out"],
    }[command]
    out = tmp_path / ("a.csv" if command == "predict" else "e")
    assert run([*options, str(out), "--workers", "0"]) == 4
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    assert "not a finite number" in said
    assert not list(tmp_path.glob("a.csv"))
