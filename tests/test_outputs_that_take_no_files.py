"""An output where nothing can be written is one line, whatever the command, and costs nothing."""

from pathlib import Path

import pytest
from drawn_videos import write_drawn_video
from llm_server import Reply, caption_answer, serve
from stores import bright_and_dark_store
from toy_model import write_toy_checkpoint
from trainings import OPTIONS

from dfercli.artifacts import locks
from dfercli.cli.app import run as dfer

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
