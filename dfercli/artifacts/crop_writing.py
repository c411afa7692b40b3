"""Writes the crops and the track of a clip into a face store."""

import io
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np

from dfercli.artifacts.atomic import TEMPORARY_MARK, unwritable, write_bytes
from dfercli.artifacts.face_store import TrackData, crops_folder, track_path
from dfercli.artifacts.removing import remove_inside

MOST_WRITES = 64  # crops that wait to be written
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time makes equal tracks equal files


class CropSink:
    """Takes the face crops of one source and keeps those of the tracks that count.

    A thread writes the crops, as a new file may take longer than the crop in it; an error of the
    system is raised by a later call.

    Attributes:
        folder: Holds a folder for each track, by its number.
    """

    def __init__(self, store: Path, folder: Path, writer: Executor) -> None:
        self._store = store
        self.folder = folder
        self._writer = writer
        self._writes: deque[Future[int]] = deque()
        self._folders: dict[int, Path] = {}

    def add(self, track: int, frame_index: int, jpeg: bytes) -> None:
        """Store one crop."""
        if track not in self._folders:
            self._folders[track] = self.folder / str(track)
            self._folders[track].mkdir()
        path = self._folders[track] / f"{frame_index:06d}.jpg"
        self._writes.append(self._writer.submit(path.write_bytes, jpeg))
        self._wait(MOST_WRITES)

    def end(self) -> None:
        """Wait until all crops are written."""
        self._wait(0)

    def _wait(self, most: int) -> None:
        while len(self._writes) > most:
            self._writes.popleft().result()

    def join(self, track: int, into: int) -> None:
        """Put the crops of a track to those of another one, which shares no frame with it."""
        self.end()
        source, target = self.folder / str(track), self.folder / str(into)
        for crop in source.iterdir():
            crop.rename(target / crop.name)
        source.rmdir()

    def keep(self, track: int, clip_id: str, data: TrackData) -> None:
        """Make a track the clip `clip_id`, and replace an existing one."""
        self.end()
        write_track(self._store, clip_id, data)
        remove_inside(self._store, "frames", clip_id)
        (self.folder / str(track)).rename(crops_folder(self._store, clip_id))


def keep_joined(store: Path, clip_id: str, data: TrackData, folders: Sequence[Path]) -> None:
    """Make the clip `clip_id` from crops in several folders of sinks.

    Raises:
        ArtifactError: the system refused a write.
    """
    try:
        there = [folder for folder in folders if folder.is_dir()]
        for folder in there[1:]:
            for path in folder.iterdir():
                path.rename(there[0] / path.name)
        write_track(store, clip_id, data)
        remove_inside(store, "frames", clip_id)
        there[0].rename(crops_folder(store, clip_id))
    except OSError as error:
        raise unwritable(store / "frames", error) from error


@contextmanager
def crop_sink(store: Path, key: str, *, stays: bool = False) -> Iterator[CropSink]:
    """Open a sink for the crops of one source; crops that were not kept are removed at the end.

    Args:
        store: The folder.
        key: Of the source.
        stays: Leave crops that were not kept, if nothing fails: `keep_joined` takes them.

    Raises:
        ArtifactError: the system refused a write.
    """
    frames = store / "frames"
    folder: Path | None = None
    try:
        frames.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=frames, prefix=f".{key}{TEMPORARY_MARK}"))
        with ThreadPoolExecutor(1) as writer:
            sink = CropSink(store, folder, writer)
            yield sink
            sink.end()
        if stays:
            folder = None
    except OSError as error:
        raise unwritable(frames, error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def write_track(store: Path, clip_id: str, data: TrackData) -> None:
    """Write `tracks/<clip_id>.npz`; equal data gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for field in fields(data):
            values = getattr(data, field.name)
            if values is not None:
                array = io.BytesIO()
                np.save(array, values, allow_pickle=False)
                name = zipfile.ZipInfo(f"{field.name}.npy", ZIP_EPOCH)
                name.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(name, array.getvalue())
    write_bytes(track_path(store, clip_id), buffer.getvalue())
