"""Files of the hub: found in its cache without asking the network, fetched within a bound."""

from collections.abc import Sequence
from pathlib import Path


def first_cached(repository: str, names: Sequence[str]) -> Path | None:
    """The first of several files of a repository that is in the cache.

    Raises:
        HFValidationError: `repository` cannot be a name on the hub.
    """
    from huggingface_hub import try_to_load_from_cache  # slow to import, for few

    for name in names:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    return None


def fetch_from_hub(repository: str, name: str, *, most_bytes: int) -> Path:
    """Return a file of a repository, which anybody may have made: from the cache, or downloaded.

    Raises:
        OSError: it has more bytes than `most_bytes`, or does not say how many; nothing was
            downloaded. The client's own kinds come through as they are.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    size = get_hf_file_metadata(hf_hub_url(repository, name)).size
    if size is None or size > most_bytes:
        raise OSError(
            f"{name} has {size or 'an unknown number of'} bytes, at most {most_bytes} fit"
        )
    return Path(hf_hub_download(repository, name))
