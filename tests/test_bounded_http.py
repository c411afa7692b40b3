"""An exchange and a download end within their bounds, whatever the server sends."""

import asyncio
import gzip
import hashlib
import os
import socket
import time
from pathlib import Path

import httpx2
import pytest
from raw_server import answer, drip, endless, serve_raw

from dfercli.artifacts import bounded_http
from dfercli.artifacts.bounded_http import (
    BodyTooLargeError,
    DownloadError,
    check_proxies,
    download,
    exchange,
)
from dfercli.errors import ConfigError

SECONDS = 0.4
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(url, *, most_bytes=1000, seconds=SECONDS):
    return exchange(httpx2.Request("POST", url, json={}), seconds=seconds, most_bytes=most_bytes)


def test_an_exchange_works_inside_a_running_event_loop_as_in_a_notebook():
    async def cell(url):
        return ask(url)

    with serve_raw(lambda number: [answer(b"{}")]) as server:
        assert asyncio.run(cell(server.url)).content == b"{}"


def test_an_answer_is_taken_whole_and_a_redirect_is_not_followed():
    with serve_raw(lambda number: [answer(b"{}")]) as server:
        response = ask(server.url)
    assert (response.status_code, response.content) == (200, b"{}")
    assert b"accept-encoding: identity" in server.requests[0].lower()
    there = answer(b"", "307 Temporary Redirect", "Location: http://192.0.2.1/", "Set-Cookie: a=b")
    with serve_raw(lambda number: [there]) as server:
        response = ask(server.url)
    assert response.status_code == 307
    assert dict(response.headers)["location"] == "http://192.0.2.1/"
    assert len(server.requests) == 1


def endless_after(begin, parts):
    yield begin
    yield from parts


SLOW = {
    "nothing": lambda: drip(b""),
    "headers that drip": lambda: drip(b"X: y\r\n"),
    "a status line that drips": lambda: drip(b"H"),
    "a body that drips": lambda: endless_after(HEAD, drip(b" ")),
    "chunks that drip": lambda: endless_after(CHUNKED, drip(b"1\r\nx\r\n")),
    "informational answers": lambda: drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_server_is_abandoned_when_the_time_is_up(name):
    with serve_raw(lambda number: SLOW[name]()) as server:
        begun = time.monotonic()
        with pytest.raises(httpx2.RequestError):
            ask(server.url)
        assert time.monotonic() - begun < 10


ENDLESS = {
    "a body": (HEAD, b"x" * 65536),
    "chunks": (CHUNKED, b"8000\r\n" + b"x" * 0x8000 + b"\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 8000 + b"\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 8000),
    "informational answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a status line": (b"HTTP/1.1 200 ", b"O" * 8000),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_answer_is_abandoned_after_few_bytes(name):
    with serve_raw(lambda number: endless(*ENDLESS[name])) as server:
        with pytest.raises(httpx2.RequestError) as error:
            ask(server.url, most_bytes=100_000, seconds=1)
        # The socket buffers on both sides count as sent, too.
        assert server.sent < 20_000_000
    if name in ("a body", "chunks"):
        assert isinstance(error.value, BodyTooLargeError)


BROKEN = {
    "nothing": [b""],
    "no HTTP": [b"\x16\x03\x01\x00\xff garbage\r\n\r\n"],
    "a length that is no number": [answer(b"{}", "200 OK", "Content-Length: many")],
    "a negative length": [answer(b"{}", "200 OK", "Content-Length: -5")],
    "two lengths": [answer(b"{}", "200 OK", "Content-Length: 2", "Content-Length: 3")],
    "a body cut short": [answer(b"{", "200 OK", "Content-Length: 50")],
    "a chunk without a size": [CHUNKED + b"zz\r\n"],
    "a packed body": [answer(gzip.compress(b"{}"), "200 OK", "Content-Encoding: gzip")],
    "a bomb": [answer(gzip.compress(b"0" * 10**6), "200 OK", "Content-Encoding: gzip, gzip")],
    "a header of bytes": [b"HTTP/1.1 200 OK\r\n\xff\xfe: \x00\r\n\r\n"],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_an_error_of_the_request(name):
    with serve_raw(lambda number: BROKEN[name]) as server, pytest.raises(httpx2.RequestError):
        ask(server.url, seconds=5)


def test_a_refused_connection_differs_from_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(httpx2.ConnectError):
        ask(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("refusal", ["nobody there", "403 Forbidden"])
def test_a_proxy_on_the_way_is_named_as_a_likely_cause(monkeypatch, tmp_path, refusal):
    with serve_raw(lambda number: [answer(b"no", refusal)]) as server:
        address = server.url.replace("//", "//anna:secret@")
        monkeypatch.setenv("HTTPS_PROXY", "nonsense.invalid" if "nobody" in refusal else address)
        with pytest.raises(DownloadError) as failed:
            download("https://files.invalid/a", tmp_path / "a", most_bytes=9)
        with pytest.raises(httpx2.RequestError) as unanswered:
            ask("https://files.invalid/a", seconds=5)
    for error in (failed, unanswered):
        assert "of HTTPS_PROXY, which may be wrong" in str(error.value)
        assert "secret" not in str(error.value)
    monkeypatch.setenv("NO_PROXY", "files.invalid")
    with pytest.raises(DownloadError) as failed:
        download("https://files.invalid/a", tmp_path / "a", most_bytes=9)
    assert "PROXY" not in str(failed.value)


def test_an_unusable_proxy_is_an_error_of_the_settings(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://nowhere")
    with pytest.raises(ConfigError, match="proxy"):
        check_proxies()


def test_a_download_is_whole_and_returns_its_checksum(tmp_path):
    content = os.urandom(300_000)

    def script(number):
        if number == 0:
            return [answer(b"", "302 Found", "Location: /elsewhere")]
        return [answer(content)]

    with serve_raw(script) as server:
        digest = download(server.url + "/w", tmp_path / "w", most_bytes=300_000)
    assert (tmp_path / "w").read_bytes() == content
    assert digest == hashlib.sha256(content).hexdigest()
    assert server.requests[1].startswith(b"GET /elsewhere ")


NO_FILES = {
    "more than 1000 bytes": lambda: endless(HEAD, b"x" * 65536),
    "said to have 5000 bytes": lambda: [answer(b"x" * 5000)],
    "the server answered 404": lambda: [answer(b"no", "404 Not Found")],
    r"a page \(text/html\)": lambda: [answer(b"hello", "200 OK", "Content-Type: text/html")],
    r"a page \(HTML": lambda: [answer(b"\n<!DOCTYPE html>")],
    "packed": lambda: [answer(b"xx", "200 OK", "Content-Encoding: br")],
    "redirects more than": lambda: [answer(b"", "302 Found", "Location: /again")],
    "from http to file": lambda: [answer(b"", "302 Found", "Location: file:///etc/passwd")],
    "it stalled: ": lambda: endless_after(HEAD, drip(b"x", 0.05)),
    "no answer within": lambda: drip(b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "peer closed": lambda: [answer(b"x", "200 OK", "Content-Length: 9")],
    "Name or|disconnected": lambda: [b""],
}


@pytest.mark.parametrize("message", NO_FILES)
def test_an_answer_that_is_no_file_is_refused_within_its_bounds(tmp_path, monkeypatch, message):
    monkeypatch.setattr(bounded_http, "STALL_SECONDS", 0.3)
    with serve_raw(lambda number: NO_FILES[message]()) as server:
        begun = time.monotonic()
        with pytest.raises(DownloadError, match=message):
            download(server.url, tmp_path / "w", most_bytes=1000)
        assert time.monotonic() - begun < 10
        assert server.sent < 20_000_000


def test_a_redirect_never_leads_away_from_https():
    place = httpx2.URL("https://example.org/a/b")
    assert bounded_http._next_place(place, "../c") == "https://example.org/c"
    with pytest.raises(DownloadError, match="from https to http"):
        bounded_http._next_place(place, "http://example.org/")


def test_a_full_disk_is_an_error_of_the_file_not_of_the_server():
    with (
        serve_raw(lambda number: [answer(b"x" * 100_000)]) as server,
        pytest.raises(OSError, match="No space left"),
    ):
        download(server.url, Path("/dev/full"), most_bytes=10**6)
