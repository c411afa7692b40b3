"""What `dfer weights` says of files whose check sum nobody published."""

import json

import pytest

from dfercli.artifacts.weight_files import weight_file
from dfercli.cli.app import run as dfer


@pytest.fixture
def unchecked(tmp_path, monkeypatch):
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DFER_OFFLINE", "1")
    path = weight_file("retinaface").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"any bytes")
    return path


def test_a_file_without_a_published_check_sum_is_said_to_be_unchecked(unchecked, capsys):
    assert dfer(["weights", "--json"]) == 0
    checks = {row["name"]: row["check sum"] for row in json.loads(capsys.readouterr().out)}
    assert checks["retinaface"] == checks["scrfd"] == "not checked"
    assert checks["yunet"] == "SHA-256"
    assert checks["landmarks"] == "10 digits"
    assert dfer(["weights"]) == 0
    assert "not checked" in capsys.readouterr().out
    assert dfer(["weights", "retinaface"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{unchecked}\n"
    assert "retinaface is not checked: no check sum is published" in captured.err
