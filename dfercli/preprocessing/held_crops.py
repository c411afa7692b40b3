"""The crops of many sources on their way to the model: in memory, up to a bound.

Crops beyond the bound go to a file without a name, which disappears with the process.
"""

import tempfile
import threading
from collections.abc import Iterable, Mapping
from typing import IO, NamedTuple

from dfercli.errors import UnwritableError
from dfercli.preprocessing.crop_sinks import HeldCrop

HELD_BYTES = 32 * 1024**2


class CropMemory:
    """Counts the bytes that the crops of all sources take in memory; safe with several threads."""

    def __init__(self, max_bytes: int = HELD_BYTES) -> None:
        self._free = max_bytes
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> bool:
        """Take this many bytes, if they are free."""
        with self._lock:
            if num_bytes > self._free:
                return False
            self._free -= num_bytes
            return True

    def give_back(self, num_bytes: int) -> None:
        """Free these bytes for others."""
        with self._lock:
            self._free += num_bytes


class HeldCrops:
    """The crops of one source, by the number of their track and frame.

    Args:
        memory: Shared with the other sources.
    """

    def __init__(self, memory: CropMemory) -> None:
        self._memory = memory
        self._crops: dict[int, dict[int, bytes | _Place]] = {}
        self._file: IO[bytes] | None = None
        self._size = 0

    def add(self, crops: Iterable[HeldCrop]) -> None:
        """Store crops; an existing one stays as it is.

        Raises:
            ArtifactError: the system refuses to write crops beyond the bound.
        """
        for track, frame_index, jpeg in crops:
            of_track = self._crops.setdefault(track, {})
            if frame_index in of_track:
                continue
            fits = self._memory.take(len(jpeg))
            of_track[frame_index] = jpeg if fits else self._write(jpeg)

    def _write(self, jpeg: bytes) -> "_Place":
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="dfer-crops-")  # noqa: SIM115
            self._file.seek(self._size)
            self._file.write(jpeg)
        except OSError as error:
            reason = error.strerror or error
            raise UnwritableError(f"cannot write to {tempfile.gettempdir()}: {reason}") from error
        place = _Place(self._size, len(jpeg))
        self._size += len(jpeg)
        return place

    def join(self, track: int, into: int) -> None:
        """Put the crops of a track to those of another one, which shares no frame with it."""
        self._crops.setdefault(into, {}).update(self._crops.pop(track, {}))

    def frames_of(self, track: int) -> list[int]:
        """The frames of which a track has a crop, in order."""
        return sorted(self._crops.get(track, ()))

    def jpeg(self, track: int, frame_index: int) -> bytes:
        """One crop.

        Raises:
            KeyError: there is none.
        """
        crop = self._crops[track][frame_index]
        if isinstance(crop, bytes):
            return crop
        assert self._file is not None
        self._file.seek(crop.start)
        return self._file.read(crop.length)

    def rename(self, numbers: Mapping[int, int]) -> None:
        """Renumber tracks; several may get one number, and tracks without one are forgotten."""
        before, self._crops = self._crops, {}
        for track, crops in before.items():
            if track in numbers:
                self._crops.setdefault(numbers[track], {}).update(crops)
            else:
                self._give_back(crops.values())

    def _give_back(self, crops: "Iterable[bytes | _Place]") -> None:
        self._memory.give_back(sum(len(crop) for crop in crops if isinstance(crop, bytes)))

    def release(self) -> None:
        """Forget all crops."""
        for crops in self._crops.values():
            self._give_back(crops.values())
        self._crops.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


class _Place(NamedTuple):
    """Where a crop begins in the file, and its bytes."""

    start: int
    length: int
