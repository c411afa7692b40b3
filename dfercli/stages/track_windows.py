"""Recognise the tracks of many sources: batches of windows across tracks and sources."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dfercli.artifacts.face_store import ClipRow, frame_paths, read_track
from dfercli.artifacts.predictions import Box, WindowPrediction
from dfercli.data.augmentation import resize
from dfercli.data.loading import read_frames
from dfercli.errors import DataError
from dfercli.stages.loaded_model import LoadedModel
from dfercli.stages.windows import Window, windows_of
from dfercli.video.prefetch import prefetched

BATCHES_AHEAD = 2


@dataclass(frozen=True)
class WindowSettings:
    """How tracks are cut into windows, and when a prediction is certain enough.

    Attributes:
        window: Seconds that a window lasts.
        stride: Seconds from one window to the next.
        batch_size: Windows per forward pass.
        min_confidence: Below it a prediction is uncertain.
    """

    window: float
    stride: float
    batch_size: int
    min_confidence: float


@dataclass(frozen=True)
class TrackedSource:
    """A source whose faces are in a face store.

    Attributes:
        name: As predictions call it.
        store: The face store.
        clips: Its tracks.
    """

    name: str
    store: Path
    clips: tuple[ClipRow, ...]


@dataclass(frozen=True)
class RecognisedSource:
    """A source with a prediction for every window.

    Attributes:
        source: What it is.
        predictions: By track, then by time.
        failure: Why a part is missing, else None.
    """

    source: TrackedSource
    predictions: tuple[WindowPrediction, ...]
    failure: str | None


@dataclass
class _Open:
    """A source on its way: its windows in order, and what became of as many as are done."""

    source: TrackedSource
    windows: list[tuple[ClipRow, Window]] = field(default_factory=list)
    done: list[WindowPrediction | None] = field(default_factory=list)
    failure: str | None = None

    def close(self) -> RecognisedSource:
        predictions = tuple(prediction for prediction in self.done if prediction is not None)
        return RecognisedSource(self.source, predictions, self.failure)


_Item = tuple[_Open, ClipRow, Window, Tensor | None]


def recognise(
    model: LoadedModel,
    sources: Iterable[TrackedSource],
    settings: WindowSettings,
    stop: threading.Event,
    on_windows: Callable[[int], None],
) -> Iterator[RecognisedSource]:
    """Predict every window of every source, in the order of the sources.

    Frames are read in a thread while the model works; as many windows are in memory as a few
    batches hold. A window whose frames cannot be read is left out and makes its source a failure.

    Args:
        model: The model.
        sources: May come while this works.
        settings: How to cut windows.
        stop: Once set, nothing more is done.
        on_windows: Called with the number of windows done since the last call.
    """
    waiting: deque[_Open] = deque()
    items = _read_windows(sources, waiting, model, settings)
    for batch in prefetched(_batches(items, settings.batch_size), BATCHES_AHEAD):
        readable = [frames for _, _, _, frames in batch if frames is not None]
        rows = iter(model.probabilities(torch.stack(readable)).tolist() if readable else ())
        for opened, clip, window, frames in batch:
            done = None
            if frames is not None:
                done = _prediction(opened.source.name, clip, window, next(rows), model, settings)
            opened.done.append(done)
        on_windows(len(batch))
        if stop.is_set():
            return
        while waiting and len(waiting[0].done) == len(waiting[0].windows):
            yield waiting.popleft().close()
    while waiting:
        yield waiting.popleft().close()


def _batches(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_windows(
    sources: Iterable[TrackedSource],
    waiting: deque[_Open],
    model: LoadedModel,
    settings: WindowSettings,
) -> Iterator[_Item]:
    for source in sources:
        opened = _Open(source)
        paths_of: dict[str, list[Path]] = {}
        for clip in source.clips:
            try:
                track = read_track(source.store, clip.clip_id)
                paths_of[clip.clip_id] = frame_paths(source.store, clip)
                if len(track.frame_index) != clip.num_frames:
                    raise DataError(f"clip {clip.clip_id}: its track has another number of frames")
            except DataError as error:
                opened.failure = error.message
                continue
            found = windows_of(
                track,
                window=settings.window,
                stride=settings.stride,
                num_frames=model.num_frames,
            )
            opened.windows += [(clip, window) for window in found]
        waiting.append(opened)
        for clip, window in opened.windows:
            frames = None
            paths = paths_of[clip.clip_id]
            try:
                frames = read_frames([paths[number] for number in window.frames])
            except DataError as error:
                opened.failure = error.message
            yield opened, clip, window, None if frames is None else resize(frames, model.image_size)


def _prediction(
    source: str,
    clip: ClipRow,
    window: Window,
    probabilities: list[float],
    model: LoadedModel,
    settings: WindowSettings,
) -> WindowPrediction:
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    left, top, right, bottom = (round(float(side), 2) for side in window.mean_box_xyxy_px)
    box: Box = (left, top, right, bottom)
    return WindowPrediction(
        source=source,
        track=clip.track,
        start_seconds=round(window.start_seconds, 6),
        end_seconds=round(window.end_seconds, 6),
        label=model.label_set[best],
        confidence=probabilities[best],
        uncertain=probabilities[best] < settings.min_confidence,
        probabilities=tuple(probabilities),
        mean_box_xyxy_px=box,
    )
