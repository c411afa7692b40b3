"""A disk that fills up is one line, whatever is written, and leaves what was there before."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drawn_videos import write_drawn_video
from stores import bright_and_dark_store
from toy_model import write_toy_checkpoint

from dfercli.artifacts.atomic import unwritable
from dfercli.cli.app import run as dfer
from dfercli.preprocessing import run as preprocessing

OLD = "of last week\n"
FINDING = ("--checkpoint", "toy", "--detector", "haar", "--workers", "0")
PREDICT = ("predict", "a.mp4", *FINDING, "--overwrite", "--out")
# The command line -> the most bytes that a file may have. Small outputs fit in part or not at all.
COMMANDS: dict[tuple[str, ...], int] = {
    (*PREDICT, "out/old"): 300,  # a folder of results
    (*PREDICT, "out/old.csv"): 300,
    (*PREDICT, "out/old.jsonl"): 300,
    (*PREDICT, "out/old.parquet"): 100,
    (*PREDICT, "out/x.csv", "--html", "out/old.html"): 8000,
    (*PREDICT, "out/x.csv", "--video", "out/old.mp4"): 5000,
    ("preprocess", "a.mp4", *FINDING[2:], "--out", "out/faces"): 500,
    ("eval", "toy", "faces", "--out", "out/e", "--workers", "0"): 200,
    ("describe", "--classes", "7", "--overwrite", "--out", "out/old.json"): 100,
    ("export", "toy", "--format", "torchscript", "--out", "out/old.torchscript"): 3000,
    ("data", "merge", "faces", "other", "--out", "out/merged"): 300,
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("faces", "other"):
        bright_and_dark_store(tmp_path / name, clips_per_class=4, frames=4)
    write_toy_checkpoint(tmp_path / "toy")
    write_drawn_video(tmp_path / "a.mp4", seconds=0.5)
    (tmp_path / "out").mkdir()
    for suffix in ("csv", "jsonl", "parquet", "html", "mp4", "json", "torchscript"):
        (tmp_path / "out" / f"old.{suffix}").write_text(OLD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """The system's own refusal to write more, which no code can miss."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_file_that_does_not_fit_is_one_line_and_costs_nothing_else(
    place: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    with files_of_at_most(COMMANDS[command]):
        code = dfer([*command, "--quiet"])
    said = capsys.readouterr()
    assert code in (3, 4), said.err
    assert sum(line.startswith("error: ") for line in said.err.splitlines()) == 1
    assert "Traceback" not in said.err
    assert "bug:" not in said.out + said.err
    assert "File too large" in said.out + said.err
    for path in place.glob("out/old.*"):
        assert path.read_text() == OLD, path
    assert not list(place.rglob("*.partial-*"))


def test_what_is_finished_is_kept_and_the_hint_says_how_to_go_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = [*PREDICT, "out/x.csv", "--html", "out/old.html", "--quiet"]
    with files_of_at_most(60_000):  # the journal fits, the page does not
        assert dfer(page) == 4
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "error: cannot write out/old.html: File too large",
        "hint: finished sources: 1, kept in out/.x.csv.work; the same command goes on from there",
    ]
    assert dfer(page) == 0
    assert "1 of 1 sources were done before" in capsys.readouterr().err

    def full(*_: object) -> None:
        raise unwritable(Path("a"), OSError(errno.ENOSPC, "No space left on device"))

    store = ["preprocess", "a.mp4", *FINDING[2:], "--out", "out/s", "--quiet"]
    for more in ((), ("--overwrite",)):
        with monkeypatch.context() as patch:
            patch.setattr(preprocessing, "assemble_store", full)
            assert dfer([*store, *more]) == 4
        again = " ".join(["the same command", *(["without --overwrite"] if more else [])])
        assert capsys.readouterr().err.splitlines()[-2:] == [
            "error: cannot write a: No space left on device",
            f"hint: finished sources: 1, kept in {place}/out/s; {again} goes on from there",
        ]
    assert dfer(store) == 0
