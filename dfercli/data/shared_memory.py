"""Tensors from process to process where shared memory is small, as it is in containers (64 MB).

PyTorch puts every tensor that a reading process hands over into /dev/shm. Where that is full, its
reader is killed while it writes, or the tensor is lost without a word and the training waits for
it for ever. The same comes of a TMPDIR whose name is too long for the socket that hands over the
file. So what does not clearly fit goes through the pipe, which costs a copy.
"""

import os
import tempfile
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from multiprocessing.synchronize import Event
from typing import Any

import torch
from torch.multiprocessing.reductions import reduce_storage

SHARED_MEMORY = "/dev/shm"
LONGEST_TMPDIR = 70  # a socket's path may have 107 bytes, and multiprocessing adds a name
MARGIN = 2  # other processes take from the same memory


def free_shared_bytes() -> int:
    """What is left of the shared memory, 0 where there is none."""
    try:
        state = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize


def share_what_fits(readers: int, too_small: Event) -> None:
    """Let tensors of this reading process go through shared memory only where they fit into it.

    Args:
        readers: How many processes share it, each of which may be just about to take as much.
        too_small: Set as soon as a tensor does not.
    """

    def reduce(storage: torch.UntypedStorage) -> tuple[Any, ...]:
        if MARGIN * readers * storage.nbytes() <= free_shared_bytes():
            try:
                return reduce_storage(storage)  # type: ignore[no-any-return]
            except (RuntimeError, OSError):
                pass  # another process took it meanwhile, or no socket can be made in TMPDIR
        too_small.set()
        content = torch.empty(0, dtype=torch.uint8).set_(storage).numpy().tobytes()
        return _storage_of, (content,)

    ForkingPickler.register(torch.UntypedStorage, reduce)


def _storage_of(content: bytes) -> torch.UntypedStorage:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).untyped_storage()


def note_once(too_small: Event, note: Callable[[str], None]) -> Callable[[], None]:
    """A function that says once, when `too_small` is set, what that means and what helps."""
    told = False

    def look() -> None:
        nonlocal told
        if told or not too_small.is_set():
            return
        told = True
        if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TMPDIR:
            note(
                "the name of the temporary folder is too long for sockets, so clips go through "
                "pipes, which is slower: set TMPDIR to a shorter one"
            )
            return
        note(
            f"shared memory is small ({SHARED_MEMORY}: {_size()}), so clips go through pipes, "
            "which is slower: `docker run --shm-size 2g` gives more, --workers 0 needs none"
        )

    return look


def _size() -> str:
    try:
        state = os.statvfs(SHARED_MEMORY)
    except OSError as error:
        return error.strerror or "no size"
    free, size = free_shared_bytes() >> 20, (state.f_blocks * state.f_frsize) >> 20
    return f"{free} of {size} MB free"
