"""One source: decode it, follow its faces, cut their crops, choose its clips."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from dfercli.artifacts.face_store import ClipRow, FailureRow, GapRow, TrackData
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.errors import ChangedError, DataError, TooLargeError
from dfercli.faces.absence import Absence
from dfercli.faces.detect import Detector
from dfercli.faces.follow import FaceFollower
from dfercli.faces.identity import Portraits
from dfercli.faces.recogniser import FaceRecogniser
from dfercli.preprocessing.crop_sinks import Sink
from dfercli.preprocessing.crops import follow_settings
from dfercli.preprocessing.gaps import doubtful, gaps, left_out
from dfercli.preprocessing.growing_tracks import (
    GrowingTrack,
    choose_tracks,
    faces_by_frame,
    why_no_clip,
)
from dfercli.preprocessing.pieces import Pieces, find_pieces
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


@dataclass(frozen=True)
class Networks:
    """What looks at faces.

    Attributes:
        detector: Finds them.
        recogniser: Tells people apart; None does not.
    """

    detector: Detector
    recogniser: FaceRecogniser | None = None


OpenSink = Callable[[], AbstractContextManager[Sink]]


def find_clips(
    job: SourceJob,
    config: PreprocessConfig,
    networks: Networks,
    report: Report,
    open_sink: OpenSink,
) -> SourceRecord:
    """Follow the faces of one source, and make clips of those that count.

    Faults of the source go into the record as a failure or as warnings.

    Args:
        job: The source.
        config: Settings.
        networks: Find faces, and tell them apart.
        report: Told of the frames and face crops done.
        open_sink: Opens what takes the crops; once more where the source is read twice.
    """
    before = source_state(job.source.path)
    try:
        _refuse_name(str(job.source.path))
        return _make_clips(job, config, networks, report, before, open_sink)
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
        sides_px: Of every track, kept or not, the longer side of its boxes.
        absences: When and why faces were not seen.
        doubts: Track and time of each match that may be wrong.
        unnamed_seconds: Times of faces that belong to no track.
        span_seconds: Of the first and of the last frame.
    """

    tracks: dict[int, GrowingTrack]
    num_frames: int
    interval: float
    largest_face_px: float
    fps: float
    warnings: tuple[str, ...]
    sides_px: Mapping[int, Sequence[float]]
    absences: list[Absence]
    doubts: list[tuple[int, float]]
    unnamed_seconds: Sequence[float]
    span_seconds: tuple[float, float]


def _make_clips(
    job: SourceJob,
    config: PreprocessConfig,
    networks: Networks,
    report: Report,
    before: SourceState,
    open_sink: OpenSink,
) -> SourceRecord:
    """Follow faces and cut their crops, in one pass where the pictures between fit into memory.

    A crop is cut once it is known where the face is in the frames that follow, so pictures wait.
    Where they are too large, or too many, faces are followed without them first; the source is
    decoded again to cut the crops. Both ways give the same crops.
    """
    detector, recogniser = networks.detector, networks.recogniser
    with open_sink() as sink:
        portraits = None if recogniser is None else Portraits(recogniser)
        followed = _follow(job, config, detector, report, sink, portraits)
        if followed is not None:
            before.require_same()
            return _record_clips(job, config, followed, detector.name, sink, portraits, before)
    with open_sink() as sink:
        portraits = None if recogniser is None else Portraits(recogniser)
        followed = _follow(job, config, detector, report, None, None)
        assert followed is not None
        chosen = choose_tracks(followed.tracks, config, followed.interval, followed.num_frames)
        if portraits is not None:
            chosen = list(followed.tracks)  # pieces that are too short alone may belong together
        tracks = {track: followed.tracks[track] for track in chosen}
        _cut_crops(job, config, tracks, report, sink, portraits)
        before.require_same()
        return _record_clips(job, config, followed, detector.name, sink, portraits, before)


def _follow(
    job: SourceJob,
    config: PreprocessConfig,
    detector: Detector,
    report: Report,
    sink: Sink | None,
    portraits: Portraits | None,
) -> _Followed | None:
    """Follow the faces of a source.

    Args:
        job: The source.
        config: Settings.
        detector: Finds the faces.
        report: Called with frames and crops done.
        sink: Where crops go; None to cut none, so that no picture is kept.
        portraits: Looks at the faces, too; None without pictures.

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
                if portraits is not None:
                    portraits.look(frame.image, face, frame.pts_seconds)
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
        follower.sides_px,
        follower.absences,
        follower.doubts,
        follower.unnamed_seconds,
        (first_seconds, last_seconds),
    )


def _record_clips(
    job: SourceJob,
    config: PreprocessConfig,
    followed: _Followed,
    detector: str,
    sink: Sink,
    portraits: Portraits | None,
    before: SourceState,
) -> SourceRecord:
    """Make clips of the tracks that count, whose crops are in the sink."""
    pieces = None if portraits is None else find_pieces(followed.tracks, portraits)
    if pieces is not None:
        followed = _joined(followed, pieces, sink)
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
            *left_out(followed.sides_px, chosen, config, num_frames, followed.interval),
            *doubtful(followed.doubts, chosen),
            *(() if pieces is None else pieces.remarks(chosen)),
        ),
        portraits=() if pieces is None else pieces.portraits_of(chosen),
    )


def _joined(followed: _Followed, pieces: Pieces, sink: Sink) -> _Followed:
    """What was seen, with one track a person."""
    sides: dict[int, list[float]] = {}
    for track, values in followed.sides_px.items():
        sides.setdefault(pieces.person_of(track), []).extend(values)
    for track in followed.tracks:
        person = pieces.person_of(track)
        if person != track:
            sink.join(track, person)
    return replace(
        followed,
        tracks=pieces.joined(followed.tracks),
        sides_px=sides,
        absences=[replace(a, track=pieces.person_of(a.track)) for a in followed.absences],
        doubts=[(pieces.person_of(track), seconds) for track, seconds in followed.doubts],
    )


def _gaps(followed: _Followed, chosen: list[int], config: PreprocessConfig) -> list[GapRow]:
    return gaps(
        followed.tracks,
        chosen,
        followed.absences,
        followed.unnamed_seconds,
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
    portraits: Portraits | None,
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
            if portraits is not None:
                portraits.look(frame.image, following[1], frame.pts_seconds)
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
