"""What `dfer preprocess` does with one source: decode, follow faces, write its clips."""

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_store import ClipRow, FailureRow, TrackData
from dfercli.artifacts.store_writing import CropSink, SourceRecord, crop_sink, write_record
from dfercli.config import PreprocessConfig
from dfercli.config.preprocessing import USUAL_MIN_SECONDS
from dfercli.errors import DataError, TooLargeError
from dfercli.faces.build import DetectorChoice, build_detector
from dfercli.faces.detect import Detector
from dfercli.faces.follow import (
    DETECT_SECONDS,
    FaceFollower,
    TrackedFace,
)
from dfercli.preprocessing.crops import cut_crop, follow_settings
from dfercli.preprocessing.sources import open_source
from dfercli.video.cuts import CutFinder
from dfercli.video.decode import silence_decoders
from dfercli.video.frames import Frame
from dfercli.video.prefetch import prefetched
from dfercli.video.sources import Source, source_signature

DECODE_AHEAD = 4
DETECT_AHEAD = 8
BGR_QUALITY = cv2.IMWRITE_JPEG_QUALITY

Report = Callable[[int, int], None]
WorkerSetting = tuple[PreprocessConfig, DetectorChoice, int]  # and threads for OpenCV


@dataclass(frozen=True)
class SourceJob:
    """One source to do.

    Attributes:
        source: Where it is.
        key: Unique in the store, safe as a file name; its clips are called `<key>-<track>`.
        name_in_store: Its path relative to the store.
        label: Class name, where known.
        subject: Who is seen, where known.
        groups: What else is known, such as the sex of who is seen.
    """

    source: Source
    key: str
    name_in_store: str
    label: str | None
    subject: str | None
    groups: dict[str, str] = field(default_factory=dict)


def set_up_sources(setting: WorkerSetting) -> Callable[[SourceJob, Report], SourceRecord]:
    """Prepare a process for sources, and return the function that does one."""
    silence_decoders()
    config, choice, threads = setting
    cv2.setNumThreads(threads)
    detector = build_detector(choice)

    def do(job: SourceJob, report: Report) -> SourceRecord:
        return process_source(job, config, detector, report)

    return do


def process_source(
    job: SourceJob, config: PreprocessConfig, detector: Detector, report: Report
) -> SourceRecord:
    """Write the clips of one source into the store `config.out`, and its record last.

    What is wrong with the source ends up in the record as a failure or as warnings.

    Args:
        job: The source.
        config: Settings.
        detector: Finds the faces.
        report: Called with the frames and face crops done since the last call, from any thread.

    Raises:
        ArtifactError: the store cannot be written.
    """
    try:
        _refuse_name(str(job.source.path))
        record = _make_clips(job, config, detector, report)
    except DataError as error:
        reason = error.message.removeprefix(f"{job.source.path}: ")
        reason = reason.replace(f"{job.source.path}{os.sep}", "")
        stage = "size" if isinstance(error, TooLargeError) else "decode"
        record = record_of(job, failure=FailureRow(job.name_in_store, stage, reason))
    write_record(config.out, job.key, record)
    return record


def _refuse_name(name: str) -> None:
    """Refuse a name that is no UTF-8, which neither decoders nor JSON can hold."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError("its name is not valid UTF-8: rename it") from error


def record_of(
    job: SourceJob,
    *,
    num_frames: int = 0,
    clips: tuple[ClipRow, ...] = (),
    failure: FailureRow | None = None,
    warnings: tuple[str, ...] = (),
) -> SourceRecord:
    """The record of a source as it is on disk now."""
    size_bytes, modified_ns = source_signature(job.source.path)
    return SourceRecord(
        job.name_in_store, size_bytes, modified_ns, num_frames, clips, failure, warnings
    )


class _Track:
    """The rows of one track file, growing; flat arrays, as an hour has 90,000 rows."""

    def __init__(self) -> None:
        self.frame_index = array("q")
        self.pts_seconds = array("d")
        self.boxes = array("f")
        self.scores = array("f")
        self.detected = array("b")
        self.points = array("f")

    def add(self, frame: Frame, face: TrackedFace) -> None:
        self.frame_index.append(frame.index)
        self.pts_seconds.append(frame.pts_seconds)
        self.boxes.extend(face.box_xyxy_px.tolist())
        self.scores.append(face.score)
        self.detected.append(face.detected)
        if face.points_px is not None:
            self.points.extend(face.points_px.ravel().tolist())

    def __len__(self) -> int:
        return len(self.frame_index)

    def data(self) -> TrackData:
        points = np.array(self.points, np.float32).reshape(-1, 5, 2)
        return TrackData(
            frame_index=np.array(self.frame_index, np.int64),
            pts_seconds=np.array(self.pts_seconds, np.float64),
            box_xyxy_px=np.array(self.boxes, np.float32).reshape(-1, 4),
            score=np.array(self.scores, np.float32),
            points_px=points if len(points) == len(self) else None,
            detected=np.array(self.detected, np.bool_),
        )

    def sides_px(self) -> NDArray[np.float32]:
        boxes = np.array(self.boxes, np.float32).reshape(-1, 4)
        sides: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        return sides

    def total_area(self) -> float:
        return float((self.sides_px().astype(np.float64) ** 2).sum())


def _make_clips(
    job: SourceJob, config: PreprocessConfig, detector: Detector, report: Report
) -> SourceRecord:
    # Of few frames a second faces are followed through those between, which get no crops.
    between_seconds = DETECT_SECONDS if config.detect_every is None else None
    reader = open_source(job.source, config, lambda: report(0, 0), between_seconds)
    follower = FaceFollower[Frame](detector, follow_settings(config, reader.fps))
    tracks: dict[int, _Track] = {}
    num_frames, first_seconds, last_seconds = 0, 0.0, 0.0
    with crop_sink(config.out, job.key) as sink:
        # Decoding, detecting and cropping overlap: the first two run in threads of their own.
        detected = follower.detect(_with_cuts(prefetched(reader, DECODE_AHEAD)))
        for frame, faces in follower.link(prefetched(detected, DETECT_AHEAD)):
            if not frame.wanted:
                report(0, 0)
                continue
            first_seconds = frame.pts_seconds if num_frames == 0 else first_seconds
            last_seconds = frame.pts_seconds
            num_frames += 1
            for face in faces:
                _write_crop(sink, frame, face, config)
                tracks.setdefault(face.track, _Track()).add(frame, face)
            report(1, len(faces))
        interval = (last_seconds - first_seconds) / (num_frames - 1) if num_frames > 1 else 0.0
        chosen = _choose(tracks, config, interval, num_frames)
        clips = tuple(
            _keep(sink, number, track, tracks[track].data(), job, reader.fps, detector.name)
            for number, track in enumerate(chosen)
        )
    failure = None
    if not clips:
        reason = _why_no_clip(tracks, config, interval, num_frames, follower.largest_face_px)
        failure = FailureRow(job.name_in_store, "faces", reason)
    return record_of(
        job,
        num_frames=num_frames,
        clips=clips,
        failure=failure,
        warnings=tuple(reader.warnings),
    )


def _with_cuts(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    finder = CutFinder()
    for frame in frames:
        yield frame, finder.is_cut(frame.image)


def _write_crop(sink: CropSink, frame: Frame, face: TrackedFace, config: PreprocessConfig) -> None:
    bgr = cv2.cvtColor(cut_crop(frame, face, config), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [BGR_QUALITY, config.jpeg_quality])
    sink.add(face.track, frame.index, jpeg.tobytes())


def _choose(
    tracks: dict[int, _Track], config: PreprocessConfig, interval: float, num_frames: int
) -> list[int]:
    """The tracks that become clips, in order of their first frame."""
    needed = _needed_frames(config, interval, num_frames)
    good = [
        number
        for number, track in tracks.items()
        if len(track) >= needed and float(np.median(track.sides_px())) >= config.min_face
    ]
    if config.faces != "all":
        limit = 1 if config.faces == "largest" else int(config.faces)
        good = sorted(good, key=lambda number: (-tracks[number].total_area(), number))[:limit]
    return sorted(good, key=lambda number: (tracks[number].frame_index[0], number))


def _needed_frames(config: PreprocessConfig, interval: float, num_frames: int) -> float:
    """Crops that a track needs: `min_seconds` of them; a single picture's track needs one."""
    if interval <= 0:
        return 1
    if config.min_seconds is not None:
        return round(config.min_seconds / interval, 3)
    return min(USUAL_MIN_SECONDS / interval, max(1, num_frames / 2))


def _keep(
    sink: CropSink,
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
    )


def _why_no_clip(
    tracks: dict[int, _Track],
    config: PreprocessConfig,
    interval: float,
    num_frames: int,
    largest_face_px: float,
) -> str:
    if num_frames == 0:
        return "no frame is left by --start, --end"
    if largest_face_px == 0:
        where = " in the region" if config.region else ""
        return (
            f"no face found{where} in {num_frames} frames, looking for {config.min_face} px or "
            "more (--min-face)"
        )
    if largest_face_px < config.min_face:
        return (
            f"faces are too small: the largest is {largest_face_px:.0f} px, "
            f"--min-face is {config.min_face}"
        )
    if not tracks:
        return (
            f"no face is sure enough to be followed: the largest found in {num_frames} frames is "
            f"{largest_face_px:.0f} px"
        )
    seconds = max(len(track) for track in tracks.values()) * interval
    needed = _needed_frames(config, interval, num_frames) * interval
    side_px = max(float(np.median(track.sides_px())) for track in tracks.values())
    longest = f"the longest has {seconds:.2f} s, needed are {needed:.2f} s (--min-seconds)"
    largest = f"the largest has {side_px:.1f} px, --min-face is {config.min_face}"
    if side_px < config.min_face:
        return f"faces are too small: of {len(tracks)} tracks {largest}"
    if seconds < needed:
        return f"faces are seen too shortly: of {len(tracks)} tracks {longest}"
    return (
        f"no face is seen for long enough and large: of {len(tracks)} tracks {longest}; {largest}"
    )
