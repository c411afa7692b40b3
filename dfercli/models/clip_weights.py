"""The weights file of a CLIP backbone: from the hub's cache, or downloaded once."""

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import open_clip
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from dfercli.errors import ArtifactError


def fetch_weights(name: str, tag: str) -> Path:
    """Return the tag's weights file: from the hub's cache, without the network, or downloaded once.

    `DFER_OFFLINE=1` never touches the network.

    Raises:
        ArtifactError: it is not cached and cannot be downloaded; the place and ways out are named.
    """
    source = open_clip.get_pretrained_cfg(name, tag)
    place = source.get("hf_hub") or source.get("url")
    if cached := _cached_weights(source):
        return cached
    try:
        _require_network()
        return Path(open_clip.download_pretrained(source))
    except Exception as error:  # the hub client raises a dozen unrelated kinds; all mean this
        raise ArtifactError(
            f"cannot download the CLIP weights {name}/{tag} from {place}: {error}",
            hint="fetch the file on another machine and give it with --clip-weights FILE, "
            "or try everything with a toy model: dfer demo",
        ) from error


def _cached_weights(source: dict[str, Any]) -> Path | None:
    """The weights in the hub's cache. The hub client itself would ask the network first."""
    repository, _, given = source.get("hf_hub", "").rpartition("/")
    if not repository:
        return None
    names = (given,) if given else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    for name in names:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    return None


def _require_network() -> None:
    """Fail at once where the hub cannot be reached, which its client tries for a minute.

    Raises:
        OSError: offline by `DFER_OFFLINE`, or the hub's name is not known here.
    """
    if os.environ.get("DFER_OFFLINE", "") not in ("", "0"):
        raise OSError("DFER_OFFLINE is set")
    if not getproxies():  # a proxy looks names up itself
        socket.getaddrinfo(urlsplit(ENDPOINT).hostname, 443)
