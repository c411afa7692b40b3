"""Write timed frames as H.264 MP4 with the sound of the video they came from."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.audio.resampler import AudioResampler

from dfercli.artifacts.atomic import atomic_path
from dfercli.errors import ArtifactError, DataError
from dfercli.video.containers import mark_as_own, open_container
from dfercli.video.frames import Frame

TIME_BASE = Fraction(1, 90000)  # fine enough for every frame rate in use
AUDIO_CODEC = "aac"
COPIED_AUDIO = ("aac", "mp3")  # what browsers play in MP4; other sound is encoded anew
STILL_SECONDS = 1 / 25


def write_annotated(
    path: Path, frames: Iterable[Frame], *, sound_of: Path | None, crf: int = 20
) -> int:
    """Write frames at their own presentation times, whole or not at all.

    The video begins with its first frame. An odd width or height is padded by one repeated pixel,
    as 4:2:0 chroma needs even sides. Frames are consumed one at a time.

    Args:
        path: The file to write; its name ends in `.mp4`.
        frames: RGB, all of one size, with strictly increasing times.
        sound_of: A video whose sound is kept where it has any; None writes none.
        crf: x264 constant rate factor: 18 is visually lossless, 35 shows blocks.

    Returns:
        The number of frames written.

    Raises:
        DataError: no frame at all, or frames of different sizes.
        ArtifactError: the system or the encoder refused the write.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise DataError(f"cannot write {path}: there is no frame")
    with atomic_path(path) as temporary:
        try:
            return _write(temporary, path, first, stream, sound_of, crf)
        except av.error.FFmpegError as error:
            raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error


def _write(
    temporary: Path,
    path: Path,
    first: Frame,
    rest: Iterator[Frame],
    sound_of: Path | None,
    crf: int,
) -> int:
    height, width = first.image.shape[:2]
    with ExitStack() as stack:
        # The index goes to the front, so that browsers need not fetch the whole file to begin.
        options = {"movflags": "+faststart"}
        container = stack.enter_context(av.open(str(temporary), "w", format="mp4", options=options))
        mark_as_own(container)
        video = container.add_stream("libx264", options={"crf": str(crf), "preset": "veryfast"})
        video.width, video.height = width + width % 2, height + height % 2
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = TIME_BASE
        sound = None
        if sound_of is not None:
            sound = _open_sound(container, sound_of, first, stack)
        count, frame = 0, first
        while True:
            if frame.image.shape != first.image.shape:
                raise DataError(
                    f"cannot write {path}: frame {frame.index} is {frame.image.shape}, "
                    f"expected {first.image.shape}"
                )
            seconds = frame.pts_seconds - first.pts_seconds
            even = np.pad(frame.image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            picture.pts, picture.time_base = round(seconds / TIME_BASE), TIME_BASE
            container.mux(video.encode(picture))
            count += 1
            if sound is not None:
                sound.write_until(seconds)
            following = next(rest, None)
            if following is None:
                break
            frame = following
        container.mux(video.encode())
        if sound is not None:
            sound.write_until(seconds + STILL_SECONDS)
            sound.close()
    return count


def _open_sound(target: Any, source: Path, first: Frame, stack: ExitStack) -> "_Sound | None":
    """The sound of a video, ready to be written to `target`; None where it has none."""
    try:
        opened = stack.enter_context(open_container(source))
    except DataError:
        return None
    if not opened.streams.audio or not opened.streams.video:
        return None
    sound, video = opened.streams.audio[0], opened.streams.video[0]
    begin = float((video.start_time or 0) * (video.time_base or 0))
    offset_seconds = begin if first.index == 0 else first.pts_seconds
    packets = opened.demux(sound)
    if sound.codec_context.name in COPIED_AUDIO:
        return _Sound(target, target.add_stream_from_template(sound), packets, offset_seconds)
    encoder = target.add_stream(AUDIO_CODEC, rate=sound.codec_context.sample_rate)
    resampler = AudioResampler("fltp", "stereo", sound.codec_context.sample_rate)
    return _Sound(target, encoder, packets, offset_seconds, resampler)


class _Sound:
    """Sound that is written along with the frames, so that both stay interleaved.

    Args:
        target: The container to write to.
        stream: Its stream of sound.
        packets: Of the source's sound.
        offset_seconds: The source's time of the first frame that is written.
        resampler: Where the sound is encoded anew; None where packets are copied.
    """

    def __init__(
        self,
        target: Any,
        stream: Any,
        packets: Iterator[Any],
        offset_seconds: float,
        resampler: AudioResampler | None = None,
    ) -> None:
        self._target = target
        self._stream = stream
        self._packets = packets
        self._offset_seconds = offset_seconds
        self._resampler = resampler
        self._waiting: Any = None

    def write_until(self, seconds: float) -> None:
        """Write what is to be heard until `seconds` after the first frame."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            packet = self._waiting
            if packet is None:
                return
            if packet.pts is not None:
                at = float(packet.pts * packet.time_base) - self._offset_seconds
                if at > seconds:
                    return
                if at >= 0:
                    self._write(packet)
            self._waiting = None

    def _write(self, packet: Any) -> None:
        shift = round(self._offset_seconds / packet.time_base)
        if self._resampler is None:
            packet.pts -= shift
            packet.dts = packet.pts
            packet.stream = self._stream
            self._target.mux(packet)
            return
        for frame in packet.decode():
            if frame.pts is not None:
                frame.pts -= shift
            for part in self._resampler.resample(frame):
                self._target.mux(self._stream.encode(part))

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self._resampler is not None:
            self._target.mux(self._stream.encode())
