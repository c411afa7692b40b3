"""The weights file of a CLIP backbone: from the hub's cache, or downloaded once."""

from functools import partial
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub.constants import ENDPOINT
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from dfercli.artifacts.hub_cache import first_cached, from_hub, growing
from dfercli.artifacts.network import blamed, require_server
from dfercli.errors import ArtifactError

URL_CACHE = Path("~/.cache/clip").expanduser()
"""The folder of open_clip for files that are not on the hub."""


def fetch_weights(name: str, tag: str) -> Path:
    """Return the tag's weights file: from the hub's cache, without the network, or downloaded once.

    `DFER_OFFLINE=1` never touches the network.

    Raises:
        ArtifactError: it is not cached and cannot be downloaded; the message names ways out.
    """
    source = open_clip.get_pretrained_cfg(name, tag)
    repository = source.get("hf_hub", "").rpartition("/")[0]
    place = source.get("hf_hub") or source.get("url")
    if cached := _cached_weights(source):
        return cached
    server = ENDPOINT if repository else str(place)
    try:
        require_server(server)
        download = partial(open_clip.download_pretrained, source)
        return Path(from_hub(download, repository) if repository else growing(download, URL_CACHE))
    except Exception as error:  # the hub's client raises many unrelated kinds of errors
        raise ArtifactError(
            f"cannot download the CLIP weights {name}/{tag} from {place}: "
            f"{blamed(str(error), server)}",
            hint="fetch the file on another machine and give it with --clip-weights FILE, "
            "or try everything with a toy model: dfer demo",
        ) from error


def _cached_weights(source: dict[str, Any]) -> Path | None:
    """The weights in the hub's cache."""
    repository, _, given = source.get("hf_hub", "").rpartition("/")
    if not repository:
        return None
    names = (given,) if given else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    return first_cached(repository, names)
