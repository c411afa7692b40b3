"""One source: decode it, follow its faces, cut their crops, choose its clips."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from dfercli.artifacts.face_store import ClipRow, FailureRow, GapRow, TrackData
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.errors import ChangedError, DataError, TooLargeError
from dfercli.faces.detect import Detector
from dfercli.faces.follow import FaceFollower
from dfercli.preprocessing.crop_sinks import Sink
from dfercli.preprocessing.crops import follow_settings
from dfercli.preprocessing.gaps import doubtful, gaps, left_out
from dfercli.preprocessing.growing_tracks import (
    GrowingTrack,
    choose_tracks,
    faces_by_frame,
    why_no_clip,
)
from dfercli.preprocessing.source_jobs import SourceJob, record_of
from dfercli.preprocessing.sources import open_source
from dfercli.preprocessing.waiting import Waiting
from dfercli.preprocessing.worker_pool import Report
from dfercli.video.cuts import CutFinder
from dfercli.video.frames import UNKNOWN_FPS, Frame, num_bytes
from dfercli.video.prefetch import prefetched
from dfercli.video.sources import SourceState, source_state

# How far decoding and detecting run ahead, in frames and in bytes, whichever is less.
DECODE_AHEAD, DECODE_BYTES = 4, 64 * 1024**2
DETECT_AHEAD, DETECT_BYTES = 8, 32 * 1024**2
# Of pictures that wait until their crops can be cut; times the detector's batch, up to a bound.
WAITING_BYTES = 160 * 1024**2
MOST_BATCHED = 4
NO_IMAGE = np.zeros((0, 0, 3), np.uint8)

OpenSink = Callable[[], AbstractContextManager[Sink]]


def find_clips(
    job: SourceJob,
    config: PreprocessConfig,
    detector: Detector,
    report: Report,
    open_sink: OpenSink,
) -> SourceRecord:
    """Follow the faces of one source, and make clips of those that count.

    Faults of the source go into the record as a failure or as warnings.

    Args:
        job: The source.
        config: Settings.
        detector: Finds the faces.
        report: Told of the frames and face crops done.
        open_sink: Opens what takes the crops; once more where the source is read twice.
    """
    before = source_state(job.source.path)
    try:
        _refuse_name(str(job.source.path))
        return _make_clips(job, config, detector, report, before, open_sink)
    except DataError as error:
        reason = error.message.removeprefix(f"{job.source.path}: ")
        reason = reason.replace(f"{job.source.path}{os.sep}", "")
        failure = FailureRow(job.name_in_store, _stage(error), reason)
        return record_of(job, failure=failure, signature=before.signature)


def _stage(error: DataError) -> str:
    if isinstance(error, ChangedError):
        return "changed"
    return "size" if isinstance(error, TooLargeError) else "decode"


def _refuse_name(name: str) -> None:
    """Refuse a name that is not UTF-8, which neither decoders nor JSON can represent."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError("its name is not valid UTF-8: rename it") from error


@dataclass(frozen=True)
class _Followed:
    """The faces of a source.

    Attributes:
        tracks: The faces by number of their track.
        num_frames: How many frames were kept.
        interval: Mean seconds between them, 0 where there is one.
        largest_face_px: The longer side of the largest face, whether kept or not.
        fps: Of the source.
        warnings: What went wrong while reading.
        follower: Knows of all faces, kept or not.
        span_seconds: Of the first and of the last frame.
    """

    tracks: dict[int, GrowingTrack]
    num_frames: int
    interval: float
    largest_face_px: float
    fps: float
    warnings: tuple[str, ...]
    follower: FaceFollower[Frame]
    span_seconds: tuple[float, float]


def _make_clips(
    job: SourceJob,
    config: PreprocessConfig,
    detector: Detector,
    report: Report,
    before: SourceState,
    open_sink: OpenSink,
) -> SourceRecord:
    """Follow faces and cut their crops, in one pass where the pictures between fit into memory.

    A crop is cut once it is known where the face is in the frames that follow, so pictures wait.
    Where they are too large, or too many, faces are followed without them first; the source is
    decoded again to cut the crops. Both ways give the same crops.
    """
    with open_sink() as sink:
        followed = _follow(job, config, detector, report, sink)
        if followed is not None:
            before.require_same()
            return _record_clips(job, config, followed, detector.name, sink, before)
    with open_sink() as sink:
        followed = _follow(job, config, detector, report, None)
        assert followed is not None
        chosen = choose_tracks(followed.tracks, config, followed.interval, followed.num_frames)
        _cut_crops(job, config, {track: followed.tracks[track] for track in chosen}, report, sink)
        before.require_same()
        return _record_clips(job, config, followed, detector.name, sink, before)


def _follow(
    job: SourceJob,
    config: PreprocessConfig,
    detector: Detector,
    report: Report,
    sink: Sink | None,
) -> _Followed | None:
    """Follow the faces of a source.

    Args:
        job: The source.
        config: Settings.
        detector: Finds the faces.
        report: Called with frames and crops done.
        sink: Where crops go; None to cut none, so that no picture is kept.

    Returns:
        What was seen; None where pictures that wait for their crops take too much memory.

    Raises:
        DataError: the source cannot be used.
    """
    # At a low frame rate, faces are also followed through the frames between, without crops.
    reader = open_source(job.source, config, lambda: report(0, 0), config.detect_every)
    settings = follow_settings(config)
    follower = FaceFollower[Frame](detector, settings)
    waiting = None
    if sink is not None:
        max_bytes = WAITING_BYTES * min(MOST_BATCHED, detector.batch_size)
        seconds = settings.detect_seconds + settings.smooth_seconds
        waiting = Waiting(max_bytes, round(seconds * (reader.fps or UNKNOWN_FPS)))
    tracks: dict[int, GrowingTrack] = {}
    num_frames, first_seconds, last_seconds = 0, 0.0, 0.0
    # Decoding, detecting and cropping overlap: the first two run in threads of their own.
    frames = _with_cuts(prefetched(reader, DECODE_AHEAD, DECODE_BYTES, num_bytes), waiting)
    detected = follower.detect(frames, None if sink is not None else _without_image)
    steps = prefetched(detected, DETECT_AHEAD, DETECT_BYTES, lambda step: num_bytes(step.frame))
    for frame, faces in follower.link(steps):
        if waiting is not None:
            waiting.goes(frame.image)
            if waiting.is_too_much:
                continue
        num_crops = 0
        if frame.wanted:
            first_seconds = frame.pts_seconds if num_frames == 0 else first_seconds
            last_seconds = frame.pts_seconds
            num_frames += 1
            for face in faces:
                tracks.setdefault(face.track, GrowingTrack()).add(frame, face)
            if sink is not None:
                num_crops = sink.take(frame, faces)
        report(int(frame.wanted), num_crops)
        del frame  # else it stays in memory until the next one arrives
    if waiting is not None and waiting.is_too_much:
        return None
    if sink is not None:
        sink.end()
    return _Followed(
        tracks,
        num_frames,
        (last_seconds - first_seconds) / (num_frames - 1) if num_frames > 1 else 0.0,
        follower.largest_face_px,
        reader.fps,
        tuple(reader.warnings),
        follower,
        (first_seconds, last_seconds),
    )


def _record_clips(
    job: SourceJob,
    config: PreprocessConfig,
    followed: _Followed,
    detector: str,
    sink: Sink,
    before: SourceState,
) -> SourceRecord:
    """Make clips of the tracks that count, whose crops are in the sink."""
    tracks, num_frames = followed.tracks, followed.num_frames
    chosen = choose_tracks(tracks, config, followed.interval, num_frames)
    clips = tuple(
        _keep(sink, number, track, tracks[track].data(), job, followed.fps, detector)
        for number, track in enumerate(chosen)
    )
    failure = None
    if not clips:
        reason = why_no_clip(
            tracks, config, followed.interval, num_frames, followed.largest_face_px
        )
        failure = FailureRow(job.name_in_store, "faces", reason)
    return record_of(
        job,
        num_frames=num_frames,
        clips=clips,
        failure=failure,
        warnings=followed.warnings,
        signature=before.signature,
        gaps=tuple(_gaps(followed, chosen, config)),
        remarks=(
            *left_out(followed.follower.sides_px, chosen, config, num_frames, followed.interval),
            *doubtful(followed.follower.doubts, chosen),
        ),
    )


def _gaps(followed: _Followed, chosen: list[int], config: PreprocessConfig) -> list[GapRow]:
    follower = followed.follower
    return gaps(
        followed.tracks,
        chosen,
        follower.absences,
        follower.unnamed_seconds,
        followed.span_seconds,
        followed.interval,
        config.min_face,
    )


def _cut_crops(
    job: SourceJob,
    config: PreprocessConfig,
    tracks: dict[int, GrowingTrack],
    report: Report,
    sink: Sink,
) -> None:
    """Decode the frames of these tracks again, and cut their crops.

    Raises:
        DataError: they no longer exist.
    """
    if not tracks:
        return
    rows = {number: sink.rows(track) for number, track in tracks.items()}
    indices = frozenset(
        index
        for number, track in tracks.items()
        for index, has_crop in zip(track.frame_index, rows[number].tolist(), strict=True)
        if has_crop
    )
    reader = open_source(job.source, config, lambda: report(0, 0), indices=indices)
    faces = faces_by_frame(tracks, rows)
    following = next(faces, None)
    for frame in prefetched(reader, DECODE_AHEAD, DECODE_BYTES, num_bytes):
        while following is not None and following[0] == frame.index:
            sink.take_one(frame, following[1])
            report(0, 1)
            following = next(faces, None)
        del frame  # else it stays in memory until the next one arrives
    if following is not None:
        raise ChangedError("it changed while it was read")
    sink.end()


def _without_image(frame: Frame) -> Frame:
    return replace(frame, image=NO_IMAGE)


def _with_cuts(frames: Iterator[Frame], waiting: Waiting | None) -> Iterator[tuple[Frame, bool]]:
    """Each frame with whether it begins a scene, as long as there is room for those that wait."""
    finder = CutFinder()
    for frame in frames:
        if waiting is not None and not waiting.comes(frame.image):
            return
        yield frame, finder.is_cut(frame.image)
        del frame  # else it stays in memory until the next one is decoded


def _keep(
    sink: Sink,
    number: int,
    track: int,
    data: TrackData,
    job: SourceJob,
    fps: float,
    detector: str,
) -> ClipRow:
    clip_id = f"{job.key}-{number}"
    sink.keep(track, clip_id, data)
    return ClipRow(
        clip_id=clip_id,
        source=job.name_in_store,
        track=number,
        label=job.label,
        subject=job.subject,
        num_frames=len(data.frame_index),
        fps=fps,
        start_seconds=round(float(data.pts_seconds[0]), 6),
        end_seconds=round(float(data.pts_seconds[-1]), 6),
        detector=detector,
        groups=job.groups,
        soft_label=job.soft_label,
    )
