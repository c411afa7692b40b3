"""Landmarks and parsing maps of face crops that exist, for a face store or a benchmark's copy."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.bug_log import BUGS_FILE, BugLog
from dfercli.artifacts.face_parts import (
    landmarks_path,
    parsing_folder,
    read_landmarks,
    write_landmarks,
    write_parsing,
)
from dfercli.artifacts.face_store import ClipRow, FailureRow, crops_folder
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.parts_record import PART_FOLDERS, PARTS_FILE, PARTS_SCHEMA, record_parts
from dfercli.artifacts.removing import remove_inside, require_no_links
from dfercli.artifacts.weight_files import fetch, weight_file
from dfercli.config import PreprocessConfig
from dfercli.data.clips import Clip
from dfercli.data.folds import read_fold
from dfercli.data.frames import list_frames
from dfercli.data.layout import dataset_root
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.faces.parsing_model import fetch_parsing_model
from dfercli.preprocessing.engines import do_jobs, require_engine
from dfercli.preprocessing.face_clips import Report
from dfercli.preprocessing.worker_pool import Advanced, Lost
from dfercli.progress import Progress
from dfercli.video.images import read_image

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


def require_networks(config: PreprocessConfig) -> None:
    """Find or fetch the networks of the parts asked for, before hours of work; none is loaded.

    Raises:
        ArtifactError: weights or a package are missing, and cannot be fetched.
    """
    if _wants_points(config):
        fetch(weight_file("landmarks"))
    if config.parsing == "segformer":
        fetch_parsing_model(config.parsing_model)


def how_made(config: PreprocessConfig) -> dict[str, str]:
    """The entries of `parts.json` for the parts asked for."""
    made = {}
    if _wants_points(config):
        made["landmarks"] = weight_file("landmarks").file_name
    if config.parsing == "segformer":
        folder = Path(config.parsing_model).expanduser()
        model = str(folder.resolve()) if folder.is_dir() else config.parsing_model
        made["parsing"] = f"segformer {model}"
    elif config.parsing != "none":
        made["parsing"] = config.parsing
    return made


def _wants_points(config: PreprocessConfig) -> bool:
    return config.landmarks or config.parsing == "polygons"


def add_parts_to_store(
    clips: Sequence[ClipRow],
    config: PreprocessConfig,
    device: str,
    bugs: BugLog,
    progress: Progress,
) -> list[FailureRow]:
    """Add the missing landmarks and parsing maps of a face store's clips."""
    jobs = [_job(clip.clip_id, crops_folder(config.out, clip.clip_id), config) for clip in clips]
    return _do(jobs, (config, config.margin, device), bugs, progress)


def run_on_benchmark(config: PreprocessConfig, device: str, progress: Progress) -> PartsResult:
    """Find landmarks and parsing maps for a benchmark's copy, in a separate folder.

    The frames stay where they are: `clips.jsonl` names them, nothing is copied, and nothing is
    written into the copy.

    Raises:
        ConfigError: nothing is asked for, `out` lies in the copy or is a face store, or holds parts
            that were made in another way.
        DataError: the lists of the copy, or the frames of all clips, are missing.
        ArtifactError: weights are missing and cannot be fetched.
    """
    (dataset,) = config.sources
    if not wants_parts(config):
        raise ConfigError(
            f"the frames of {dataset} are face crops already: ask for --landmarks or --parsing"
        )
    fold = read_fold(dataset, root=config.root, allow_missing=True)
    clips = sorted({clip.clip_id: clip for clip in (*fold.train, *fold.test)}.items())
    store = config.out.resolve()
    copy = dataset_root(dataset.lower(), config.root)
    _refuse_out(store, dataset, (copy, *(clip.location.parent for _, clip in clips[:1])))
    _require_frames(dataset, [clip for _, clip in clips])
    require_networks(config)
    require_engine(config)
    config = replace(config, out=store)
    with exclusive(store / ".lock", busy=f"{store} is being written"):
        for name in PART_FOLDERS:
            require_no_links(store, store / name)
        if config.overwrite and (store / PARTS_FILE).is_file():
            # What cannot be set up must not cost the parts that are there.
            set_up_parts((config, BENCHMARK_MARGIN, device))
            _remove_parts(store)
        record_parts(store, how_made(config), dataset)
        jobs = [_job(name, clip.location.absolute(), config) for name, clip in clips]
        num_skipped = sum(not (job.landmarks or job.parsing) for job in jobs)
        write_rows(
            store / "parts.jsonl",
            (
                {"schema": PARTS_SCHEMA, "clip_id": name, "frames": os.path.relpath(place, store)}
                for name, place in ((job.clip_id, job.folder) for job in jobs)
            ),
        )
        bugs = BugLog(store / BUGS_FILE)
        failures = _do(jobs, (config, BENCHMARK_MARGIN, device), bugs, progress)
        bugs.tell(progress)
        write_rows(store / "failures.jsonl", (failure.to_row() for failure in failures))
    return PartsResult(store, len(clips), num_skipped, tuple(failures))


def _refuse_out(store: Path, dataset: str, places: Sequence[Path]) -> None:
    if any(store.is_relative_to(place.resolve()) for place in places):
        raise ConfigError(
            f"--out {store} lies in the copy of {dataset}", hint="choose a folder outside of it"
        )
    if (store / "dataset.json").exists():
        raise ConfigError(
            f"--out {store} is a face store, the parts of {dataset} need a folder of their own",
            hint="choose another --out",
        )


def _require_frames(dataset: str, clips: Sequence[Clip]) -> None:
    if clips and not any(clip.location.is_dir() for clip in clips):
        raise DataError(
            f"{dataset}: none of its {len(clips)} clips is a folder of frames, the first is "
            f"{'' if clips[0].location.exists() else 'missing: '}{clips[0].location}",
            hint="extract the frames of each clip to a folder of its name, or make a face store of "
            "the videos: dfer preprocess VIDEOS --out faces/ --landmarks",
        )


def _remove_parts(store: Path) -> None:
    """Remove an earlier run's files from a folder; others stay."""
    for name in (*PART_FOLDERS, "parts.jsonl", "failures.jsonl", BUGS_FILE, PARTS_FILE):
        remove_inside(store, name)


def _job(clip_id: str, folder: Path, config: PreprocessConfig) -> PartsJob:
    return PartsJob(
        clip_id,
        folder,
        landmarks=_wants_points(config) and not landmarks_path(config.out, clip_id).exists(),
        parsing=config.parsing != "none" and not parsing_folder(config.out, clip_id).exists(),
    )


def _do(
    jobs: Sequence[PartsJob], setting: PartsSetting, bugs: BugLog, progress: Progress
) -> list[FailureRow]:
    missing = [job for job in jobs if job.landmarks or job.parsing]
    failures: list[FailureRow] = []
    with progress.task("Landmarks and parsing", total=len(missing)) as task:
        for event in do_jobs(
            missing, set_up_parts, setting, setting[0], bugs, lambda job: job.clip_id
        ):
            if isinstance(event, Advanced):
                continue
            task.advance()
            stage, reason = (
                (event.stage, event.reason) if isinstance(event, Lost) else ("parts", event.result)
            )
            if reason is not None:
                place = os.path.relpath(event.job.folder, setting[0].out.resolve())
                failures.append(FailureRow(place, stage, reason))
    return failures


def set_up_parts(setting: PartsSetting) -> Callable[[PartsJob, Report], str | None]:
    """Prepare a process, and return the function that does one clip.

    That function returns why a clip cannot be used, or None.
    """
    # Both import torch, which preprocess does not need without parts.
    from dfercli.faces.landmarks import LandmarkFinder
    from dfercli.faces.parsing import SegformerParser, draw_regions

    config, margin, device = setting
    cv2.setNumThreads(1)
    finder = LandmarkFinder(device, margin) if _wants_points(config) else None
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
        except (ArtifactError, DataError) as error:
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
