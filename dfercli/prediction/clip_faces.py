"""The face crops of clips, wherever they are: in a face store, or held in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_parts import read_landmarks, read_parsing, stream_place
from dfercli.artifacts.face_store import ClipRow, TrackData, frame_paths, read_track
from dfercli.artifacts.pictures import decode_picture
from dfercli.errors import DataError
from dfercli.preprocessing.held_crops import HeldCrops

if TYPE_CHECKING:
    from torch import Tensor

Stored = NDArray[np.float32] | list[NDArray[np.uint8]] | None


class ClipCrops(Protocol):
    """The crops of one clip.

    Attributes:
        track: Its boxes in all frames.
        rows: (m,) int64, the rows of the track that have crops, in order.
    """

    track: TrackData
    rows: NDArray[np.int64]

    def read(self, rows: Sequence[int]) -> "Tensor":
        """The crops of these rows of the track, (N, 3, H, W) uint8 RGB.

        Raises:
            DataError: one cannot be read.
        """

    def picture(self, row: int) -> NDArray[np.uint8]:
        """The crop of one row, (H, W, 3) uint8 RGB.

        Raises:
            DataError: it cannot be read.
        """

    def stored(self, stream: str, rows: Sequence[int]) -> Stored:
        """The landmarks or maps that lie beside the crops of these rows; None if there are none.

        Raises:
            ArtifactError: landmarks that cannot be read.
            DataError: maps that cannot be read, or that do not fit.
        """


class ClipFaces(Protocol):
    """The faces of the clips of one source."""

    def track(self, clip: ClipRow) -> TrackData:
        """The boxes of a clip.

        Raises:
            ArtifactError: they cannot be read.
        """

    def crops(self, clip: ClipRow) -> ClipCrops:
        """The crops of a clip.

        Raises:
            ArtifactError: its boxes cannot be read.
            DataError: crops are missing.
        """

    def release(self) -> None:
        """Free the faces, which are no longer needed."""


class StoredFaces:
    """Faces in a face store.

    Args:
        store: The folder.
    """

    def __init__(self, store: Path) -> None:
        self._store = store

    def track(self, clip: ClipRow) -> TrackData:
        """The boxes of a clip."""
        return read_track(self._store, clip.clip_id)

    def crops(self, clip: ClipRow) -> "ClipCrops":
        """The crops of a clip."""
        track = self.track(clip)
        paths = frame_paths(self._store, clip)
        if len(track.frame_index) != clip.num_frames:
            raise DataError(f"clip {clip.clip_id}: its track has another number of frames")
        return _StoredCrops(track, paths, self._store, clip.clip_id)

    def release(self) -> None:
        """Do nothing: a store keeps its faces."""


class _StoredCrops:
    def __init__(self, track: TrackData, paths: list[Path], store: Path, clip_id: str) -> None:
        self.track = track
        self._store = store
        self._clip_id = clip_id
        self.rows = np.arange(len(paths), dtype=np.int64)
        self._paths = paths

    def read(self, rows: Sequence[int]) -> "Tensor":
        from dfercli.data.loading import read_frames  # imports torch

        return read_frames([self._paths[row] for row in rows])

    def picture(self, row: int) -> NDArray[np.uint8]:
        from dfercli.data.loading import read_frame

        return read_frame(self._paths[row])

    def stored(self, stream: str, rows: Sequence[int]) -> Stored:
        place = stream_place(self._store, stream, self._clip_id)
        if not place.exists():
            return None
        if stream != "landmarks":
            return [read_parsing(place / f"{self._paths[row].stem}.png") for row in rows]
        points = read_landmarks(self._store, self._clip_id)
        if len(points) != len(self._paths):
            raise DataError(f"{place} is of {len(points)} crops, there are {len(self._paths)}")
        return points[list(rows)]


class FacesInMemory:
    """Faces that were just found, with only the crops that windows may look at.

    Args:
        clips: `clip_id` -> number of the track in `crops`, and its data.
        crops: The crops.
    """

    def __init__(self, clips: Mapping[str, tuple[int, TrackData]], crops: HeldCrops) -> None:
        self._clips = dict(clips)
        self._crops = crops

    def track(self, clip: ClipRow) -> TrackData:
        """The boxes of a clip."""
        return self._clips[clip.clip_id][1]

    def crops(self, clip: ClipRow) -> ClipCrops:
        """The crops of a clip."""
        number, track = self._clips[clip.clip_id]
        return _CropsInMemory(track, number, self._crops)

    def release(self) -> None:
        """Free the memory."""
        self._clips.clear()
        self._crops.release()


class _CropsInMemory:
    def __init__(self, track: TrackData, number: int, crops: HeldCrops) -> None:
        self.track = track
        frames = np.array(crops.frames_of(number), np.int64)
        self.rows = np.flatnonzero(np.isin(track.frame_index, frames)).astype(np.int64)
        self._number = number
        self._crops = crops

    def read(self, rows: Sequence[int]) -> "Tensor":
        import torch

        stacked = np.stack([self.picture(row) for row in rows])  # (N, H, W, 3)
        return torch.from_numpy(stacked).permute(0, 3, 1, 2)

    def picture(self, row: int) -> NDArray[np.uint8]:
        frame_index = int(self.track.frame_index[row])
        jpeg = self._crops.jpeg(self._number, frame_index)
        image = decode_picture(jpeg, Path(f"frame {frame_index}"), cv2.IMREAD_COLOR_RGB)
        assert image is not None  # this program encoded it
        return image

    def stored(self, stream: str, rows: Sequence[int]) -> Stored:
        return None
