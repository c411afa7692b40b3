"""Files of repositories that anybody may have made are fetched within a bound."""

from types import SimpleNamespace

import pytest

from dfercli.artifacts.hub_cache import fetch_from_hub
from dfercli.errors import ArtifactError
from dfercli.faces import parsing_model
from dfercli.faces.parsing_model import fetch_parsing_model


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose files have `sizes`; it notes what was downloaded."""
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
def test_a_file_that_is_too_large_or_does_not_say_is_not_downloaded(hub, size):
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
