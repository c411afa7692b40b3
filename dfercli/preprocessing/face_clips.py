"""One source: decode it, follow its faces, cut their crops, choose its clips."""

import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from dfercli.artifacts.face_store import FailureRow
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.errors import ChangedError, DataError, TooLargeError
from dfercli.faces.detect import Detector
from dfercli.faces.follow import FaceFollower
from dfercli.faces.identity import Portraits
from dfercli.faces.recogniser import FaceRecogniser
from dfercli.preprocessing.crop_sinks import Sink
from dfercli.preprocessing.crops import follow_settings
from dfercli.preprocessing.followed import Followed, Seen
from dfercli.preprocessing.gaps import Holes
from dfercli.preprocessing.growing_tracks import (
    GrowingTrack,
    choose_tracks,
    faces_by_frame,
)
from dfercli.preprocessing.pieces import Pieces, find_pieces
from dfercli.preprocessing.record_clips import record_clips
from dfercli.preprocessing.source_jobs import SourceJob, record_of
from dfercli.preprocessing.sources import open_source
from dfercli.preprocessing.waiting import Waiting
from dfercli.preprocessing.worker_pool import Report
from dfercli.video.cuts import CutFinder
from dfercli.video.decode import VideoReader
from dfercli.video.frames import UNKNOWN_FPS, Frame, num_bytes
from dfercli.video.images import ImageReader
from dfercli.video.prefetch import prefetched
from dfercli.video.sources import SourceState, source_state
from dfercli.video.stretches import Stretch

# How far decoding and detecting run ahead, in frames and in bytes, whichever is less.
DECODE_AHEAD, DECODE_BYTES = 4, 64 * 1024**2
DETECT_AHEAD, DETECT_BYTES = 8, 32 * 1024**2
# For pictures that wait for their crops; times the detector's batch, up to a bound.
WAITING_BYTES = 160 * 1024**2
MOST_BATCHED = 4
NO_IMAGE = np.zeros((0, 0, 3), np.uint8)

ALL_TIME = Stretch(0, 1, None, float("-inf"), float("inf"), 0)


@dataclass(frozen=True)
class Networks:
    """The networks that look at faces.

    Attributes:
        detector: Finds them.
        recogniser: Tells people apart; None: not.
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
        networks: Find faces and tell them apart.
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
class StretchFaces:
    """The faces of one stretch of a source.

    Attributes:
        followed: All of its frames: its own and those around them.
        state: The source before it was read.
        folder: Holds the crops of its own frames; None if they were handed over.
    """

    followed: Followed
    state: SourceState
    folder: Path | None = None


def follow_stretch(
    job: SourceJob,
    config: PreprocessConfig,
    detector: Detector,
    report: Report,
    open_sink: OpenSink,
) -> StretchFaces:
    """Follow the faces of one stretch of a source, and cut their crops.

    Args:
        job: The source, with its stretch.
        config: Settings.
        detector: Finds the faces.
        report: Told of the frames and face crops done.
        open_sink: Opens what takes the crops; once more where the stretch is read twice.

    Raises:
        ChangedError: the source changed while it was read.
        DataError: it cannot be read.
    """
    before = source_state(job.source.path)
    with open_sink() as sink:
        followed = _follow(job, config, detector, report, sink, None)
    if followed is None:
        with open_sink() as sink:
            followed = _follow(job, config, detector, report, None, None)
            assert followed is not None
            _cut_crops(job, config, followed.tracks, report, sink, None)
    before.require_same()
    return StretchFaces(followed, before)


def _make_clips(
    job: SourceJob,
    config: PreprocessConfig,
    networks: Networks,
    report: Report,
    before: SourceState,
    open_sink: OpenSink,
) -> SourceRecord:
    """Follow faces and cut their crops, in one pass if the waiting pictures fit into memory.

    A crop depends on where the face is in the frames that follow, so pictures wait. If these are
    too large or too many, faces are first followed without them; then the source is decoded again
    to cut the crops. Both ways give the same crops.
    """
    detector, recogniser = networks.detector, networks.recogniser
    with open_sink() as sink:
        portraits = None if recogniser is None else Portraits(recogniser)
        followed = _follow(job, config, detector, report, sink, portraits)
        if followed is not None:
            before.require_same()
            return _with_people(job, config, followed, detector.name, sink, portraits, before)
    with open_sink() as sink:
        portraits = None if recogniser is None else Portraits(recogniser)
        followed = _follow(job, config, detector, report, None, None)
        assert followed is not None
        chosen = choose_tracks(followed.tracks, config, followed.interval, followed.num_frames)
        if portraits is not None:
            chosen = list(
                followed.tracks
            )  # pieces that are too short on their own may belong together
        tracks = {track: followed.tracks[track] for track in chosen}
        _cut_crops(job, config, tracks, report, sink, portraits)
        before.require_same()
        return _with_people(job, config, followed, detector.name, sink, portraits, before)


def _follow(
    job: SourceJob,
    config: PreprocessConfig,
    detector: Detector,
    report: Report,
    sink: Sink | None,
    portraits: Portraits | None,
) -> Followed | None:
    """Follow the faces of a source.

    Args:
        job: The source.
        config: Settings.
        detector: Finds the faces.
        report: Called with frames and crops done.
        sink: Takes the crops; None: cut none and keep no picture.
        portraits: Also looks at the faces; None without pictures.

    Returns:
        The faces seen; None if pictures that wait for their crops take too much memory.

    Raises:
        DataError: the source cannot be used.
    """
    # At a low frame rate, faces are also followed through the frames between, without crops.
    stretch = job.stretch
    reader = open_source(
        job.source, config, lambda: report(0, 0), config.detect_every, stretch=stretch
    )
    settings = follow_settings(config)
    counts = ALL_TIME.holds if stretch is None else stretch.holds
    follower = FaceFollower[Frame](detector, settings, counts)
    waiting = None
    if sink is not None:
        max_bytes = WAITING_BYTES * min(MOST_BATCHED, detector.batch_size)
        seconds = max(settings.detect_seconds, settings.calm_seconds) + settings.smooth_seconds
        waiting = Waiting(max_bytes, round(seconds * (reader.fps or UNKNOWN_FPS)))
    tracks: dict[int, GrowingTrack] = {}
    num_frames, first_seconds, last_seconds = 0, 0.0, 0.0
    holes = Holes()
    # Decoding, detecting and cropping overlap: the first two run in their own threads.
    frames = _with_cuts(prefetched(reader, DECODE_AHEAD, DECODE_BYTES, num_bytes), waiting)
    detected = follower.detect(frames, None if sink is not None else _without_image)
    steps = prefetched(detected, DETECT_AHEAD, DETECT_BYTES, lambda step: num_bytes(step.frame))
    for frame, faces in follower.link(steps):
        if waiting is not None:
            waiting.goes(frame.image)
            if waiting.is_too_much:
                continue
        holes.passes(frame.pts_seconds)
        num_crops = 0
        is_own = frame.wanted and counts(frame.pts_seconds)
        if frame.wanted:
            for face in faces:
                tracks.setdefault(face.track, GrowingTrack()).add(frame, face)
                if portraits is not None:
                    portraits.look(frame.image, face, frame.pts_seconds)
        if is_own:
            first_seconds = frame.pts_seconds if num_frames == 0 else first_seconds
            last_seconds = frame.pts_seconds
            num_frames += 1
            if sink is not None:
                num_crops = sink.take(frame, faces)
        report(int(is_own), num_crops)
        del frame  # else it stays in memory until the next one arrives
    if waiting is not None and waiting.is_too_much:
        return None
    if sink is not None:
        sink.end()
    return Followed(
        tracks,
        num_frames,
        follower.largest_face_px,
        reader.fps,
        tuple(reader.warnings),
        Seen(
            *(follower.absences, follower.doubts, follower.unnamed_seconds, follower.sides_px),
            holes.up_to(_end_of(reader, config, stretch)),
        ),
        (first_seconds, last_seconds),
    )


def _end_of(
    reader: VideoReader | ImageReader, config: PreprocessConfig, stretch: Stretch | None
) -> float:
    """Where a source should end, as far as it is read; 0 where that is not known."""
    if stretch is not None and stretch.number + 1 < stretch.count:
        return 0.0
    return min(reader.claimed_seconds, float("inf") if config.end is None else config.end)


def _with_people(
    job: SourceJob,
    config: PreprocessConfig,
    followed: Followed,
    detector: str,
    sink: Sink,
    portraits: Portraits | None,
    before: SourceState,
) -> SourceRecord:
    """Make clips of the tracks that count, one per person if people are told apart."""
    pieces = None if portraits is None else find_pieces(followed.tracks, portraits)
    if pieces is not None:
        followed = _joined(followed, pieces, sink)
    return record_clips(job, config, followed, detector, sink.keep, before, pieces)


def _joined(followed: Followed, pieces: Pieces, sink: Sink) -> Followed:
    """The faces seen, with one track per person."""
    seen = followed.seen
    sides: dict[int, array[float]] = {}
    for track, values in seen.sides_px.items():
        sides.setdefault(pieces.person_of(track), array("f")).extend(values)
    for track in followed.tracks:
        person = pieces.person_of(track)
        if person != track:
            sink.join(track, person)
    own = Seen(
        [replace(a, track=pieces.person_of(a.track)) for a in seen.absences],
        [(pieces.person_of(track), seconds) for track, seconds in seen.doubts],
        seen.unnamed_seconds,
        sides,
        seen.holes,
    )
    return replace(followed, tracks=pieces.joined(followed.tracks), seen=own)


def _cut_crops(
    job: SourceJob,
    config: PreprocessConfig,
    tracks: dict[int, GrowingTrack],
    report: Report,
    sink: Sink,
    portraits: Portraits | None,
) -> None:
    """Decode the frames of these tracks again and cut their crops.

    Raises:
        DataError: they no longer exist.
    """
    if not tracks:
        return
    stretch = job.stretch or ALL_TIME
    rows = {
        number: sink.rows(track) & stretch.holds_each(np.array(track.pts_seconds))
        for number, track in tracks.items()
    }
    indices = frozenset(
        index
        for number, track in tracks.items()
        for index, has_crop in zip(track.frame_index, rows[number].tolist(), strict=True)
        if has_crop
    )
    reader = open_source(
        job.source, config, lambda: report(0, 0), indices=indices, stretch=job.stretch
    )
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
    """Each frame, and whether it begins a scene, as long as there is room for waiting frames."""
    finder = CutFinder()

    def has_room(frame: Frame) -> bool:
        return waiting is None or waiting.comes(frame.image)

    def with_cut(frame: Frame) -> tuple[Frame, bool]:
        return frame, finder.is_cut(frame.image)

    return map(with_cut, takewhile(has_room, frames))  # which keep no picture
