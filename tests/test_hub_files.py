"""Files from repositories that anybody can make are fetched within a bound."""

import hashlib
import re
import threading
import time
from functools import partial
from types import SimpleNamespace

import huggingface_hub
import pytest
from raw_server import answer, drip, serve_raw
from toy_model import write_toy_checkpoint

from dfercli.artifacts import hub_cache
from dfercli.artifacts.hub_cache import fetch_from_hub, growing
from dfercli.cli.app import run as dfer
from dfercli.errors import ArtifactError
from dfercli.faces import parsing_model
from dfercli.faces.parsing_model import fetch_parsing_model
from dfercli.inference.hub import pull
from dfercli.models.clip_weights import fetch_weights
from dfercli.progress import SilentProgress


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose files have `sizes`; it records the downloads."""
    state = SimpleNamespace(sizes={}, downloaded=[])

    def metadata(url):
        return SimpleNamespace(size=state.sizes[url.rpartition("/")[2]])

    def download(repository, name):
        state.downloaded.append(name)
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", metadata)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return state


@pytest.mark.parametrize("size", [1001, 10**15, None])
def test_a_file_of_excessive_or_unknown_size_is_not_downloaded(hub, size):
    hub.sizes["a.bin"] = size
    with pytest.raises(OSError, match="at most 1000 fit"):
        fetch_from_hub("someone/model", "a.bin", most_bytes=1000)
    assert hub.downloaded == []
    hub.sizes["a.bin"] = 1000
    assert fetch_from_hub("someone/model", "a.bin", most_bytes=1000).name == "a.bin"


def test_a_parser_that_is_too_large_is_one_line(hub, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr(parsing_model, "require_server", lambda url: None)
    monkeypatch.setattr(parsing_model, "_cached", lambda model: None)
    hub.sizes.update({"config.json": 900, "preprocessor_config.json": 300})
    hub.sizes["model.safetensors"] = 10**12
    with pytest.raises(ArtifactError, match=r"model\.safetensors has 1000000000000 bytes"):
        fetch_parsing_model("someone/model")
    assert "model.safetensors" not in hub.downloaded


def begin_of_a_file(number, requests):
    """What the hub says of a file, and then its content byte by byte."""
    said = [f'ETag: "{hashlib.sha256(b"x").hexdigest()}"', f"X-Repo-Commit: {'a' * 40}"]
    whole = answer(b"", "200 OK", *said, "Content-Length: 9000")
    yield whole
    if requests[number].startswith(b"GET"):
        yield from drip(b"x", 0.05)


STALLS = {
    "no answer": lambda number, requests: drip(b"", 0.05),
    "no end of headers": lambda number, requests: drip(b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "a byte at a time": begin_of_a_file,
}
FETCHERS = {
    "open_clip": lambda: fetch_weights("ViT-B-32", "openai"),
    "a model": lambda: pull("user/model", SilentProgress()),
    "a parser": lambda: parsing_model._download("user/parser"),
}


@pytest.mark.parametrize("fetcher", FETCHERS)
@pytest.mark.parametrize("stall", STALLS)
def test_a_hub_that_stalls_is_one_error_whatever_is_fetched(monkeypatch, tmp_path, fetcher, stall):
    for name in ("http_proxy", "https_proxy", "all_proxy", "dfer_offline"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(hub_cache, "STALL_SECONDS", 0.4)
    with serve_raw(lambda number: STALLS[stall](number, server.requests)) as server:
        constants = huggingface_hub.constants
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("dfercli.models.clip_weights.ENDPOINT", server.url)
        begun = time.monotonic()
        with pytest.raises(ArtifactError, match=r"it stalled: \d+ bytes in 0\.4 s"):
            FETCHERS[fetcher]()
        asked = server.requests[-1]
        assert asked.startswith(b"GET") or stall != "a byte at a time"
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("fetcher", FETCHERS)
def test_a_proxy_that_does_not_answer_is_named_at_once(monkeypatch, tmp_path, fetcher):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "nonsense.invalid")
    with pytest.raises(ArtifactError, match=r"nonsense\.invalid of https_proxy, which may"):
        FETCHERS[fetcher]()


@pytest.mark.parametrize("answered", [0, 1])
def test_an_upload_to_a_hub_that_stalls_is_one_error(monkeypatch, tmp_path, capsys, answered):
    for name in ("http_proxy", "https_proxy", "all_proxy", "dfer_offline"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    monkeypatch.setattr(hub_cache, "STALL_SECONDS", 4.0)
    monkeypatch.setattr(hub_cache, "SLOWEST_UPLOAD", 1e9)
    huggingface_hub.get_session()  # takes its time, once
    checkpoint = write_toy_checkpoint(tmp_path / "model")

    def script(number):
        made = b'{"url": "%s/user/mine"}' % server.url.encode()
        is_create = server.requests[number].startswith(b"POST /api/repos/create")
        return [answer(made)] if is_create and answered else drip(b"")

    with serve_raw(script) as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        begun = time.monotonic()
        assert dfer(["models", "push", str(checkpoint), "user/mine", "--quiet"]) == 4
        assert time.monotonic() - begun < 30
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"error: the hub at \S+: user/mine: it stalled: not done in 4(\.\d+)? s\n", error
    )
    assert len([one for one in server.requests if one.startswith(b"POST")]) == 1 + answered


def test_a_download_that_another_process_brings_on_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(hub_cache, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(hub_cache, "STALL_BYTES", 100)

    def work(done):
        for number in range(8):
            time.sleep(0.1)
            (tmp_path / str(number)).write_bytes(bytes(50))
        done.append(threading.current_thread())
        raise ValueError("of the library")

    done = []
    with pytest.raises(ValueError, match="of the library"):
        growing(partial(work, done), tmp_path)
    assert done != [threading.current_thread()]
