"""`dfer predict`: who shows what, and when, in any videos."""

import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfercli.artifacts.face_store import FailureRow, read_dataset
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.predictions import (
    WindowPrediction,
    check_table_path,
    columns,
    write_predictions,
)
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PredictConfig
from dfercli.errors import ConfigError
from dfercli.progress import Progress
from dfercli.report.timeline import Interval, Span, Timeline, build_timelines, gaps_of, spans_of
from dfercli.stages import preprocess
from dfercli.stages.choose_model import choose_model
from dfercli.stages.face_source import (
    compare_crops,
    preprocess_config,
    shown_path,
    sources_of_store,
    split_places,
)
from dfercli.stages.loaded_model import LoadedModel
from dfercli.stages.track_windows import (
    RecognisedSource,
    TrackedSource,
    WindowSettings,
    recognise,
)
from dfercli.stages.windows import check_windows
from dfercli.video.probe import probe_video
from dfercli.video.sources import find_sources

if TYPE_CHECKING:
    import pandas as pd

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class VideoPrediction:
    """What the faces of one video show.

    Attributes:
        source: The video.
        label_set: The K class names.
        predictions: One per face track and window, by track, then by time.
        gaps: Stretches (start, end) in seconds in which no face was seen.
        failure: Why the video, or a part of it, could not be used; else None.
    """

    source: str
    label_set: tuple[str, ...]
    predictions: tuple[WindowPrediction, ...]
    gaps: tuple[Interval, ...] = ()
    failure: str | None = None

    def timelines(self) -> list[Timeline]:
        """One course of time per face track."""
        return build_timelines(self.predictions)

    def spans(self) -> list[Span]:
        """Who shows what, and when: by track, then by time."""
        return [span for timeline in self.timelines() for span in spans_of(timeline)]

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per face track and window, with the columns of `dfer predict --out`."""
        import pandas as pd

        rows = [prediction.to_row(self.label_set) for prediction in self.predictions]
        return pd.DataFrame(rows, columns=columns(self.label_set))

    def to_json(self) -> dict[str, Any]:
        """The summary: per track its mean over time; gaps; the failure."""
        tracks = []
        for timeline in self.timelines():
            mean = dict(zip(self.label_set, timeline.mean().tolist(), strict=True))
            label = max(mean, key=mean.__getitem__)
            tracks.append(
                {
                    "track": timeline.track,
                    "start_seconds": float(timeline.edges_seconds[0]),
                    "end_seconds": float(timeline.edges_seconds[-1]),
                    "seen_seconds": timeline.seen_seconds,
                    "label": label,
                    "confidence": mean[label],
                    "probabilities": mean,
                }
            )
        return {
            "source": self.source,
            "tracks": tracks,
            "gaps_seconds": [list(gap) for gap in self.gaps],
            "failure": self.failure,
        }


@dataclass(frozen=True)
class PredictResult:
    """What `dfer predict` found.

    Attributes:
        model: The model that was used.
        videos: One per source, by name.
        failures: The sources that could not be used, wholly or in part.
        min_confidence: The threshold below which a prediction counts as uncertain.
    """

    model: LoadedModel
    videos: tuple[VideoPrediction, ...]
    failures: tuple[FailureRow, ...]
    min_confidence: float

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
    """What the two threads share: sources that have faces, and how far the model has come."""

    sources: "queue.SimpleQueue[TrackedSource | None]" = field(default_factory=queue.SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)
    windows_done: int = 0


def run(
    config: PredictConfig, progress: Progress, model: LoadedModel | None = None
) -> PredictResult:
    """Recognise expressions in videos and face stores.

    Faces are found and cropped by the preprocess stage, in processes of its own, while the model
    works on the sources before. A source that cannot be used is a failure in the result, never an
    exception.

    Args:
        config: Settings.
        progress: Where to report.
        model: Used instead of the one that `config` names.

    Raises:
        ConfigError: settings that make no sense.
        DataError: no source at all.
        ArtifactError: a model that cannot be used, or a file that cannot be written.
    """
    _check(config)
    places, stores = split_places(config.sources)
    ready_sources = [source for store in stores for source in sources_of_store(store)]
    if places:
        find_sources(places)  # a misspelt name is said before a model is fetched
    model = model or choose_model(config, progress)
    for store in stores:
        compare_crops(store, model.card, progress)
    settings = _window_settings(config, model)
    work = _Work()
    with ExitStack() as stack:
        store = config.faces_out or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="dfer-faces-"))
        )
        thread = stack.enter_context(ThreadPoolExecutor(1, "recognise"))
        stack.callback(work.sources.put, None)
        stack.callback(work.stop.set)
        keep_crops = config.faces_out is not None
        recognising = thread.submit(
            _recognise_all, model, settings, work, None if keep_crops else store
        )
        for source in ready_sources:
            work.sources.put(source)
        failures: list[FailureRow] = []
        if places:
            failures = _find_faces(config, places, store, model, work, recognising, progress)
        work.sources.put(None)
        videos = _wait(recognising, work, progress)
    return _finish(config, model, settings, videos, failures)


def _check(config: PredictConfig) -> None:
    if not config.sources:
        raise ConfigError("no source given: name videos, folders, globs or a face store")
    check_windows(config.window, config.stride)
    if config.batch_size < 1:
        raise ConfigError(f"--batch-size must be positive, got {config.batch_size}")
    if config.min_confidence is not None and not 0 <= config.min_confidence <= 1:
        raise ConfigError(f"--min-confidence lies in 0 to 1, got {config.min_confidence:g}")
    if config.out is not None:
        check_table_path(config.out)


def _window_settings(config: PredictConfig, model: LoadedModel) -> WindowSettings:
    threshold = config.min_confidence
    if threshold is None:
        threshold = float(model.card.calibration.get("min_confidence", 0.0))
    return WindowSettings(config.window, config.stride, config.batch_size, threshold)


def _find_faces(
    config: PredictConfig,
    places: tuple[str, ...],
    store: Path,
    model: LoadedModel,
    work: _Work,
    recognising: "Future[list[VideoPrediction]]",
    progress: Progress,
) -> list[FailureRow]:
    """Preprocess all videos into `store`, and hand each to the model as soon as it is done."""

    def hand_over(record: SourceRecord) -> None:
        if recognising.done():
            recognising.result()  # raises what went wrong there
        if record.clips:
            name = shown_path(store, record.source)
            work.sources.put(TrackedSource(name, store, record.clips))

    settings = replace(preprocess_config(config, model.card, store), sources=places)
    result = preprocess.run(settings, progress, hand_over)
    if read_dataset(store).get("settings"):
        compare_crops(store, model.card, progress)
    return [
        replace(failure, source=shown_path(store, failure.source)) for failure in result.failures
    ]


def _recognise_all(
    model: LoadedModel, settings: WindowSettings, work: _Work, temporary_store: Path | None
) -> list[VideoPrediction]:
    """The work of the model's thread; crops in a temporary store go as soon as they were seen."""

    def on_windows(count: int) -> None:
        work.windows_done += count

    sources = iter(work.sources.get, None)
    videos = []
    for done in recognise(model, sources, settings, work.stop, on_windows):
        videos.append(_video(done, model.label_set))
        if done.source.store == temporary_store:
            for clip in done.source.clips:
                shutil.rmtree(temporary_store / "frames" / clip.clip_id, ignore_errors=True)
    return videos


def _video(done: RecognisedSource, label_set: tuple[str, ...]) -> VideoPrediction:
    facts = probe_video(Path(os.path.abspath(done.source.name)))
    last = max((window.end_seconds for window in done.predictions), default=0.0)
    end = max(last, facts.seconds or 0.0) if facts is not None else last
    gaps = tuple(gaps_of(done.predictions, 0.0, end))
    return VideoPrediction(done.source.name, label_set, done.predictions, gaps, done.failure)


def _wait(
    recognising: "Future[list[VideoPrediction]]", work: _Work, progress: Progress
) -> list[VideoPrediction]:
    """Wait for the model's thread, and show how far it is."""
    with progress.task("recognising expressions") as task:
        shown = 0
        while not wait([recognising], timeout=LOOK_SECONDS).done:
            task.advance(work.windows_done - shown)
            shown = work.windows_done
    return recognising.result()


def _finish(
    config: PredictConfig,
    model: LoadedModel,
    settings: WindowSettings,
    videos: list[VideoPrediction],
    failures: list[FailureRow],
) -> PredictResult:
    broken = [FailureRow(v.source, "predict", v.failure) for v in videos if v.failure is not None]
    result = PredictResult(
        model=model,
        videos=tuple(sorted(videos, key=lambda video: video.source)),
        failures=tuple(sorted([*failures, *broken], key=lambda failure: failure.source)),
        min_confidence=settings.min_confidence,
    )
    if config.out is not None:
        write_predictions(config.out, result.predictions(), model.label_set)
        beside = failures_path(config.out)
        if result.failures:
            write_rows(beside, (failure.to_row() for failure in result.failures))
        else:
            beside.unlink(missing_ok=True)
    return result


def failures_path(out: Path) -> Path:
    """Where the failures lie that belong to a table of predictions."""
    return out.with_name(f"{out.stem}.failures.jsonl")
