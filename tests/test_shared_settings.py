"""Settings that several commands share are stated once, and each command passes all of them on."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from miniature_datasets import make_mafw
from toy_model import write_toy_checkpoint

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.artifacts.model_card import ModelCard
from dfercli.cli.app import run as dfer
from dfercli.config import (
    CheckConfig,
    CopyConfig,
    DataConfig,
    DatasetConfig,
    EvalConfig,
    FacesConfig,
    ModelConfig,
    PredictConfig,
    PreprocessConfig,
)
from dfercli.config.options import offer_of
from dfercli.inference.info import read_model_card
from dfercli.inference.restore import new_model
from dfercli.prediction.face_source import preprocess_config

FACES: dict[str, Any] = {
    "detector": "haar",
    "detector_weights": Path("weights"),
    "faces": "largest",
    "min_face": 9,
    "min_seconds": 0.75,
    "region": (1, 2, 3, 4),
    "detect_every": 0.5,
    "lost_seconds": 9.0,
    "start": 1.5,
    "end": 2.5,
    "max_pixels": 1000,
    "workers": 0,
    "identities": "all",
    "identity_weights": Path("sface"),
    "people": Path("people"),
    "engine": "ray",
    "ray_address": "host:1",
}


@pytest.fixture(scope="module")
def mafw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mafw(tmp_path_factory.mktemp("mafw"))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return read_model_card(write_toy_checkpoint(tmp_path_factory.mktemp("toy") / "model"))[1]


def write_checkpoint_for_any_classes(folder: Path) -> Path:
    """A toy whose context tokens are shared by all classes, and whose texts are the class names."""
    config = ModelConfig(
        clip="tiny/random", num_frames=3, class_specific=False, text_type="name", context_tokens=2
    )
    model = new_model(config, ("happiness", "sadness"), seed=3)
    save_checkpoint(folder, model.module.state_dict(), model.card.to_json())
    return folder


@pytest.mark.parametrize(
    ("base", "kinds"),
    [
        (CopyConfig, (DataConfig, CheckConfig, EvalConfig)),
        (DatasetConfig, (DataConfig, CheckConfig)),
        (FacesConfig, (PreprocessConfig, PredictConfig)),
    ],
)
def test_shared_settings_are_stated_once(base: type, kinds: tuple[type, ...]) -> None:
    for kind in kinds:
        own = {field.name: field for field in fields(kind)}
        for field in fields(base):
            assert own[field.name].default == field.default
            assert offer_of(own[field.name]) is offer_of(field), (kind, field.name)


@pytest.mark.parametrize("name", [field.name for field in fields(FacesConfig)])
def test_predict_passes_each_setting_of_faces_on(name: str, card: ModelCard) -> None:
    """This fails if a new setting of FacesConfig is missing from FACES."""
    config = PredictConfig(**{name: FACES[name]})
    assert getattr(config, name) != getattr(PredictConfig(), name)
    made = preprocess_config(config, card, Path("store"))
    assert getattr(made, name) == FACES[name]


@pytest.mark.parametrize(
    ("more", "classes", "num_clips"),
    [([], 11, 4), (["--mafw-classes", "compound"], 13, 5)],
    ids=["single", "compound"],
)
def test_compound_classes_are_measured_on_request(
    mafw: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    classes: int,
    num_clips: int,
) -> None:
    toy = write_checkpoint_for_any_classes(tmp_path / "fold-1" / "checkpoints" / "best")
    asked = ["eval", str(toy), "mafw", "--root", str(mafw), "--classes", "open", "--workers", "0"]
    assert dfer([*asked, *more, "--out", str(tmp_path / "out"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert len(found["label_set"]) == classes
    assert found["num_clips"] == num_clips
    assert ("compound classes" in found["measured_on"]) == bool(more)
    assert dfer([*asked, *more]) == 0
    said = capsys.readouterr().out
    assert ("mafw-compound-open" in said) == bool(more)


def test_compound_classes_of_no_data_set_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = write_toy_checkpoint(tmp_path / "fold-1" / "checkpoints" / "best")
    assert dfer(["eval", str(toy), "--mafw-classes", "compound"]) == 2
    assert "name the data set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--frames", "no/such"], "no/such"),
        (["--captions", "--mafw-classes", "compound"], "12"),
    ],
)
def test_eval_reads_the_copy_as_train_does(
    mafw: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    asked = ["eval", "mafw", "--root", str(mafw), "--zero-shot", "--clip", "tiny/random"]
    asked += ["--template", "name", "--workers", "0", "--out", str(mafw / "out"), "--json"]
    code = dfer([*asked, *more])
    shown = capsys.readouterr()
    if said == "12":
        (found,) = json.loads(shown.out)
        assert (code, len(found["label_set"])) == (0, 12)  # nobody described a neutral clip
    else:
        assert code == 3
        assert said in shown.err
