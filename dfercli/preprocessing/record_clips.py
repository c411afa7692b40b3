"""Of the tracks of one source, make clips of those that count, and its record."""

from collections.abc import Callable

from dfercli.artifacts.face_store import ClipRow, FailureRow, GapRow, TrackData
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.followed import Followed
from dfercli.preprocessing.gaps import doubtful, gaps, left_out
from dfercli.preprocessing.growing_tracks import choose_tracks, why_no_clip
from dfercli.preprocessing.pieces import Pieces
from dfercli.preprocessing.source_jobs import SourceJob, record_of
from dfercli.video.sources import SourceState

Keep = Callable[[int, str, TrackData], None]


def record_clips(
    job: SourceJob,
    config: PreprocessConfig,
    followed: Followed,
    detector: str,
    keep: Keep,
    before: SourceState,
    pieces: Pieces | None = None,
) -> SourceRecord:
    """Make clips of the tracks that count.

    Args:
        job: The source.
        config: Settings.
        followed: Its faces, one track a person where people were told apart.
        detector: Name of the detector.
        keep: Called with each track that counts, its `clip_id` and its data.
        before: The source before it was read.
        pieces: Which tracks are one person; None where nobody looked.
    """
    tracks, num_frames = followed.tracks, followed.num_frames
    chosen = choose_tracks(tracks, config, followed.interval, num_frames)
    clips = tuple(
        _keep(keep, number, track, tracks[track].data(), job, followed.fps, detector)
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
            *left_out(
                *(tracks, followed.seen.sides_px, chosen),
                *(config, num_frames, followed.interval),
            ),
            *doubtful(followed.seen.doubts, chosen),
            *(() if pieces is None else pieces.remarks(chosen)),
        ),
        portraits=() if pieces is None else pieces.portraits_of(chosen),
    )


def _gaps(followed: Followed, chosen: list[int], config: PreprocessConfig) -> list[GapRow]:
    seen = followed.seen
    return gaps(
        followed.tracks,
        chosen,
        seen.absences,
        seen.unnamed_seconds,
        seen.holes,
        followed.span_seconds,
        followed.interval,
        config.min_face,
    )


def _keep(
    keep: Keep,
    number: int,
    track: int,
    data: TrackData,
    job: SourceJob,
    fps: float,
    detector: str,
) -> ClipRow:
    clip_id = f"{job.key}-{number}"
    keep(track, clip_id, data)
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
