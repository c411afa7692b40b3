"""`dfer convert`: published checkpoints to ours and back, and files that must be refused."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.cli.app import run as dfer
from dfercli.config import ModelConfig
from dfercli.inference.restore import restore_model
from dfercli.labels import ELEVEN, SEVEN
from dfercli.models.clip_backbone import build_clip
from dfercli.models.dfer_clip import DferClip
from dfercli.models.published_checkpoint import build_published, published_weights, read_published

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 64, "head_width": 64, "layers": 1},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 1,
        "layers": 1,
    },
}


class RecorderMeter:
    """The published trainer keeps one in its checkpoints."""

    def __init__(self, epochs: int) -> None:
        self.epoch_losses = np.zeros((epochs, 2), dtype=np.float32)


def make_model(labels: tuple[str, ...] = SEVEN, **changes: Any) -> tuple[DferClip, list[str]]:
    torch.manual_seed(0)
    config = ModelConfig(num_frames=4, context_tokens=3, **changes)
    texts = [f"{label}, it's seen in the brows." for label in labels]
    return DferClip(build_clip(ARCHITECTURE), texts, config), texts


def published_content(labels: tuple[str, ...] = SEVEN, **changes: Any) -> dict[str, Any]:
    model, texts = make_model(labels, **changes)
    return {
        "epoch": 3,
        "state_dict": published_weights(model, texts),
        "best_acc": torch.tensor(0.5),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "recorder": None,
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the published trainer writes it, with an object of a class from its `__main__`."""
    path = tmp_path_factory.mktemp("published") / "published.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecorderMeter, "__module__", "__main__")
        patch.setattr(sys.modules["__main__"], "RecorderMeter", RecorderMeter, raising=False)
        torch.save({**published_content(), "recorder": RecorderMeter(50)}, path)
    assert b"__main__\nRecorderMeter" in zipfile.ZipFile(path).read("published/data.pkl")
    return path


def assert_same(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name


def test_a_published_checkpoint_becomes_one_of_ours(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(pickle.UnpicklingError):
        torch.load(published, weights_only=True)  # this is what makes the file difficult
    assert dfer(["convert", str(published), "--out", str(tmp_path / "ours"), "--check"]) == 0
    printed = capsys.readouterr().out
    assert "anger: anger, it's seen in the brows." in printed
    assert "3 class-specific context tokens, class text at the end; 4 frames of 64 px" in printed
    assert f"largest difference of logits to {published}: 0\n" in printed
    restored = restore_model(tmp_path / "ours")
    assert_same(restored.module.state_dict(), make_model()[0].state_dict())
    assert restored.card.label_set == SEVEN
    assert restored.card.class_texts[0] == "happiness, it's seen in the brows."
    assert restored.config.normalization == "none"
    assert "best on the test list" in restored.card.selected_on


@pytest.mark.parametrize(
    ("position", "class_specific"), [("end", False), ("middle", True), ("front", True)]
)
def test_there_and_back_again_is_bit_equal(
    tmp_path: Path, position: str, class_specific: bool
) -> None:
    content = published_content(class_specific=class_specific, class_position=position)
    torch.save(content, tmp_path / "theirs.pth")
    options = ["--class-position", position, "--check"]
    ours, back = tmp_path / "ours", tmp_path / "back.pth"
    assert dfer(["convert", str(tmp_path / "theirs.pth"), "--out", str(ours), *options]) == 0
    assert restore_model(ours).config.class_position == position
    assert dfer(["convert", str(ours), "--to", "official", "--out", str(back), "--check"]) == 0
    assert_same(torch.load(back, weights_only=True)["state_dict"], content["state_dict"])


def test_eleven_classes_and_no_other_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for labels, code in ((ELEVEN, 0), (SEVEN[:5], 4)):
        source, out = tmp_path / f"{len(labels)}.pth", tmp_path / str(len(labels))
        torch.save(published_content(labels), source)
        assert dfer(["convert", str(source), "--out", str(out)]) == code
    assert restore_model(tmp_path / "11").card.label_set == ELEVEN
    assert "expected 7 or 11 classes, the checkpoint has 5" in capsys.readouterr().err


@pytest.mark.media
def test_the_golden_checkpoint(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared / "golden" / "official-tiny-end-specific.pth"
    assert dfer(["convert", str(source), "--out", str(tmp_path / "o"), "--check", "--json"]) == 0
    comparisons = json.loads(capsys.readouterr().out)["comparisons"]
    assert "golden values" in comparisons[1]["reference"]
    assert comparisons[1]["difference"] <= 1e-4
    back = tmp_path / "back.pth"
    assert dfer(["convert", str(tmp_path / "o"), "--to", "official", "--out", str(back)]) == 0
    assert_same(read_published(back), read_published(source))


class Trap:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def traps(marker: Path) -> dict[str, Trap]:
    return {
        "os.system": Trap(os.system, f"touch {marker}"),
        "builtins.exec": Trap(exec, f"open({str(marker)!r}, 'w')"),
        "builtins.open": Trap(open, str(marker), "w"),
        "pathlib": Trap(Path.touch, marker),
        "subprocess": Trap(subprocess.call, ["touch", str(marker)]),
        "numpy": Trap(np.save, str(marker), np.zeros(1)),
    }


@pytest.mark.parametrize("name", traps(Path("marker")))
@pytest.mark.parametrize("form", ["beside the weights", "in the weights", "bare", "legacy"])
def test_a_file_built_to_run_code_is_refused_and_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, form: str
) -> None:
    marker, source = tmp_path / "marker", tmp_path / "evil.pth"
    trap = traps(marker)[name]
    weights = {"module.prompt_learner.ctx": torch.zeros(7, 3, 64)}
    if form == "beside the weights":
        torch.save({"state_dict": weights, "recorder": trap}, source)
    elif form == "in the weights":
        torch.save({"state_dict": {**weights, "trap": trap}}, source)
    elif form == "bare":
        source.write_bytes(pickle.dumps({"state_dict": {}, "recorder": trap}))
    else:
        torch.save({"recorder": trap}, source, _use_new_zipfile_serialization=False)
    assert dfer(["convert", str(source), "--out", str(tmp_path / "ours")]) == 4
    assert dfer(["eval", str(source), "dfew"]) in (3, 4)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    if form.endswith("the weights"):
        assert "wants to call" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth"]
    # The trap itself works: an ordinary load falls into it.
    torch.load(source, weights_only=False) if form != "bare" else pickle.loads(source.read_bytes())
    assert len(list(tmp_path.iterdir())) == 2


def damaged(kind: str) -> dict[str, Any]:
    content = published_content()
    weights: dict[str, Tensor] = content["state_dict"]
    if kind == "two CLIPs":
        weights["module.clip_model_.visual.proj"] = weights["module.image_encoder.proj"] + 1
    elif kind == "missing":
        del weights["module.temporal_net.cls_token"]
    elif kind == "shape":
        weights["module.temporal_net.cls_token"] = torch.zeros(1, 1, 31)
    elif kind == "no text":
        weights["module.prompt_learner.token_suffix"] += 1
    elif kind == "other":
        content["state_dict"] = {"fc.weight": torch.zeros(2, 2)}
    elif kind == "no tensors":
        content["state_dict"] = {"fc.weight": "text"}
    return content


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("two CLIPs", "the two copies of image_encoder.proj differ"),
        ("missing", "the checkpoint lacks temporal_net.cls_token"),
        ("shape", "temporal_net.cls_token: expected shape (1, 1, 32), got (1, 1, 31)"),
        ("no text", "not a CLIP token embedding"),
        ("other", "is not a DFER-CLIP checkpoint"),
        ("no tensors", "holds no state_dict of tensors"),
    ],
)
def test_a_damaged_file_is_refused_and_the_damage_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, message: str
) -> None:
    torch.save(damaged(kind), tmp_path / "damaged.pth")
    arguments = ["convert", str(tmp_path / "damaged.pth"), "--out", str(tmp_path / "ours")]
    assert dfer(arguments) == 4
    assert message in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()


def test_a_file_cut_short_missing_or_of_text(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = published.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"some text"):
        (tmp_path / "file.pth").write_bytes(content)
        command = ["convert", str(tmp_path / "file.pth"), "--out", str(tmp_path / "ours")]
        assert dfer(command) == 4
        assert "not a readable PyTorch checkpoint" in capsys.readouterr().err
    assert dfer(["convert", str(tmp_path / "no.pth"), "--out", str(tmp_path / "ours")]) == 4
    assert "no such checkpoint file" in capsys.readouterr().err


def test_an_existing_file_is_never_overwritten(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_text("data")
    assert dfer(["convert", str(published), "--out", str(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "precious").read_text() == "data"


def test_models_that_the_published_code_cannot_run_are_refused(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfer(["convert", str(published), "--out", str(tmp_path / "ours")]) == 0
    card = json.loads((tmp_path / "ours" / "model.json").read_text())
    card["model"] |= {"normalization": "clip", "temporal_layers": 0}
    card.pop("schema")
    model, _ = make_model(normalization="clip", temporal_layers=0)
    save_checkpoint(tmp_path / "changed", model.state_dict(), card)
    out = tmp_path / "theirs.pth"
    assert dfer(["convert", str(tmp_path / "changed"), "--to", "official", "--out", str(out)]) == 4
    error = capsys.readouterr().err
    assert "it normalises pixels by CLIP's mean and deviation" in error
    assert "it takes the mean over frames" in error
    assert not out.exists()


def test_the_wrong_position_gives_other_logits(tmp_path: Path) -> None:
    torch.save(published_content(), tmp_path / "theirs.pth")
    weights = read_published(tmp_path / "theirs.pth")
    frames = torch.rand(1, 4, 3, 64, 64)
    with torch.inference_mode():
        end, front = (build_published(weights, at)[0].eval()(frames) for at in ("end", "front"))
    assert (end - front).abs().max() > 1e-3
