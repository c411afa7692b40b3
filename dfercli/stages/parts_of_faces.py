"""Landmarks and parsing maps of face crops that exist, for a face store or a benchmark's copy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.face_parts import (
    landmarks_path,
    parsing_folder,
    read_landmarks,
    write_landmarks,
    write_parsing,
)
from dfercli.artifacts.face_store import ClipRow, FailureRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.locks import exclusive
from dfercli.config import PreprocessConfig
from dfercli.data.folds import read_fold
from dfercli.data.frames import list_frames
from dfercli.errors import ConfigError, DataError
from dfercli.progress import Progress
from dfercli.stages.engines import do_jobs
from dfercli.stages.one_source import Report
from dfercli.stages.worker_pool import Advanced, Finished, Lost
from dfercli.video.images import read_image

PARTS_SCHEMA = "dfer.face_parts/1"
CROPS_AT_ONCE = 64
BENCHMARK_MARGIN = 0.1  # published crops are close


@dataclass(frozen=True)
class PartsJob:
    """The crops of one clip, and which of its parts are missing."""

    clip_id: str
    folder: Path
    landmarks: bool
    parsing: bool


@dataclass(frozen=True)
class PartsResult:
    """What a run on a benchmark's copy did.

    Attributes:
        store: Where landmarks and parsing maps are.
        num_clips: Clips of the copy.
        num_skipped: Of these, done by an earlier run.
        failures: Clips whose frames could not be read.
    """

    store: Path
    num_clips: int
    num_skipped: int
    failures: tuple[FailureRow, ...]


PartsSetting = tuple[PreprocessConfig, float, str]  # margin in the crops, device


def wants_parts(config: PreprocessConfig) -> bool:
    """Tell whether landmarks or parsing maps are asked for."""
    return config.landmarks or config.parsing != "none"


def add_parts_to_store(
    clips: Sequence[ClipRow], config: PreprocessConfig, device: str, progress: Progress
) -> list[FailureRow]:
    """Find what is missing of the landmarks and parsing maps of a face store's clips."""
    jobs = [_job(clip.clip_id, config.out / "frames" / clip.clip_id, config) for clip in clips]
    return _do(jobs, (config, config.margin, device), progress)


def run_on_benchmark(config: PreprocessConfig, device: str, progress: Progress) -> PartsResult:
    """Find landmarks and parsing maps for a benchmark's copy, into a folder of their own.

    The frames stay where they are: `clips.jsonl` names them, nothing is copied, and nothing is
    written into the copy.

    Raises:
        ConfigError: nothing is asked for, or `out` lies in the copy.
        DataError: the lists or frames of the copy are missing.
    """
    (dataset,) = config.sources
    if not wants_parts(config):
        raise ConfigError(
            f"the frames of {dataset} are face crops already: ask for --landmarks or --parsing"
        )
    fold = read_fold(dataset, root=config.root, allow_missing=True)
    clips = sorted({clip.clip_id: clip for clip in (*fold.train, *fold.test)}.items())
    store = config.out.resolve()
    if any(store.is_relative_to(clip.location.resolve().parent) for _, clip in clips[:1]):
        raise ConfigError(f"--out {config.out} lies in the copy of {dataset}")
    with exclusive(store / ".lock", busy=f"another dfer preprocess is writing to {store}"):
        jobs = [_job(name, clip.location, config) for name, clip in clips]
        num_skipped = sum(not (job.landmarks or job.parsing) for job in jobs)
        write_json(store / "parts.json", {"schema": PARTS_SCHEMA, "dataset": dataset})
        write_rows(
            store / "parts.jsonl",
            ({"schema": PARTS_SCHEMA, "clip_id": n, "frames": str(c.location)} for n, c in clips),
        )
        failures = _do(jobs, (config, BENCHMARK_MARGIN, device), progress)
        write_rows(store / "failures.jsonl", (failure.to_row() for failure in failures))
    return PartsResult(store, len(clips), num_skipped, tuple(failures))


def _job(clip_id: str, folder: Path, config: PreprocessConfig) -> PartsJob:
    wants_points = config.landmarks or config.parsing == "polygons"
    return PartsJob(
        clip_id,
        folder,
        landmarks=wants_points and not landmarks_path(config.out, clip_id).exists(),
        parsing=config.parsing != "none" and not parsing_folder(config.out, clip_id).exists(),
    )


def _do(jobs: Sequence[PartsJob], setting: PartsSetting, progress: Progress) -> list[FailureRow]:
    missing = [job for job in jobs if job.landmarks or job.parsing]
    failures: list[FailureRow] = []
    with progress.task("Landmarks and parsing", total=len(missing)) as task:
        for event in do_jobs(missing, set_up_parts, setting, setting[0]):
            if isinstance(event, Advanced):
                continue
            task.advance()
            reason = event.reason if isinstance(event, Lost) else event.result
            if isinstance(event, Finished | Lost) and reason is not None:
                failures.append(FailureRow(str(event.job.folder), "parts", reason))
    return failures


def set_up_parts(setting: PartsSetting) -> Callable[[PartsJob, Report], str | None]:
    """Prepare a process, and return the function that does one clip.

    That function returns why a clip cannot be used, or None.
    """
    # Both import torch, which preprocess does without where no parts are asked for.
    from dfercli.faces.landmarks import LandmarkFinder
    from dfercli.faces.parsing import SegformerParser, draw_regions

    config, margin, device = setting
    cv2.setNumThreads(1)
    wants_points = config.landmarks or config.parsing == "polygons"
    finder = LandmarkFinder(device, margin) if wants_points else None
    segments = config.parsing == "segformer"
    parser = SegformerParser(config.parsing_model, device) if segments else None

    def do(job: PartsJob, report: Report) -> str | None:
        try:
            paths = list_frames(job.folder)
            if job.landmarks and finder is not None:
                points = [finder.find(crops) for _, crops in _portions(paths, report)]
                write_landmarks(config.out, job.clip_id, np.concatenate(points))
            if job.parsing:
                maps = (
                    _drawn(paths, read_landmarks(config.out, job.clip_id), draw_regions, report)
                    if parser is None
                    else _parsed(paths, parser.parse, report)
                )
                write_parsing(config.out, job.clip_id, [path.stem for path in paths], maps)
        except DataError as error:
            return error.message
        return None

    return do


def _portions(
    paths: Sequence[Path], report: Report
) -> Iterator[tuple[int, list[NDArray[np.uint8]]]]:
    """Read crops, few at a time: a track may last for hours. Each portion is reported when done.

    Yields:
        The number of the first crop of the portion, and its crops.
    """
    for start in range(0, len(paths), CROPS_AT_ONCE):
        crops = [read_image(path) for path in paths[start : start + CROPS_AT_ONCE]]
        yield start, crops
        report(len(crops), 0)


def _parsed(
    paths: Sequence[Path],
    parse: Callable[[list[NDArray[np.uint8]]], list[NDArray[np.uint8]]],
    report: Report,
) -> Iterator[NDArray[np.uint8]]:
    for _, crops in _portions(paths, report):
        yield from parse(crops)


def _drawn(
    paths: Sequence[Path],
    points: NDArray[np.float32],
    draw: Callable[[NDArray[np.float32], int, int], NDArray[np.uint8]],
    report: Report,
) -> Iterator[NDArray[np.uint8]]:
    for start, crops in _portions(paths, report):
        for row, image in zip(points[start : start + len(crops)], crops, strict=True):
            yield draw(row, image.shape[0], image.shape[1])
