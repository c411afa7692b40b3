"""`dfer predict`: who shows what, and when, in any videos."""

import queue
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfercli.artifacts.atomic import telling_what_is_kept
from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.face_store import read_dataset
from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PredictConfig, PreprocessConfig
from dfercli.inference.choose_model import ChosenModel, choose_model, ready_choice
from dfercli.inference.light_imports import import_models
from dfercli.overrides import to_plain
from dfercli.prediction.clip_faces import ClipFaces, FacesInMemory, StoredFaces
from dfercli.prediction.clock import read_clock, tell_outside
from dfercli.prediction.earlier_results import tell_replaced
from dfercli.prediction.face_source import (
    compare_crops,
    preprocess_config,
    shown_path,
    shown_source,
    sources_of_store,
    split_places,
)
from dfercli.prediction.journal import Journal, settings_digest, work_folder
from dfercli.prediction.outputs import (
    bugs_path,
    check_config,
    check_outputs,
)
from dfercli.prediction.people import with_people
from dfercli.prediction.players import make_sections, write_page
from dfercli.prediction.result import PredictResult
from dfercli.prediction.results_folder import with_page, write_record, write_tables
from dfercli.prediction.source_results import Plan, checked_facts, finish_source, with_bug
from dfercli.prediction.streams import StreamPlan, ViewMaker, finding_faces, plan_streams, tell_cost
from dfercli.prediction.timeline_files import write_exports
from dfercli.prediction.tracked_source import TrackedSource, WindowSettings
from dfercli.preprocessing import run as preprocess
from dfercli.preprocessing.find_faces import FoundFaces, find_faces
from dfercli.preprocessing.people import (
    pictures_of_people,
    portraits_of_record,
    set_up_people,
)
from dfercli.preprocessing.ray_engine import joined_cluster
from dfercli.preprocessing.time_grid import TimeGrid
from dfercli.progress import Progress
from dfercli.report.summary import event_rows
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.sources import Source, find_sources

if TYPE_CHECKING:
    from dfercli.inference.loaded_model import LoadedModel

LOOK_SECONDS = 0.2
NOT_IN_ANSWERS = dict.fromkeys(("out", "workers", "engine", "ray_address"))
SAMPLING = "grid of time"  # these decide what windows look at: a run resumes only with equal values


@dataclass
class _Work:
    """State shared by the two threads: sources that have faces, and the model's progress."""

    sources: "queue.SimpleQueue[TrackedSource | None]" = field(default_factory=queue.SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)
    windows_done: int = 0
    precision: str | None = None


def run(
    config: PredictConfig,
    progress: Progress,
    model: "LoadedModel | None" = None,
    *,
    with_pictures: bool = False,
) -> PredictResult:
    """Recognise expressions in videos and face stores.

    The preprocess stage finds and crops faces in its own processes, while the model is loaded and
    works on earlier sources. Only crops that windows look at are cut, and they stay in memory,
    unless `faces_out` names a store for all of them. A source that cannot be used is a failure in
    the result, never an exception. With a table to write, a stopped run goes on where it was.

    Args:
        config: Settings.
        progress: Where to report.
        model: Used instead of the one that `config` names.
        with_pictures: Keep pictures of faces in the result, as for a page.

    Raises:
        ConfigError: settings that make no sense.
        DataError: no source at all, or events that do not clearly belong to one.
        ArtifactError: a model that cannot be used, or a file that cannot be written.
    """
    check_config(config)
    config = with_page(config)
    places, stores = split_places(config.sources)
    sources = find_sources(places, progress.note) if places else []
    ready = [source for store in stores for source in sources_of_store(store)]
    paths = [source.path for source in sources]
    check_outputs(config, paths, stores, len(sources) + len(ready))
    names = [shown_source(path, Path()) for path in paths] + [source.name for source in ready]
    tell_replaced(config, names, progress)
    events = () if config.clock is None else read_clock(config.clock, names, config.clock_offset)
    pictures_of_people(config)  # refused before a model is fetched
    chosen = choose_model(config, progress) if model is None else ready_choice(model)
    for store in stores:
        compare_crops(read_dataset(store)["settings"], chosen.card, progress)
    with ExitStack() as stack:
        for path in (config.out, config.spans, config.summary, config.html, config.video):
            if path is not None:
                stack.enter_context(writing_file(path))
        # Without a store, sources are named as seen from the current folder.
        crop = preprocess_config(config, chosen.card, config.faces_out or Path())
        streams = plan_streams(config, chosen.card, crop, stores, progress)
        crop = finding_faces(crop, streams)
        journal = _open_journal(config, chosen, crop, streams)
        if journal is not None:
            stack.enter_context(telling_what_is_kept(journal.kept))
        windows = _window_settings(config, chosen, streams)
        bugs = BugLog(bugs_path(config))
        shows = with_pictures or config.html is not None
        known = set_up_people(crop, progress)
        crop = replace(crop, people=None)  # persons get their names here, at the end
        plan = Plan(config, chosen, windows, crop, journal, bugs, events, shows, known, streams)
        done = {} if journal is None else journal.done
        kept, left = _divide(done, sources, crop.out)
        if streams.captions is not None:
            tell_cost(streams.captions, config, left, ready)
        if kept:
            progress.note(f"{len(kept)} of {len(sources)} sources were done before")
        work = _Work()
        if left and crop.engine == "ray":
            stack.enter_context(
                joined_cluster(crop)
            )  # for the model and the processes that find faces
        thread = stack.enter_context(ThreadPoolExecutor(1, "recognise"))
        stack.callback(work.sources.put, None)
        stack.callback(work.stop.set)
        count = len(ready) + len(left)
        recognising = thread.submit(_recognise_all, plan, work, progress, count)
        for tracked in ready:
            work.sources.put(tracked)
        faceless: list[VideoPrediction] = []
        if left:
            finished = {video.source for video in kept}
            faceless = _find_faces(plan, places, left, finished, work, recognising, progress)
        work.sources.put(None)
        videos = [*kept, *faceless, *_wait(recognising, work, progress)]
        return _finish(plan, videos, work, progress)


def _divide(
    done: Mapping[str, VideoPrediction], sources: Iterable[Source], store: Path
) -> tuple[list[VideoPrediction], list[Source]]:
    """The results of those of `sources` that are done, and the rest."""
    by_name = {shown_source(source.path, store): source for source in sources}
    kept = [video for name, video in done.items() if name in by_name]
    return kept, [source for name, source in by_name.items() if name not in done]


def _window_settings(
    config: PredictConfig, model: ChosenModel, streams: StreamPlan
) -> WindowSettings:
    asked = config.min_confidence
    threshold = model.card.looking_at(streams.expected).threshold(asked)
    return WindowSettings(config.window, config.stride, config.batch_size, threshold, asked)


def _open_journal(
    config: PredictConfig, model: ChosenModel, crop: PreprocessConfig, streams: StreamPlan
) -> Journal | None:
    if config.out is None:
        return None
    own = {**to_plain(crop), **NOT_IN_ANSWERS, "sampling": SAMPLING}
    own["looks_at"] = streams.as_text()
    asked = {
        name: to_plain(config)[name]
        for name in ("window", "stride", "min_confidence", "precision", "video", "html")
    }
    digest = settings_digest([model.name, model.card.to_json(), own, asked])
    return Journal(work_folder(config.out), digest)


def _find_faces(
    plan: Plan,
    places: tuple[str, ...],
    left: list[Source],
    finished: set[str],
    work: _Work,
    recognising: Future[list[VideoPrediction]],
    progress: Progress,
) -> list[VideoPrediction]:
    """Find the faces of videos and hand them to the model at once; return videos without faces."""
    faceless = []

    def hand_over(record: SourceRecord, faces: ClipFaces) -> None:
        if recognising.done():
            recognising.result()  # raises the thread's exception
        name = shown_path(plan.crop.out, record.source)
        if name in finished:  # a kept store covers all sources
            return
        signature = (record.size_bytes, record.modified_ns)
        if record.failure is None:
            portraits = portraits_of_record(record)[1]
            found = (record.clips, signature, record.gaps, record.notes, portraits)
            work.sources.put(TrackedSource(name, faces, *found))
            return
        failure = replace(record.failure, source=name)
        video = VideoPrediction(
            *(name, plan.model.label_set, ()),
            failure=failure,
            remarks=record.notes,
            signature=signature,
        )
        if plan.journal is not None:
            plan.journal.add(video, signature)
        faceless.append(video)

    if plan.config.faces_out is not None:
        # The names of clips come from the paths, so a kept store needs all of them.
        kept = StoredFaces(plan.crop.out)
        preprocess.run(
            replace(plan.crop, sources=places),
            progress,
            lambda record: hand_over(record, kept),
            plan.bugs,
        )
        compare_crops(read_dataset(plan.crop.out)["settings"], plan.model.card, progress)
        return faceless

    def hand_over_found(found: FoundFaces) -> None:
        hand_over(found.record, FacesInMemory(found.clips, found.crops))

    grid = TimeGrid(plan.config.window, int(plan.model.card.sampling["num_frames"]))
    own = replace(plan.crop, sources=places, overwrite=True)  # there is no store to resume
    detector = find_faces(own, left, grid, progress, hand_over_found, plan.bugs)
    made = {**to_plain(plan.crop), "detector": detector}
    compare_crops(made, plan.model.card, progress)
    return faceless


def _recognise_all(
    plan: Plan, work: _Work, progress: Progress, num_sources: int
) -> list[VideoPrediction]:
    """The work of the model's thread; it frees crops as soon as they have been used."""
    # Imports torch while the processes that find faces are starting.
    import_models()
    from dfercli.inference.compiling import for_windows
    from dfercli.prediction.model_on_ray import load_where_it_runs
    from dfercli.prediction.recognise import recognise

    def on_windows(count: int) -> None:
        work.windows_done += count

    videos = []
    sources = iter(work.sources.get, None)
    model = load_where_it_runs(plan.model, plan.crop)
    work.precision = model.precision
    long_work = for_windows(model.encoder, plan.config.compile, progress.note)
    maker = ViewMaker(plan.streams, model.image_size, progress)
    told = (plan.windows, work.stop, on_windows, plan.bugs, maker, long_work, num_sources)
    with model.looking_at(plan.streams.streams):
        for done in recognise(model, sources, *told):
            video = finish_source(plan, done, work.stop)
            videos.append(video)
            signature = done.source.signature  # of the results of this run
            if signature is not None and plan.journal is not None:
                plan.journal.add(video, signature)
            done.source.faces.release()
    return videos


def _wait(
    recognising: Future[list[VideoPrediction]], work: _Work, progress: Progress
) -> list[VideoPrediction]:
    """Wait for the model's thread, and show its progress."""
    with progress.task("recognising expressions (windows)") as task:
        shown = 0
        while not wait([recognising], timeout=LOOK_SECONDS).done:
            task.advance(work.windows_done - shown)
            shown = work.windows_done
        task.advance(work.windows_done - shown)
    return recognising.result()


def _finish(
    plan: Plan, videos: list[VideoPrediction], work: _Work, progress: Progress
) -> PredictResult:
    config, min_confidence = plan.config, plan.windows.min_confidence
    videos = sorted(videos, key=lambda video: video.source)
    if config.identities == "all":
        videos = with_people(videos, plan.known)
    videos = [checked_facts(plan, video) for video in videos]
    sections: list[dict[str, Any]] = []
    if config.html is not None:
        told_bug = partial(with_bug, plan)
        videos, sections = make_sections(videos, config.html, config, min_confidence, told_bug)
    events = tuple(row for video in videos for row in event_rows(video, plan.events))
    tell_outside(events, {video.source: video.length_seconds for video in videos}, progress)
    result = PredictResult(plan.model, tuple(videos), min_confidence, events, work.precision)
    write_tables(config, result)
    if config.html is not None:
        told = (min_confidence, work.precision)
        write_page(config.html, result.videos, sections, config, plan.model, *told)
    if config.export and config.out is not None:
        write_exports(config.out, config.export, result)
    write_record(config, result)
    if plan.journal is not None:
        plan.journal.remove()
    plan.bugs.tell(progress)
    return result
