"""FineCLIPER, zero-shot CLIP and mean pooling on the command line."""

import json

import pytest
from face_parts import store_with_parts
from stores import write_store

from dfercli.cli.app import run as dfer

TRAIN = (
    *("--method", "finecliper", "--clip", "tiny-vit/random", "--accelerator", "cpu"),
    *("--workers", "0", "--epochs", "1", "--batch-size", "4", "--select", "last"),
    *("--set", "model.num_frames=3", "--quiet"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_with_parts(tmp_path_factory.mktemp("cli") / "faces")


def test_the_recipe_is_the_published_training(capsys):
    from dfercli.config import TrainConfig
    from dfercli.overrides import override
    from dfercli.recipes import read_recipe

    config = TrainConfig()
    for table in read_recipe("finecliper", "dfew", ("dfew", "ferv39k")):
        config = override(config, table, where="recipe")
    optim, model = config.optim, config.model
    assert (optim.optimizer, optim.lr_adapter, optim.weight_decay) == ("adamw", 3e-4, 0.05)
    assert (optim.schedule, optim.warmup_epochs, optim.epochs) == ("cosine", 2.5, 30)
    assert (model.clip, model.num_frames, model.text_type) == (
        "ViT-B-16-quickgelu/openai",
        16,
        "pn",
    )
    assert model.finecliper.drop_path == 0.2


def test_train_with_chosen_streams_then_eval_with_one_of_them(store, tmp_path, capsys):
    arguments = ["train", str(store), *TRAIN, "--streams", "frames,parsing"]
    arguments += ["--test", str(store), "--allow-leak", "--out", str(tmp_path), "--name", "run"]
    assert dfer(arguments) == 0
    capsys.readouterr()
    arguments = [
        "eval",
        str(tmp_path / "run"),
        str(store),
        "--streams",
        "parsing",
        "--workers",
        "0",
    ]
    assert dfer([*arguments, "--json"]) == 0
    (measured,) = json.loads(capsys.readouterr().out)
    assert measured["streams"] == ["parsing"]
    assert measured["clips_without_stream"] == {"parsing": 0}
    assert dfer(["eval", str(tmp_path / "run"), str(store), "--streams", "smell"]) == 2
    assert "smell" in capsys.readouterr().err


def test_zero_shot_measures_each_template_and_the_ensemble(store, tmp_path, capsys):
    arguments = ["eval", str(store), "--zero-shot", "--clip", "tiny-vit/random", "--workers", "0"]
    assert dfer([*arguments, "--out", str(tmp_path), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert len(measured) == 6
    assert measured[1]["class_texts"] == [
        "an expression of happiness.",
        "an expression of sadness.",
    ]
    assert "ensemble of 5" in measured[5]["measured_on"]
    assert measured[5]["class_texts"][0].count(" | ") == 4
    assert (tmp_path / "06-ensemble-of-5" / "metrics.json").is_file()
    assert dfer([*arguments, "--template", "the face of {name}", "--out", str(tmp_path)]) == 0
    assert "the face of happiness" in capsys.readouterr().out


def test_zero_shot_refuses_a_template_without_a_name(store, capsys):
    arguments = ["eval", str(store), "--zero-shot", "--clip", "tiny-vit/random"]
    assert dfer([*arguments, "--template", "a face"]) == 2
    error = capsys.readouterr().err
    assert "unknown set of zero-shot templates" in error
    assert "{name}" in error


def test_another_data_set_with_fewer_than_two_common_classes_is_refused(store, tmp_path, capsys):
    arguments = ["train", str(store), *TRAIN, "--out", str(tmp_path), "--name", "run"]
    assert dfer(arguments) == 0
    import numpy as np

    noise = np.zeros((3, 32, 32, 3), np.uint8)
    other = write_store(
        tmp_path / "other", [("a", "awe", None, noise), ("b", "calm", None, noise)], ("awe", "calm")
    )
    capsys.readouterr()
    assert dfer(["eval", str(tmp_path / "run"), str(other), "--workers", "0"]) == 3
    assert "--classes open" in capsys.readouterr().err
    assert (
        dfer(["eval", str(tmp_path / "run"), str(other), "--workers", "0", "--classes", "open"])
        == 0
    )


def test_mean_pooling_is_a_method_like_the_others(store, tmp_path):
    arguments = ["train", str(store), *TRAIN, "--out", str(tmp_path), "--name", "run"]
    arguments[arguments.index("finecliper")] = "mean-pooling"
    assert dfer(arguments) == 0
    assert dfer(["eval", str(tmp_path / "run"), str(store), "--workers", "0"]) == 0
