"""An output where nothing can be written is one line, whatever the command, and costs nothing."""

import os
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from drawn_videos import write_drawn_video
from llm_server import Reply, caption_answer, serve
from stores import bright_and_dark_store
from toy_model import write_toy_checkpoint
from trainings import OPTIONS

from dfercli import config
from dfercli.artifacts import locks
from dfercli.cli.app import run as dfer
from dfercli.config.options import OUTPUT, offer_of

DENIED = "Permission denied"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    bright_and_dark_store(folder / "faces", clips_per_class=4, frames=4)
    write_toy_checkpoint(folder / "toy")
    write_drawn_video(folder / "a.mp4", seconds=0.5)
    (folder / "out").mkdir()
    (folder / "out" / "old.csv").write_text("of last week\n")
    return folder


def looks(place: Path) -> dict[str, tuple[int, int]]:
    status = {str(path): path.lstat() for path in place.rglob("*")}
    return {name: (one.st_size, one.st_mtime_ns) for name, one in status.items()}


FINDING = ("--checkpoint", "toy", "--detector", "haar", "--workers", "0")
COMMANDS: dict[str, tuple[str, ...]] = {
    "live": ("predict", "--camera", "a.mp4", "--headless", *FINDING, "--out", "out/l.jsonl"),
    "predict": ("predict", "a.mp4", *FINDING, "--out", "out/old.csv"),
    "train": ("train", "faces", *OPTIONS, "--out", "out", "--name", "run"),
    "preprocess": ("preprocess", "a.mp4", "--detector", "haar", "--workers", "0", "--out", "out/f"),
    "describe": ("describe", "faces", "--model", "eyes"),
    "describe classes": ("describe", "--classes", "7", "--out", "out/d.json"),
    "export": ("export", "toy", "--format", "onnx", "--out", "out/m.onnx"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_in_a_folder_of_others_is_one_line_and_nothing_is_lost(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """The system's refusal stands in for the folder: the superuser may write everywhere."""

    def refused(*_: object) -> None:
        raise PermissionError(13, DENIED)

    monkeypatch.setattr(locks, "_acquire", refused)
    monkeypatch.chdir(place)
    before = looks(place)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef0123")
    with serve(lambda request, number: Reply(caption_answer("The brows rise."))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert dfer(list(COMMANDS[command])) == 4
        assert server.received == []
    error = capsys.readouterr().err
    assert error.count("error: ") == 1
    assert DENIED in error
    assert "Traceback" not in error
    after = looks(place)
    folder = str(place / "out")
    assert all(after[name] == state for name, state in before.items() if name != folder)
    assert {name for name in after if name not in before} <= {f"{folder}/f", f"{folder}/run"}


IN_A_FILE: dict[str, tuple[str, ...]] = {
    "predict a.mp4 --checkpoint toy": (
        *("--out a.mp4/r", "--out a.mp4/r/t.csv", "--spans a.mp4/s.csv", "--summary a.mp4/s.csv"),
        *("--html a.mp4/p.html", "--video a.mp4/v.mp4", "--video a.mp4/v", "--faces-out a.mp4/f"),
        *("--faces-out a.mp4", "--spans DIR.csv", "--html DIR.html", "--out LINK/r"),
        *("--out LINK.csv", "--summary PIPE.csv", "--html LINK.html", "--video /", "--out /"),
    ),
    "predict --camera a.mp4 --headless --checkpoint toy": (
        *("--out a.mp4/l.jsonl", "--record a.mp4/r.mp4", "--record DIR.mp4"),
    ),
    "preprocess a.mp4": ("--out a.mp4/f", "--out a.mp4", "--set out=a.mp4/f"),
    "train faces": ("--out a.mp4", "--out a.mp4/runs", "--out /", "--features-in a.mp4/x"),
    "sweep sweep.toml": ("--set out=a.mp4/runs",),
    "eval toy faces": ("--out a.mp4", "--out a.mp4/e"),
    "describe --classes 7": ("--out a.mp4/d.json", "--out DIR.json", "--out PIPE.csv"),
    "describe faces": ("--cache a.mp4/c",),
    "export toy": ("--out a.mp4/m.onnx", "--out DIR.onnx"),
    "convert toy --to official": ("--out a.mp4/m.pth",),
    "convert-timeline out --to vtt": ("--out a.mp4", "--out a.mp4/x"),
    "data merge faces faces": ("--out a.mp4", "--out a.mp4/m"),
    "data get ravdess": ("--root a.mp4", "--root a.mp4/r"),
    "demo": ("--out a.mp4", "--out a.mp4/d"),
    "demo --real ravdess": ("--root a.mp4/r", "--out a.mp4/d"),
}


@pytest.mark.parametrize("command", IN_A_FILE)
def test_an_output_in_a_file_or_in_place_of_a_folder_is_a_wrong_option(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(place)
    for name in ("DIR.csv", "DIR.html", "DIR.mp4", "DIR.json", "DIR.onnx"):
        Path(name).mkdir(exist_ok=True)
    for name in ("LINK", "LINK.csv", "LINK.html"):
        if not Path(name).is_symlink():
            Path(name).symlink_to("nowhere")
    if not Path("PIPE.csv").exists():
        os.mkfifo("PIPE.csv")
    Path("sweep.toml").write_text('dataset = "faces"\n[grid]\nseed = [1, 2]\n')
    before = looks(place)
    for more in IN_A_FILE[command]:
        assert dfer([*command.split(), *more.split()]) == 2, more
        error, hint = capsys.readouterr().err.splitlines()  # nothing was done before
        option = more.split()[0].replace("--set", "--out")
        named = more.split()[1].removeprefix("out=")
        assert error.startswith(f"error: {option} {named}"), error
        assert re.search(", expected a (file|folder|place in a folder)$", error), error
        assert hint == f"hint: choose another {option}"
    assert looks(place) == before


def test_each_option_for_the_path_of_an_output_says_what_is_written() -> None:
    kinds = [kind for name in config.__all__ if is_dataclass(kind := getattr(config, name))]
    found = [
        (f"{kind.__name__}.{entry.name}", offer.writes)
        for kind in kinds
        for entry in fields(kind)
        if (offer := offer_of(entry)) is not None and offer.panel == OUTPUT
        if Path in (hint := get_type_hints(kind)[entry.name], *get_args(hint))
    ]
    assert len(found) > 10
    assert [name for name, writes in found if writes is None] == []
