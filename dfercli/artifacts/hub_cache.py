"""Files in the hub's cache, found without its client, which would ask the network first."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import try_to_load_from_cache


def first_cached(repository: str, names: Sequence[str]) -> Path | None:
    """The first of several files of a repository that is in the cache.

    Raises:
        HFValidationError: `repository` is no name on the hub.
    """
    for name in names:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    return None
