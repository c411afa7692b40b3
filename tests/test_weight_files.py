"""Weight files: fetched once, whole, checked and within their bounds."""

import hashlib
import json
import time
from dataclasses import replace

import pytest
from raw_server import answer, serve_raw

from dfercli.artifacts.weight_files import WEIGHT_FILES, WeightFile, fetch, weight_file
from dfercli.cli.app import run as dfer
from dfercli.errors import ArtifactError

CONTENT = b"weights " * 1000


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A weight file on a server that sends `served["parts"]`."""
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DFER_OFFLINE", raising=False)
    state = {"parts": [answer(CONTENT)]}
    digest = hashlib.sha256(CONTENT).hexdigest()
    with serve_raw(lambda number: state["parts"]) as server:
        state["server"] = server
        state["file"] = WeightFile(
            "made-up", "a test", f"{server.url}/w", "w.bin", digest, "none", most_bytes=10_000
        )
        yield state


def test_weights_are_fetched_once_and_checked(served):
    file = served["file"]
    assert fetch(file).read_bytes() == CONTENT
    assert fetch(file) == file.path
    assert len(served["server"].requests) == 1
    file.path.write_bytes(b"broken")
    assert fetch(file).read_bytes() == CONTENT
    assert len(served["server"].requests) == 2


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([answer(b"other weights")], "its SHA-256 is"),
        ([answer(CONTENT, "200 OK", "Content-Length: 9000")], "peer closed"),
        ([answer(b"gone", "404 Not Found")], "the server answered 404"),
        ([b""], "disconnected"),
    ],
)
def test_a_failed_download_leaves_nothing(served, parts, message):
    served["parts"] = parts
    with pytest.raises(ArtifactError, match=f"cannot fetch made-up from .*{message}"):
        fetch(served["file"])
    assert [path.name for path in served["file"].path.parent.iterdir()] == [".w.bin.lock"]


def test_a_file_above_its_bound_is_asked_for_once(served):
    def parts():
        yield b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT  # within the bound, so it is progress
        time.sleep(0.2)  # a read of its own
        yield CONTENT

    served["parts"] = parts()
    with pytest.raises(ArtifactError, match="more than 10000 bytes"):
        fetch(served["file"])
    assert len(served["server"].requests) == 1
    assert [path.name for path in served["file"].path.parent.iterdir()] == [".w.bin.lock"]


def test_a_server_that_does_not_listen_is_one_line(served):
    file = replace(served["file"], url="http://127.0.0.1:9/w")
    with pytest.raises(ArtifactError, match=r"cannot fetch made-up from .*: .*connection") as error:
        fetch(file)
    assert "put the file at" in error.value.hint


def test_every_weight_file_has_a_bound():
    assert all(0 < file.most_bytes <= 200 << 20 for file in WEIGHT_FILES)


@pytest.fixture
def unchecked(tmp_path, monkeypatch):
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DFER_OFFLINE", "1")
    path = weight_file("retinaface").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"any bytes")
    return path


def test_a_file_without_a_published_checksum_is_reported_as_unchecked(unchecked, capsys):
    assert dfer(["weights", "--json"]) == 0
    checks = {row["name"]: row["checksum"] for row in json.loads(capsys.readouterr().out)}
    assert checks["retinaface"] == checks["scrfd"] == "not checked"
    assert checks["yunet"] == "SHA-256"
    assert checks["landmarks"] == "10 digits"
    assert dfer(["weights"]) == 0
    assert "not checked" in capsys.readouterr().out
    assert dfer(["weights", "retinaface"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{unchecked}\n"
    assert "retinaface is not checked: no checksum is published" in captured.err
