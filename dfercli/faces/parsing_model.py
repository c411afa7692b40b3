"""The files of a SegFormer for face parsing: found or fetched without loading any network."""

from importlib.util import find_spec
from pathlib import Path

from dfercli.artifacts.hub_cache import fetch_from_hub, first_cached
from dfercli.artifacts.network import blamed, require_server
from dfercli.documents import MAX_DOCUMENT_BYTES
from dfercli.errors import ArtifactError

DESCRIPTIONS = ("config.json", "preprocessor_config.json")
PICKLED_WEIGHTS = "pytorch_model.bin"
MOST_BYTES = 1 << 30
"""The largest SegFormer that is published takes a third of this."""
WEIGHTS = ("model.safetensors", PICKLED_WEIGHTS)  # the first of these that exists


def fetch_parsing_model(model: str) -> Path:
    """The folder of a SegFormer: as given, in the hub's cache, or downloaded once.

    Args:
        model: Name on the hub, or a folder.

    Raises:
        ArtifactError: transformers is not installed, or the model is not there and cannot be
            fetched.
    """
    if find_spec("transformers") is None:
        raise ArtifactError(
            "--streams parsing needs transformers", hint='pip install "dfercli[parsing]"'
        )
    folder = Path(model).expanduser()
    if folder.is_dir():
        names = {entry.name for entry in folder.iterdir()}
        missing = [name for name in DESCRIPTIONS if name not in names]
        if names.isdisjoint(WEIGHTS):
            missing.append(WEIGHTS[0])
        if missing:
            raise _not_there(model, f"the folder has no {', '.join(missing)}")
        return folder
    return _cached(model) or _download(model)


def _cached(model: str) -> Path | None:
    """The model's folder in the hub's cache."""
    from huggingface_hub.errors import HFValidationError

    try:
        found = [first_cached(model, names) for names in (*((n,) for n in DESCRIPTIONS), WEIGHTS)]
    except HFValidationError as error:
        raise _not_there(model, "neither a folder nor a name on the hub") from error
    return found[0].parent if found[0] is not None and None not in found else None


def _download(model: str) -> Path:
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import EntryNotFoundError

    try:
        require_server(ENDPOINT)
        paths = [
            fetch_from_hub(model, name, most_bytes=MAX_DOCUMENT_BYTES) for name in DESCRIPTIONS
        ]
        try:
            fetch_from_hub(model, WEIGHTS[0], most_bytes=MOST_BYTES)
        except EntryNotFoundError:
            fetch_from_hub(model, WEIGHTS[1], most_bytes=MOST_BYTES)
    except Exception as error:  # the hub's client raises many unrelated kinds of errors
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise _not_there(model, blamed(reason, ENDPOINT)) from error
    return paths[0].parent


def _not_there(model: str, reason: str) -> ArtifactError:
    return ArtifactError(
        f"cannot load {model} for the stream parsing: {reason}",
        hint="give a folder with --parsing-model",
    )
