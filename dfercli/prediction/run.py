"""`dfer predict`: who shows what, and when, in any videos."""

import os
import queue
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfercli.artifacts.face_store import FailureRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.predictions import WindowPrediction, write_predictions
from dfercli.artifacts.removing import remove_inside
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PredictConfig, PreprocessConfig
from dfercli.errors import ArtifactError, DataError
from dfercli.inference.choose_model import ChosenModel, choose_model, ready_choice
from dfercli.overrides import to_plain
from dfercli.prediction.face_source import (
    compare_crops,
    preprocess_config,
    shown_path,
    sources_of_store,
    split_places,
)
from dfercli.prediction.journal import Journal, faces_folder, settings_digest, work_folder
from dfercli.prediction.moments import strongest_moments
from dfercli.prediction.outputs import annotated_path, check_config, check_outputs, failures_path
from dfercli.prediction.players import write_page
from dfercli.prediction.tracked_source import RecognisedSource, TrackedSource, WindowSettings
from dfercli.preprocessing import run as preprocess
from dfercli.progress import Progress
from dfercli.report.timeline import gaps_of
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.probe import probe_video
from dfercli.video.sources import Source, find_sources

if TYPE_CHECKING:
    from dfercli.inference.loaded_model import LoadedModel

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class PredictResult:
    """What `dfer predict` found.

    Attributes:
        model: The model that was used.
        videos: One per source, by name.
        min_confidence: The threshold below which a prediction counts as uncertain.
    """

    model: ChosenModel
    videos: tuple[VideoPrediction, ...]
    min_confidence: float

    @property
    def failures(self) -> tuple[FailureRow, ...]:
        """Why sources could not be used, wholly or in part."""
        return tuple(video.failure for video in self.videos if video.failure is not None)

    def predictions(self) -> Iterator[WindowPrediction]:
        """All predictions, by source, track and time."""
        for video in self.videos:
            yield from video.predictions

    def to_json(self) -> dict[str, Any]:
        """What `dfer predict --json` prints."""
        labels = self.model.label_set
        return {
            "model": self.model.name,
            "label_set": list(labels),
            "min_confidence": self.min_confidence,
            "predictions": [prediction.to_row(labels) for prediction in self.predictions()],
            "videos": [video.to_json() for video in self.videos],
            "failures": [failure.to_row() for failure in self.failures],
        }


@dataclass
class _Work:
    """State shared by the two threads: sources that have faces, and the model's progress."""

    sources: "queue.SimpleQueue[TrackedSource | None]" = field(default_factory=queue.SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)
    windows_done: int = 0


@dataclass(frozen=True)
class _Plan:
    """What to do with each source.

    Attributes:
        config: The settings.
        model: The model, to be loaded while faces are found.
        windows: How tracks are cut.
        store: Where faces are put.
        crop: Settings of the preprocess stage.
        journal: Where finished sources are put down, if there will be a table.
    """

    config: PredictConfig
    model: ChosenModel
    windows: WindowSettings
    store: Path
    crop: PreprocessConfig
    journal: Journal | None


def run(
    config: PredictConfig, progress: Progress, model: "LoadedModel | None" = None
) -> PredictResult:
    """Recognise expressions in videos and face stores.

    Faces are found and cropped by the preprocess stage, in processes of its own, while the model
    is loaded and works on the sources before. A source that cannot be used is a failure in the
    result, never an exception. With a table to write, a run that was stopped goes on where it was.

    Args:
        config: Settings.
        progress: Where to report.
        model: Used instead of the one that `config` names.

    Raises:
        ConfigError: settings that make no sense.
        DataError: no source at all.
        ArtifactError: a model that cannot be used, or a file that cannot be written.
    """
    check_config(config)
    places, stores = split_places(config.sources)
    sources = find_sources(places, progress.note) if places else []
    ready = [source for store in stores for source in sources_of_store(store)]
    check_outputs(config, len(sources) + len(ready))
    chosen = choose_model(config, progress) if model is None else ready_choice(model)
    for store in stores:
        compare_crops(store, chosen.card, progress)
    with ExitStack() as stack:
        for path in (config.out, config.html, config.video):
            if path is not None:
                stack.enter_context(writing_file(path))
        store = _store_for(config, stack)
        crop = preprocess_config(config, chosen.card, store)
        journal = _open_journal(config, chosen, crop)
        plan = _Plan(config, chosen, _window_settings(config, chosen), store, crop, journal)
        done = {} if journal is None else journal.done
        kept, left = _divide(done, sources, store)
        if kept:
            progress.note(f"{len(kept)} of {len(sources)} sources were done before")
        work = _Work()
        thread = stack.enter_context(ThreadPoolExecutor(1, "recognise"))
        stack.callback(work.sources.put, None)
        stack.callback(work.stop.set)
        recognising = thread.submit(_recognise_all, plan, work)
        for tracked in ready:
            work.sources.put(tracked)
        faceless: list[VideoPrediction] = []
        if left:
            # The names of clips come from the places, so a store that is kept needs all of them.
            again = places if config.faces_out else tuple(str(source.path) for source in left)
            faceless = _find_faces(plan, again, set(done), work, recognising, progress)
        work.sources.put(None)
        videos = [*kept, *faceless, *_wait(recognising, work, progress)]
        return _finish(plan, videos, progress)


def _store_for(config: PredictConfig, stack: ExitStack) -> Path:
    """Where to put faces: to keep them, beside the table until it is written, or for this run."""
    if config.faces_out is not None:
        return config.faces_out
    if config.out is not None:
        return faces_folder(work_folder(config.out))
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dfer-faces-")))


def _divide(
    done: Mapping[str, VideoPrediction], sources: Iterable[Source], store: Path
) -> tuple[list[VideoPrediction], list[Source]]:
    """The results of those of `sources` that are done, and the rest."""
    by_name = {shown_path(store, str(source.path)): source for source in sources}
    kept = [video for name, video in done.items() if name in by_name]
    return kept, [source for name, source in by_name.items() if name not in done]


def _window_settings(config: PredictConfig, model: ChosenModel) -> WindowSettings:
    threshold = model.card.threshold(config.min_confidence)
    return WindowSettings(config.window, config.stride, config.batch_size, threshold)


def _open_journal(
    config: PredictConfig, model: ChosenModel, crop: PreprocessConfig
) -> Journal | None:
    if config.out is None:
        return None
    own = {**to_plain(crop), "out": None, "workers": None}
    asked = {
        name: to_plain(config)[name]
        for name in ("window", "stride", "min_confidence", "video", "html")
    }
    digest = settings_digest([model.name, model.card.to_json(), own, asked])
    return Journal(work_folder(config.out), digest)


def _find_faces(
    plan: _Plan,
    places: tuple[str, ...],
    done: set[str],
    work: _Work,
    recognising: Future[list[VideoPrediction]],
    progress: Progress,
) -> list[VideoPrediction]:
    """Preprocess videos, hand each to the model at once; return those that have no face."""
    faceless = []

    def hand_over(record: SourceRecord) -> None:
        if recognising.done():
            recognising.result()  # raises the thread's exception
        name = shown_path(plan.store, record.source)
        if name in done:
            return
        if record.failure is None:
            work.sources.put(TrackedSource(name, plan.store, record.clips))
            return
        failure = replace(record.failure, source=name)
        video = VideoPrediction(name, plan.model.label_set, (), failure=failure)
        if plan.journal is not None and failure.stage != "worker":
            plan.journal.add(video)
        faceless.append(video)

    preprocess.run(replace(plan.crop, sources=places), progress, hand_over)
    compare_crops(plan.store, plan.model.card, progress)
    return faceless


def _recognise_all(plan: _Plan, work: _Work) -> list[VideoPrediction]:
    """The work of the model's thread; temporary crops are removed as soon as they were used."""
    # Imports torch while the processes that find faces are starting.
    from dfercli.prediction.recognise import recognise

    def on_windows(count: int) -> None:
        work.windows_done += count

    videos = []
    sources = iter(work.sources.get, None)
    for done in recognise(plan.model.load(), sources, plan.windows, work.stop, on_windows):
        video = _finish_source(plan, done, work.stop)
        videos.append(video)
        is_ours = done.source.store == plan.store
        if is_ours and plan.journal is not None:
            plan.journal.add(video)
        if is_ours and plan.config.faces_out is None:
            for clip in done.source.clips:
                remove_inside(plan.store, "frames", clip.clip_id)
    return videos


def _finish_source(plan: _Plan, done: RecognisedSource, stop: threading.Event) -> VideoPrediction:
    """Collect the results of a source, and write its annotated video if asked for."""
    config, source = plan.config, done.source
    facts = probe_video(Path(os.path.abspath(source.name)))
    last = max((window.end_seconds for window in done.predictions), default=0.0)
    length = max(last, facts.seconds or 0.0) if facts is not None else last
    end = length if config.end is None else min(config.end, length)
    failure = done.failure and FailureRow(source.name, "predict", done.failure)
    video = VideoPrediction(
        source.name,
        plan.model.label_set,
        done.predictions,
        tuple(gaps_of(done.predictions, config.start, end)),
        failure or None,
        detector=source.clips[0].detector if source.clips else None,
    )
    out = config.video and annotated_path(config.video, source)
    try:
        if config.html is not None:
            video = replace(video, moments=strongest_moments(source, done.predictions))
        if out is not None:
            from dfercli.prediction.annotate import annotate

            annotate(
                source,
                video,
                out,
                length_seconds=length,
                min_confidence=plan.windows.min_confidence,
                stop=stop,
                start=config.start,
                end=config.end,
                max_pixels=config.max_pixels,
            )
            video = replace(video, annotated=str(out))
    except (DataError, ArtifactError) as error:
        if stop.is_set():
            raise  # abandoned, not failed
        video = replace(video, failure=FailureRow(source.name, "annotate", error.message))
    return video


def _wait(
    recognising: Future[list[VideoPrediction]], work: _Work, progress: Progress
) -> list[VideoPrediction]:
    """Wait for the model's thread, and show its progress."""
    with progress.task("recognising expressions (windows)") as task:
        shown = 0
        while not wait([recognising], timeout=LOOK_SECONDS).done:
            task.advance(work.windows_done - shown)
            shown = work.windows_done
    return recognising.result()


def _finish(plan: _Plan, videos: list[VideoPrediction], progress: Progress) -> PredictResult:
    result = PredictResult(
        model=plan.model,
        videos=tuple(sorted(videos, key=lambda video: video.source)),
        min_confidence=plan.windows.min_confidence,
    )
    if plan.config.out is not None:
        write_predictions(plan.config.out, result.predictions(), plan.model.label_set)
        beside = failures_path(plan.config.out)
        if result.failures:
            write_rows(beside, (failure.to_row() for failure in result.failures))
        else:
            beside.unlink(missing_ok=True)
    if plan.config.html is not None:
        write_page(
            plan.config.html,
            result.videos,
            plan.config,
            plan.model,
            result.min_confidence,
        )
    if plan.journal is not None:
        plan.journal.remove()
    return result
