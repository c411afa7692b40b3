"""The sinks for the crops of a source: a face store, or a reader of windows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.crop_writing import CropSink
from dfercli.artifacts.face_store import TrackData
from dfercli.config import PreprocessConfig
from dfercli.faces.smooth import TrackedFace
from dfercli.preprocessing.crops import cut_crop
from dfercli.preprocessing.growing_tracks import GrowingTrack
from dfercli.preprocessing.time_grid import GAP_SECONDS, TimeGrid
from dfercli.video.frames import Frame

HANDED_BYTES = 1024**2  # crops are handed over in parts of about this size

HeldCrop = tuple[int, int, bytes]  # number of the track, of the frame, and the JPEG


class Sink(Protocol):
    """Takes the crops of one source, frame by frame."""

    def take(self, frame: Frame, faces: list[TrackedFace]) -> int:
        """Cut the wanted crops of the next frame; return how many."""

    def take_one(self, frame: Frame, face: TrackedFace) -> None:
        """Cut this crop."""

    def end(self) -> None:
        """End: there is no further frame."""

    def rows(self, track: GrowingTrack) -> NDArray[np.bool_]:
        """Which rows of a complete track have a crop (n,)."""

    def join(self, track: int, into: int) -> None:
        """Put the crops of a track to those of another one, which shares no frame with it."""

    def keep(self, track: int, clip_id: str, data: TrackData) -> None:
        """Make a track the clip `clip_id`."""


def encoded_crop(frame: Frame, face: TrackedFace, config: PreprocessConfig) -> bytes:
    """The crop of a face as a JPEG."""
    bgr = cv2.cvtColor(cut_crop(frame, face, config), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality])
    return jpeg.tobytes()


class StoreSink:
    """Writes all crops into a face store."""

    def __init__(self, sink: CropSink, config: PreprocessConfig) -> None:
        self._sink = sink
        self._config = config

    def take(self, frame: Frame, faces: list[TrackedFace]) -> int:
        """Cut the crops of all faces."""
        for face in faces:
            self.take_one(frame, face)
        return len(faces)

    def take_one(self, frame: Frame, face: TrackedFace) -> None:
        """Cut this crop."""
        self._sink.add(face.track, frame.index, encoded_crop(frame, face, self._config))

    def end(self) -> None:
        """Wait until all crops are written."""
        self._sink.end()

    def rows(self, track: GrowingTrack) -> NDArray[np.bool_]:
        """All of them."""
        return np.ones(len(track), np.bool_)

    def join(self, track: int, into: int) -> None:
        """Put the crops of a track to those of another one."""
        self._sink.join(track, into)

    def keep(self, track: int, clip_id: str, data: TrackData) -> None:
        """Make a track the clip `clip_id`."""
        self._sink.keep(track, clip_id, data)


@dataclass
class _Stretch:
    """A time in which a face is seen without a gap.

    Attributes:
        start_seconds: Its first frame.
        last_seconds: Its last frame so far.
        waiting: Crops of its first window; whether a point of the grid shows each.
    """

    start_seconds: float
    last_seconds: float
    waiting: list[tuple[HeldCrop, bool]] = field(default_factory=list)


class HeldSink:
    """Hands over the crops that windows may look at and keeps none.

    Windows look at the frames that grid points show, and at all frames if a face is seen for less
    than a window. So the crops of the first window of each stretch wait until that is decided.

    Args:
        config: How to crop.
        grid: The points.
        hand_over: Takes the crops.

    Attributes:
        clips: `clip_id` -> number of its track, and its data.
        joined: Track number -> the track that its crops belong to.
    """

    def __init__(
        self,
        config: PreprocessConfig,
        grid: TimeGrid,
        hand_over: Callable[[list[HeldCrop]], None],
    ) -> None:
        self._config = config
        self._grid = grid
        self._hand_over = hand_over
        self._before: tuple[Frame, list[TrackedFace]] | None = None
        self._stretches: dict[int, _Stretch] = {}
        self._ready: list[HeldCrop] = []
        self._ready_bytes = 0
        self.clips: dict[str, tuple[int, TrackData]] = {}
        self.joined: dict[int, int] = {}

    def take(self, frame: Frame, faces: list[TrackedFace]) -> int:
        """Cut the wanted crops of the previous frame, now that this one is known."""
        here = {face.track for face in faces}
        count = self._cut_before(frame.pts_seconds, here)
        self._before = (frame, faces)
        return count

    def take_one(self, frame: Frame, face: TrackedFace) -> None:
        """Cut this crop."""
        self._give((face.track, frame.index, encoded_crop(frame, face, self._config)))

    def end(self) -> None:
        """Hand over the remaining crops."""
        self._cut_before(float("inf"), set())
        self._before = None
        self._close_stretches(float("inf"))
        self._flush()

    def rows(self, track: GrowingTrack) -> NDArray[np.bool_]:
        """The rows that windows may look at."""
        return self._grid.looked_at(np.array(track.pts_seconds, np.float64))

    def join(self, track: int, into: int) -> None:
        """Remember that the crops of a track, handed over already, belong to another one."""
        self.joined[track] = into

    def keep(self, track: int, clip_id: str, data: TrackData) -> None:
        """Remember a track as the clip `clip_id`."""
        self.clips[clip_id] = (track, data)

    def _cut_before(self, next_seconds: float, next_tracks: set[int]) -> int:
        if self._before is None:
            return 0
        frame, faces = self._before
        now = frame.pts_seconds
        self._close_stretches(now)
        is_last = next_seconds == float("inf")
        on_grid = is_last or self._grid.is_shown(now, next_seconds)
        count = 0
        for face in faces:
            stretch = self._stretches.setdefault(face.track, _Stretch(now, now))
            stretch.last_seconds = now
            begins = now - stretch.start_seconds < self._grid.window
            if not begins:
                self._give_shown(stretch)
            is_shown = on_grid or face.track not in next_tracks
            if not begins and not is_shown:
                continue
            crop = (face.track, frame.index, encoded_crop(frame, face, self._config))
            count += 1
            if begins:
                stretch.waiting.append((crop, is_shown))
            else:
                self._give(crop)
        return count

    def _give_shown(self, stretch: _Stretch) -> None:
        """The stretch is as long as a window, so only some crops of its beginning count."""
        for crop, is_shown in stretch.waiting:
            if is_shown:
                self._give(crop)
        stretch.waiting.clear()

    def _close_stretches(self, now: float) -> None:
        """Hand over all crops of the stretches that ended shorter than a window."""
        ended = [
            track
            for track, stretch in self._stretches.items()
            if now - stretch.last_seconds > GAP_SECONDS
        ]
        for track in ended:
            for crop, _ in self._stretches.pop(track).waiting:
                self._give(crop)

    def _give(self, crop: HeldCrop) -> None:
        self._ready.append(crop)
        self._ready_bytes += len(crop[2])
        if self._ready_bytes >= HANDED_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._ready:
            self._hand_over(self._ready)
        self._ready, self._ready_bytes = [], 0
