"""Files from elsewhere: each way in which a server can fail, and what the user is told."""

import hashlib
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from drive_server import confirmation, quota_page, serve_drive, whole_file
from raw_server import answer, drip, serve_raw

from dfercli.artifacts import drive
from dfercli.artifacts.fetching import Remote, fetch_file, read_record
from dfercli.errors import ArtifactError

CONTENT = os.urandom(1_500_000)
ID = "1lRUw5eTa7TGSEombjHqCPE76oP2c_3fz"


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "dfer_offline"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def remote(tmp_path):
    return Remote("a-model", f"drive:{ID}", 10_000_000, tmp_path / "record.json", hint="by hand")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "model.pth"


def fetch(remote, target):
    return fetch_file(remote, target, is_there=target.is_file)


def on_drive(monkeypatch, tmp_path, script):
    """Serve Drive for as long as a test runs."""
    context = serve_drive(tmp_path, script)
    server = context.__enter__()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return context, server


@pytest.fixture
def drive_says(monkeypatch, tmp_path):
    opened = []

    def say(script):
        context, server = on_drive(monkeypatch, tmp_path, script)
        opened.append(context)
        return server

    yield say
    for context in opened:
        context.__exit__(None, None, None)


def test_drives_confirmation_page_is_passed(drive_says, remote, target):
    def script(path, headers):
        return [whole_file(CONTENT, headers) if "confirm=t" in path else confirmation()]

    server = drive_says(script)
    assert fetch(remote, target).read_bytes() == CONTENT
    assert server.requests == [f"/uc?id={ID}", "/download?id=ID&confirm=t&uuid=1-2-3"]
    record = read_record(remote.record)
    assert (record.size_bytes, record.sha256) == (
        len(CONTENT),
        hashlib.sha256(CONTENT).hexdigest(),
    )
    assert [path.name for path in target.parent.iterdir() if not path.name.endswith("lock")] == [
        "model.pth"
    ]


def test_a_quota_page_is_a_failure_with_its_reason(drive_says, remote, target):
    drive_says(lambda path, headers: [quota_page()])
    with pytest.raises(ArtifactError, match="a page, no file: Too many users") as error:
        fetch(remote, target)
    assert error.value.hint == "by hand"
    assert "\n" not in error.value.message
    assert not target.exists()
    assert not remote.record.exists()


def test_a_page_in_place_of_a_file_is_refused(drive_says, remote, target):
    drive_says(lambda path, headers: [whole_file(b"\n<!DOCTYPE html><p>consent", headers)])
    with pytest.raises(ArtifactError, match=r"is a page \(HTML\), no file"):
        fetch(remote, target)
    assert not target.exists()


def test_endless_and_dripping_answers_are_abandoned(monkeypatch, drive_says, remote, target):
    monkeypatch.setattr(drive, "STALL_SECONDS", 1.0)
    for script in (
        lambda path, headers: [confirmation()],
        lambda path, headers: _then_drip(whole_file(CONTENT, headers)[:2000]),
    ):
        drive_says(script)
        begun = time.monotonic()
        with pytest.raises(ArtifactError, match="it stalled for 1 s"):
            fetch(remote, target)
        assert time.monotonic() - begun < 10
        assert not target.exists()


def _then_drip(begin):
    yield begin
    yield from drip(b"x", 0.05)


def test_a_file_that_is_cut_in_the_middle_resumes_there(monkeypatch, drive_says, remote, target):
    monkeypatch.setattr(drive, "RETRIES", 0)
    asked = []

    def script(path, headers):
        asked.append(headers.get("range"))
        whole = whole_file(CONTENT, headers, 'ETag: "one"')
        return [whole[: 1_200_000 if len(asked) == 1 else None]]

    drive_says(script)
    assert fetch(remote, target).read_bytes() == CONTENT
    held = [int(wanted[6:-1]) for wanted in asked if wanted]
    assert len(held) == 1
    assert 500_000 < held[0] < 1_200_000


def test_a_file_that_has_changed_is_refused_and_the_way_out_is_named(drive_says, remote, target):
    content = [CONTENT]
    drive_says(lambda path, headers: [whole_file(content[0], headers)])
    fetch(remote, target)
    target.unlink()
    assert fetch(remote, target).is_file()  # the same file again
    target.unlink()
    content[0] = CONTENT[:-1] + b"!"
    with pytest.raises(ArtifactError, match="has changed since it was first fetched") as error:
        fetch(remote, target)
    assert error.value.hint == f"if you want the new one: rm {remote.record}"
    assert not target.exists()
    remote.record.unlink()
    assert fetch(remote, target).read_bytes() == content[0]


@pytest.mark.parametrize(
    "content",
    ["", "[1]", '{"schema": "dfer.fetched/1"}', '{"schema": "other/1"}'],
)
def test_a_broken_record_is_named_and_nothing_is_trusted(drive_says, remote, target, content):
    drive_says(lambda path, headers: [whole_file(CONTENT, headers)])
    remote.record.write_text(content)
    with pytest.raises(ArtifactError, match=re.escape(str(remote.record))):
        fetch(remote, target)
    assert not target.exists()


def test_more_bytes_than_the_bound_are_refused_and_not_kept(drive_says, remote, target):
    drive_says(lambda path, headers: [whole_file(CONTENT, headers)])
    with pytest.raises(ArtifactError, match="more than 1000 bytes"):
        fetch(replace(remote, most_bytes=1000), target)
    assert not [path for path in target.parent.iterdir() if not path.name.endswith(".lock")]


def test_no_server_and_offline_are_one_line(monkeypatch, tmp_path, remote, target):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setattr(drive, "RETRIES", 0)
    with pytest.raises(ArtifactError, match="cannot fetch a-model from drive:") as error:
        fetch(remote, target)
    assert "\n" not in error.value.message
    assert "refused, through the proxy 127.0.0.1 of HTTPS_PROXY" in error.value.message
    assert "Pool(" not in error.value.message
    monkeypatch.setenv("DFER_OFFLINE", "1")
    with pytest.raises(ArtifactError, match="DFER_OFFLINE is set"):
        fetch(remote, target)


TWO = """
import sys
from pathlib import Path
from dfercli.artifacts.fetching import Remote, fetch_file
target = Path(sys.argv[1])
remote = Remote("m", sys.argv[2], 10_000_000, target.parent / "record.json")
fetch_file(remote, target, is_there=target.is_file)
"""


def test_two_processes_fetch_once(tmp_path, target):
    def slowly(number):
        whole = answer(CONTENT)
        for start in range(0, len(whole), 200_000):
            yield whole[start : start + 200_000]
            time.sleep(0.1)

    with serve_raw(slowly) as server:
        command = [sys.executable, "-c", TWO, str(target), f"{server.url}/model.pth"]
        both = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait() for process in both] == [0, 0]
        assert len(server.requests) == 1
    assert target.read_bytes() == CONTENT


def ranged(content, tag, *, stop=None):
    """A plain server that supports ranges; it breaks off after `stop` bytes of its first answer."""

    def script(server, number):
        head = server.requests[number].decode("latin-1").lower()
        wanted = re.search(r"range: bytes=(\d+)-", head)
        same = f"if-range: {tag.lower()}" in head
        start = int(wanted[1]) if wanted and same else 0
        status = "206 Partial Content" if start else "200 OK"
        lines = [f"ETag: {tag}"]
        if start:
            lines.append(f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}")
        whole = answer(content[start:], status, *lines)
        return [whole[: stop if number == 0 and stop else None]]

    return script


def serve_ranged(script):
    box = []
    context = serve_raw(lambda number: script(box[0], number))
    server = context.__enter__()
    box.append(server)
    return context, server


@pytest.mark.parametrize("changes", [False, True], ids=["same version", "another version"])
def test_a_plain_download_resumes_only_the_same_version(remote, target, changes):
    context, server = serve_ranged(ranged(CONTENT, '"one"', stop=800_000))
    remote = replace(remote, place=f"{server.url}/m", most_bytes=3_000_000)
    later = b"?" * 1_000_000 if changes else CONTENT
    script = ranged(later, '"two"' if changes else '"one"')
    first = server.requests
    try:
        part = target.with_name(f".{target.name}.part")
        from dfercli.artifacts.bounded_http import DownloadError, download

        target.parent.mkdir()
        with pytest.raises(DownloadError):
            download(remote.place, part, most_bytes=3_000_000, resume=True)
        assert 0 < part.stat().st_size < 800_000
        held = part.stat().st_size
    finally:
        context.__exit__(None, None, None)
    port = int(server.url.rpartition(":")[2])
    box = []
    with serve_raw(lambda number: script(box[0], number), port=port) as again:
        box.append(again)
        assert fetch(remote, target).read_bytes() == later
        assert f"range: bytes={held}-" in again.requests[0].decode().lower()
    assert len(first) == 1
    assert [path.name for path in target.parent.iterdir() if not path.name.endswith("lock")] == [
        "model.pth"
    ]
