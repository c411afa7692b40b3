"""Steps of preprocess that fail. Few imports, as worker processes load this, too."""

from collections.abc import Callable
from functools import partial
from typing import Any

from dfercli.faces.haar import HaarDetector
from dfercli.preprocessing import (
    crop_sinks,
    face_clips,
    process_source,
    record_clips,
    source_jobs,
    source_worker,
)
from dfercli.preprocessing.worker_pool import Report

# The steps of preprocess for one source; a test makes each fail for one source.
STEPS = {
    "open": (face_clips, "open_source"),
    "decode": (face_clips, "prefetched"),
    "cuts": (face_clips.CutFinder, "is_cut"),
    "detect": (HaarDetector, "detect"),
    "follow": (face_clips.FaceFollower, "link"),
    "crop": (crop_sinks, "cut_crop"),
    "choose": (record_clips, "choose_tracks"),
    "keep": (record_clips, "_keep"),
    "record": (record_clips, "record_of"),
    "write": (process_source, "write_record"),
    "state": (face_clips, "source_state"),
}
ORIGINAL = {name: getattr(place, name) for place, name in STEPS.values()}


def raising(function: Callable[..., Any], error: Exception, when: Callable[..., bool]) -> Any:
    """Wrap the function: it raises `error` where `when` accepts its arguments."""

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if when(*arguments, **named):
            raise error
        return function(*arguments, **named)

    return wrapped


def at_first(*_: Any, done: list[int] | None = None, **__: Any) -> bool:
    """Whether this is the first call, for `raising`; `done` keeps count of them."""
    assert done is not None
    done.append(1)
    return len(done) == 1


def set_up_faults(setting: source_worker.WorkerSetting) -> Callable[..., Any]:
    """Like `set_up_sources`, but a source named after a step fails in that step."""
    return _failing(source_worker.set_up_sources, setting)


def set_up_held_faults(setting: source_worker.WorkerSetting) -> Callable[..., Any]:
    """The same for `set_up_held`."""
    return _failing(source_worker.set_up_held, setting)


def _failing(
    set_up: Callable[..., Callable[..., Any]], setting: source_worker.WorkerSetting
) -> Callable[..., Any]:
    under_way = ""

    def is_called(name: str, *_: Any, **__: Any) -> bool:
        return under_way == name

    for number, (name, (place, function)) in enumerate(STEPS.items()):
        error = KeyError(name) if number % 2 else RuntimeError(f"no {name}")
        wrapped = raising(getattr(place, function), error, partial(is_called, name))
        setattr(place, function, wrapped)
    do = set_up(setting)

    def named(job: source_jobs.SourceJob, report: Report) -> Any:
        nonlocal under_way
        under_way = job.source.path.stem
        try:
            return do(job, report)
        finally:
            under_way = ""

    return named


def set_up_nothing(argument: object) -> Callable[..., Any]:
    raise KeyError("no such set-up")
