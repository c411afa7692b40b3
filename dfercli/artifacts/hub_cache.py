"""Files of the hub: found in its cache without asking the network, fetched within bounds."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TypeVar

from dfercli.artifacts.network import STALL_BYTES, STALL_SECONDS

ResultT = TypeVar("ResultT")

LOOK_SECONDS = 0.2
SLOWEST_UPLOAD = 50_000
"""Bytes per second, over a whole upload."""


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
        OSError: it has more bytes than `most_bytes`, or does not say how many, and nothing was
            downloaded; or the download stalled. The client's own kinds come through as they are.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    def download() -> Path:
        size = get_hf_file_metadata(hf_hub_url(repository, name)).size
        if size is None or size > most_bytes:
            raise OSError(
                f"{name} has {size or 'an unknown number of'} bytes, at most {most_bytes} fit"
            )
        return Path(hf_hub_download(repository, name))

    return from_hub(download, repository)


def from_hub(work: Callable[[], ResultT], repository: str) -> ResultT:
    """What the hub's client does for a repository, as `growing` bounds it.

    Raises:
        OSError: it stalled. The client's own kinds come through as they are.
    """
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    name = repo_folder_name(repo_id=repository, repo_type="model")
    return growing(work, Path(HF_HUB_CACHE) / name)


def growing(work: Callable[[], ResultT], folder: Path) -> ResultT:
    """Wait for a download by a library as long as it, or another process, adds to `folder`.

    A library bounds single reads, so a server that drips bytes holds it for ever. A thread does the
    work; where it is given up, the thread is left to itself and ends with the process.

    Args:
        work: The download.
        folder: Where its files grow; it need not exist.

    Raises:
        OSError: it brought less than `STALL_BYTES` in `STALL_SECONDS`.
    """
    outcome = _begun(work)
    held, since = _bytes_in(folder), time.monotonic()
    while not wait([outcome], timeout=LOOK_SECONDS).done:
        grown = _bytes_in(folder) - held
        if grown >= STALL_BYTES:
            held, since = held + grown, time.monotonic()
        elif time.monotonic() - since >= STALL_SECONDS:
            raise OSError(f"it stalled: {max(0, grown)} bytes in {STALL_SECONDS:g} s")
    return outcome.result()


def within(work: Callable[[], ResultT], num_bytes: int) -> ResultT:
    """Wait for an upload by a library as long as one of `SLOWEST_UPLOAD` takes.

    Its client waits for ever for a server that is silent, and does not tell how far it is.

    Args:
        work: The upload.
        num_bytes: The bytes that it sends.

    Raises:
        OSError: it is not done in `STALL_SECONDS` and the time for its bytes.
    """
    seconds = STALL_SECONDS + num_bytes / SLOWEST_UPLOAD
    outcome = _begun(work)
    if not wait([outcome], timeout=seconds).done:
        raise OSError(f"it stalled: not done in {seconds:.3g} s")
    return outcome.result()


def _begun(work: Callable[[], ResultT]) -> Future[ResultT]:
    """Work in a thread that ends with the process at the latest."""
    outcome: Future[ResultT] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome


def _bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder, while others write and move them."""
    total = 0
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except OSError:
            continue  # moved to its place
        total += status.st_size
    return total
