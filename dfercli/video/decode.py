"""Decode a video as a stream of frames: with decord if that is correct, else with PyAV.

Memory does not grow with the length of the file. A damaged file yields the frames before the
damage; `VideoReader.warnings` says what happened.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.pictures import check_size
from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.documents import require_regular
from dfercli.errors import DataError
from dfercli.video.containers import (
    av_errors,
    av_reason,
    open_container,
    video_stream,
)
from dfercli.video.decord_file import DecordError, DecordFile, open_decord, silence_decord
from dfercli.video.frames import ALL_FRAMES, Clock, Frame, Picker, Selection
from dfercli.video.reorder import pictures_with_times
from dfercli.video.seek import Landing, decode_from, find_landing
from dfercli.video.stretches import Stretch

PLAUSIBLE_FPS = 480.0  # Matroska may claim its time base, such as 24000, as the rate
# decord 0.6 cannot rewind an MPEG transport stream after indexing it and silently starts late, so
# it gets only the containers whose index it reads right.
MATROSKA = "matroska,webm"
DECORD_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", MATROSKA)
# On a busy machine decord decodes ahead without bound, so it
# gets only files that would fit into memory as a whole.
DECORD_BYTES = 256 * 1024**2
DECORD_PIXELS = 1920 * 1200  # larger frames add up in its threads
# With more bits a channel it smooths colours differently from PyAV.
DECORD_BITS = 8
SHORT_OF_LENGTH = 0.9  # of the length that the file claims: less is worth a warning


def silence_decoders() -> None:
    """Keep FFmpeg's own messages off stderr, for the whole process (PyAV is silent by itself)."""
    silence_decord()


class VideoReader:
    """The selected frames of one video file, in order; iterate once.

    Args:
        path: The file.
        selection: Which frames.
        alive: Called for every frame that PyAV decodes, selected or not: a heartbeat while none is
            selected for long.
        max_pixels: Largest frame; the file's own claim is checked before decoding.
        stretch: Begin where this one does.

    Attributes:
        path: The file.
        fps: Frames per second, 0 if unknown; the file's claim until it was read to its end.
        warnings: Problems while reading, one line each.
        claimed_seconds: Length that the file claims, 0 if it does not say.

    Raises:
        TooLargeError: at construction, a file whose frames are larger.
        DataError: at construction, the file is not a readable video, with the reason; while
            iterating, not a single frame can be decoded.
    """

    def __init__(
        self,
        path: Path,
        selection: Selection = ALL_FRAMES,
        alive: Callable[[], None] | None = None,
        max_pixels: int = MAX_PIXELS,
        stretch: Stretch | None = None,
    ) -> None:
        self.path = path
        self._stretch = stretch
        self._max_pixels = max_pixels
        self._alive = alive or (lambda: None)
        self.warnings: list[str] = []
        self._selection = selection
        self._claims = _probe(path, max_pixels)
        self.fps = self._claims.fps
        self.claimed_seconds = self._claims.seconds
        whole = stretch is None
        self._decord = open_decord(path) if whole and self._claims.suit_decord else None
        self._taken = 0  # presented frames that decord has passed

    def __iter__(self) -> Iterator[Frame]:
        """Decode frame by frame."""
        if self._decord is None:
            yield from self._iterate_av(skip=0)
            return
        try:
            yield from self._iterate_decord(self._decord)
        except DecordError:  # PyAV continues from there, up to the damage itself
            yield from self._iterate_av(skip=self._taken)
        self._decord = None

    def _iterate_decord(self, reader: DecordFile) -> Iterator[Frame]:
        picker, clock = Picker(self._selection, self.fps), Clock(self.fps)
        pts_seconds = reader.pts_seconds
        self.fps = _rate(pts_seconds) or self.fps
        skipped = 0
        for index, seconds in enumerate(pts_seconds.tolist()):
            if picker.is_over(index, seconds):
                break
            wanted = picker.pick(index, seconds)
            if wanted is None:
                skipped += 1
                continue
            if skipped:
                reader.skip(skipped)
                skipped = 0
            image = reader.next()
            if image is None:
                self.warnings.append(f"ends after frame {index - 1}, before its claimed end")
                return
            self._taken = index + 1
            yield Frame(index, clock.next(seconds), image, wanted)
        else:
            self._compare_length(len(pts_seconds) - 1, float(pts_seconds[-1]))

    def _iterate_av(self, skip: int) -> Iterator[Frame]:
        """Decode with PyAV; the first `skip` frames were yielded already."""
        fps = self._claims.fps
        picker, clock = Picker(self._selection, fps), Clock(fps)
        landing = self._landing()
        index = -1 if landing is None else landing.index - 1
        pts_seconds = [] if landing is None else [landing.first_seconds]
        try:
            with open_container(self.path, max_pixels=self._max_pixels) as container:
                stream = video_stream(container, self.path, self._claims.stream, self._max_pixels)
                origin = float((stream.start_time or 0) * (stream.time_base or 0))
                decoded = container.decode(stream)
                if landing is not None:
                    decoded = decode_from(container, stream, landing)
                has_b_frames = bool(stream.codec_context.has_b_frames)
                for frame, time in pictures_with_times(
                    decoded, container.format.name, has_b_frames
                ):
                    index += 1
                    self._alive()
                    seconds = clock.next(None if time is None else time - origin)
                    pts_seconds = [*pts_seconds[:1], seconds]
                    if picker.is_over(index, seconds):
                        break
                    wanted = picker.pick(index, seconds)
                    if wanted is None or index < skip:
                        continue
                    image = [_upright(frame)]
                    del frame  # nothing here keeps a picture while another is decoded or looked at
                    yield Frame(index, seconds, image.pop(), wanted)
                else:
                    self._compare_length(index, seconds=pts_seconds[-1] if pts_seconds else 0.0)
        except av.error.FFmpegError as error:
            if index < 0:
                raise DataError(f"{self.path}: {av_reason(error)}") from error
            self.warnings.append(f"damaged after frame {index}: {av_reason(error)}")
        if index < 0:
            raise DataError(f"{self.path}: the video stream holds no frame")
        if clock.repaired:
            self.warnings.append(f"{clock.repaired} timestamps were missing or went backwards")
        if len(pts_seconds) == 2:
            span = pts_seconds[1] - pts_seconds[0]
            self.fps = round(index / span, 3) if span > 0 else self.fps

    def _landing(self) -> Landing | None:
        """Where decoding begins; None for the beginning of the file."""
        if self._stretch is not None:
            return self._stretch.landing
        return find_landing(
            self.path,
            self._claims.stream,
            self._selection.start_seconds,
            self._alive,
            self._max_pixels,
        )

    def _compare_length(self, index: int, seconds: float) -> None:
        claimed = self.claimed_seconds
        if index >= 0 and seconds + 1.0 < SHORT_OF_LENGTH * claimed:
            self.warnings.append(
                f"cut short: ends after frame {index} at {seconds:.1f} s of {claimed:.1f} s"
            )


@dataclass(frozen=True)
class _Claims:
    """Metadata of a file: container, its main video stream, rate, length (0: unknown).

    `stream` is a number among the video streams; `bits` are those of a channel, 0 if unknown.
    """

    container: str
    stream: int
    fps: float
    seconds: float
    width: int
    height: int
    bits: int

    @property
    def suit_decord(self) -> bool:
        """Whether decord reads such a file correctly and cannot run far ahead in it."""
        pixels = self.width * self.height
        num_bytes = self.seconds * (self.fps or PLAUSIBLE_FPS) * pixels * 3
        return (
            self.container in DECORD_CONTAINERS
            and pixels <= DECORD_PIXELS
            and self.bits == DECORD_BITS
            and 0 < num_bytes <= DECORD_BYTES
        )


def _probe(path: Path, max_pixels: int) -> _Claims:
    """Read the metadata of the file.

    Raises:
        TooLargeError: its frames are larger.
        DataError: not a video; with the reason.
    """
    try:
        require_regular(path)
        if path.stat().st_size == 0:
            raise DataError(f"{path}: empty file (0 bytes)")
        with av_errors(path), open_container(path, max_pixels=max_pixels) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise DataError(f"{path}: no video stream")
            number = next(i for i, one in enumerate(container.streams.video) if one is stream)
            video = video_stream(container, path, number, max_pixels)
            width, height = video.width, video.height
            if not width * height:  # formats that store the size in the pictures only, such as GIF
                width, height = _size_without_decoding(path, number)
            check_size(path, width, height, max_pixels)
            rates = [float(rate) for rate in (video.average_rate, video.guessed_rate) if rate]
            fps = next((round(rate, 3) for rate in rates if rate <= PLAUSIBLE_FPS), 0.0)
            seconds = (container.duration or 0) / av.time_base
            if container.format.name == MATROSKA:  # counts from time 0, wherever it begins
                seconds = max(0.0, seconds - max(0, container.start_time or 0) / av.time_base)
            pixel_format = video.codec_context.format
            channels = () if pixel_format is None else pixel_format.components
            bits = max((channel.bits for channel in channels), default=0)
            return _Claims(container.format.name, number, fps, seconds, width, height, bits)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _size_without_decoding(path: Path, number: int) -> tuple[int, int]:
    with open_container(path, looks_at_pictures=False) as container:
        stream = video_stream(container, path, number)
        return stream.width, stream.height


def _rate(pts_seconds: NDArray[np.float64]) -> float:
    span = float(pts_seconds[-1] - pts_seconds[0])
    return round((len(pts_seconds) - 1) / span, 3) if span > 0 else 0.0


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The picture as RGB, turned as the file's metadata asks (PyAV does not apply it)."""
    image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
