"""Long videos among the sources: cut into stretches, whose faces are joined once all are there."""

from collections.abc import Sequence
from dataclasses import replace

from dfercli.artifacts.crop_writing import keep_joined
from dfercli.artifacts.face_store import TrackData
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.face_clips import StretchFaces
from dfercli.preprocessing.followed import LOCAL_TRACKS, Joined, join
from dfercli.preprocessing.record_clips import record_clips
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.processes import num_cores
from dfercli.video.probe import probe_video
from dfercli.video.stretches import Stretch, cut_into_stretches

LONG_SECONDS = 120.0  # a shorter video is not worth the effort
MANY_SOURCES = 4  # per worker: with more videos, all workers are busy without cutting
ON_A_CLUSTER = 8  # the assumed number of workers there, if none is given

Gathered = list[tuple[Stretch, StretchFaces]]


def with_stretches(jobs: Sequence[SourceJob], config: PreprocessConfig) -> list[SourceJob]:
    """The jobs, with each long video in as many stretches as there are workers, or a multiple.

    Videos stay whole if one worker does all, if there are plenty of them, if not all
    frames are needed, and if people are told apart by their faces.
    """
    workers = config.workers
    if workers is None:
        workers = ON_A_CLUSTER if config.engine == "ray" else num_cores()
    picks = config.every > 1 or config.fps is not None or config.start > 0 or config.end is not None
    if workers < 2 or picks or config.identities != "off" or len(jobs) >= MANY_SOURCES * workers:
        return list(jobs)
    pieces: list[SourceJob] = []
    for job in jobs:
        stretches = _stretches(job, config, workers) if job.source.kind == "video" else []
        pieces += [replace(job, stretch=stretch) for stretch in stretches] or [job]
    return pieces


def _stretches(job: SourceJob, config: PreprocessConfig, workers: int) -> list[Stretch]:
    if not job.source.path.is_file():  # opening a pipe would block
        return []
    facts = probe_video(job.source.path)
    seconds = 0.0 if facts is None else facts.seconds or 0.0
    if seconds < LONG_SECONDS:
        return []
    count = workers * max(1, round(seconds / (workers * LONG_SECONDS)))
    return cut_into_stretches(job.source.path, count, config.max_pixels)


def joined_or_none(gathered: Gathered) -> Joined | None:
    """The faces of all stretches of a source; None if one worker has to do it as a whole.

    That is the case if a stretch is damaged, the source changed, or a frame is missing.
    """
    first = gathered[0][1]
    same = all(one.state == first.state for _, one in gathered)
    sound = not any(one.followed.warnings for _, one in gathered)
    if not same or not sound:
        return None
    joined = join([(stretch, one.followed) for stretch, one in gathered])
    return joined if joined.followed.num_frames == gathered[0][0].num_frames else None


def join_in_store(
    config: PreprocessConfig, job: SourceJob, gathered: Gathered, detector: str
) -> SourceRecord | None:
    """Make clips in the store `config.out` of the stretches of a source; None as above.

    Raises:
        ArtifactError: the system refused a write.
    """
    joined = joined_or_none(gathered)
    if joined is None:
        return None

    def keep(track: int, clip_id: str, data: TrackData) -> None:
        places = [(gathered[place][1].folder, local) for place, local in joined.parts[track]]
        there = [folder / str(local) for folder, local in places if folder is not None]
        keep_joined(config.out, clip_id, data, there)

    state = gathered[0][1].state
    return record_clips(job, config, joined.followed, detector, keep, state)


def numbers_in_crops(joined: Joined) -> dict[int, int]:
    """The number in the whole of each track of a stretch, by `number_of_part`."""
    return {
        number_of_part(place, local): number
        for number, parts in joined.parts.items()
        for place, local in parts
    }


def number_of_part(stretch: int, track: int) -> int:
    """The number of a stretch's track among the crops of its source."""
    return (stretch + 1) * LOCAL_TRACKS + track
