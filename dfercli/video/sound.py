"""The sound of an annotated video: copied if MP4 certainly takes it, else re-encoded as AAC."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.resampler import AudioResampler

from dfercli.errors import DataError
from dfercli.video.containers import open_container

CODEC = "aac"
COPIED = ("aac", "mp3")  # what browsers play in MP4
GAP_SECONDS = 0.1  # anything less is the coarseness of a container's times
REFUSED = (av.error.FFmpegError, ValueError)  # PyAV raises both for sound that it cannot take


def open_sound(
    target: Any,
    source: Path,
    *,
    from_seconds: float,
    stack: ExitStack,
    note: Callable[[str], None],
) -> "Sound | None":
    """The sound of a video, ready to be written; None if there is none or it cannot be written.

    Args:
        target: The open MP4 container to write to.
        source: The video.
        from_seconds: Time of the first written frame, from the start of the source's video.
        stack: Closes the source.
        note: Called with one line if there is sound that cannot be kept.
    """
    try:
        opened = stack.enter_context(open_container(source))
    except DataError:
        return None
    if not opened.streams.audio or not opened.streams.video:
        return None
    sound, video = opened.streams.audio[0], opened.streams.video[0]
    # Times count from the first frame, which in some containers comes late.
    from_seconds += float((video.start_time or 0) * (video.time_base or 0))
    context: Any = sound.codec_context  # None if there is no decoder
    if context is None:
        note(f"{source}: its sound cannot be kept: there is no decoder for it")
        return None
    # Packets of other containers are often timed or framed in ways that MP4 refuses midway.
    is_mp4 = "mp4" in opened.format.name.split(",")
    if is_mp4 and context.codec.canonical_name in COPIED:

        def copied(container: Any) -> Any:
            return container.add_stream_from_template(sound)

        if _takes(copied):
            return Sound(target, copied(target), opened.demux(sound), from_seconds, note)
    rate = _nearest_rate(context.sample_rate)

    def encoded(container: Any) -> Any:
        return container.add_stream(CODEC, rate=rate, layout="stereo")

    if rate is None or not _takes(encoded):
        note(f"{source}: its sound cannot be kept: the annotated video is silent")
        return None
    resampler = AudioResampler("fltp", "stereo", rate)
    return Sound(target, encoded(target), opened.demux(sound), from_seconds, note, resampler)


def _nearest_rate(rate: int) -> int | None:
    """The sample rate of AAC that is nearest to `rate`; None if the source has no rate."""
    rates = av.Codec(CODEC, "w").audio_rates or [rate]
    return min(rates, key=lambda other: abs(other - rate)) if rate > 0 else None


def _takes(add_stream: Callable[[Any], Any]) -> bool:
    """Try a stream on a throw-away MP4, since it cannot be removed from a real one."""
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as trial:
            add_stream(trial)
            trial.start_encoding()
    except REFUSED:
        return False
    return True


class Sound:
    """Sound that is interleaved with the frames as they are written.

    Packets that cannot be decoded are left out, as players do. Where the rest cannot be written
    there is no more sound, and a note says so.

    Args:
        target: The container to write to.
        stream: Its stream of sound.
        packets: Of the source's sound.
        offset_seconds: The source's time of the first written frame.
        note: Called with one line if the sound ends too early.
        resampler: For re-encoding; None if packets are copied.
    """

    def __init__(
        self,
        target: Any,
        stream: Any,
        packets: Iterator[Any],
        offset_seconds: float,
        note: Callable[[str], None],
        resampler: AudioResampler | None = None,
    ) -> None:
        self._target = target
        self._stream = stream
        self._packets = packets
        self._offset_seconds = offset_seconds
        self._note = note
        self._resampler = resampler
        self._samples = 0
        self._waiting: Any = None

    def write_until(self, seconds: float) -> None:
        """Write the sound until `seconds` after the first frame."""
        try:
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
        except REFUSED as error:
            self._give_up(seconds, error)

    def _write(self, packet: Any) -> None:
        if self._resampler is None:
            packet.pts -= round(self._offset_seconds / packet.time_base)
            packet.dts = packet.pts
            packet.stream = self._stream
            self._target.mux(packet)
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            return
        for frame in frames:
            self._time(frame)
            for part in self._resampler.resample(frame):
                self._target.mux(self._stream.encode(part))

    def _time(self, frame: Any) -> None:
        """Time a frame by the samples before it: some containers' times are coarser than frames.

        Gaps in the source's sound stay gaps.
        """
        own = self._samples
        if frame.pts is not None:
            seconds = float(frame.pts * frame.time_base) - self._offset_seconds
            told = round(seconds * frame.sample_rate)
            if told - own > GAP_SECONDS * frame.sample_rate:
                own = told
        frame.time_base, frame.pts = Fraction(1, frame.sample_rate), own
        self._samples = own + frame.samples

    def _give_up(self, seconds: float, error: Exception) -> None:
        self._packets, self._waiting, self._resampler = iter(()), None, None
        reason = getattr(error, "strerror", None) or error
        self._note(f"{self._target.name}: its sound ends at {seconds:.1f} s ({reason})")

    def close(self, seconds: float) -> None:
        """Write the sound until `seconds`, and flush the encoder."""
        self.write_until(seconds)
        if self._resampler is not None:
            try:
                for part in self._resampler.resample(None):
                    self._target.mux(self._stream.encode(part))
                self._target.mux(self._stream.encode())
            except REFUSED as error:
                self._give_up(seconds, error)
