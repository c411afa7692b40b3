"""Recognise the tracks of many sources: batches of windows across tracks and sources."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dfercli.artifacts.bug_log import BUG_STAGE, BugLog
from dfercli.artifacts.face_store import ClipRow, FailureRow
from dfercli.artifacts.predictions import Box, WindowPrediction
from dfercli.attempts import Crash, SetUpError, attempt
from dfercli.data.augmentation import resize
from dfercli.errors import ArtifactError, DataError
from dfercli.inference.compiling import LongWork
from dfercli.inference.loaded_model import LoadedModel
from dfercli.prediction.clip_faces import ClipCrops
from dfercli.prediction.tracked_source import RecognisedSource, TrackedSource, WindowSettings
from dfercli.prediction.windows import Window, windows_of
from dfercli.video.prefetch import prefetched

BATCHES_AHEAD = 2
DoneT = TypeVar("DoneT")


@dataclass
class _Open:
    """A source in progress: its windows in order, and the results of those that are done."""

    source: TrackedSource
    windows: list[tuple[ClipRow, Window]] = field(default_factory=list)
    done: list[WindowPrediction | None] = field(default_factory=list)
    failure: FailureRow | None = None

    def fail(self, stage: str, reason: str) -> None:
        self.failure = FailureRow(self.source.name, stage, reason)

    def close(self) -> RecognisedSource:
        predictions = tuple(prediction for prediction in self.done if prediction is not None)
        return RecognisedSource(self.source, predictions, self.failure)


@dataclass(frozen=True)
class _Item:
    """A window with its frames, resized, by their number in the track; None: not readable."""

    opened: _Open
    clip: ClipRow
    window: Window
    images: dict[int, Tensor] | None

    def frames(self) -> Iterator[tuple[tuple[str, str, int], Tensor]]:
        """The window's T frames, each with a name that is unique across sources."""
        if self.images is not None:
            for number in self.window.frames.tolist():
                yield (self.opened.source.name, self.clip.clip_id, number), self.images[number]


def recognise(
    model: LoadedModel,
    sources: Iterable[TrackedSource],
    settings: WindowSettings,
    stop: threading.Event,
    on_windows: Callable[[int], None],
    bugs: BugLog,
    long_work: LongWork | None = None,
    num_sources: int = 0,
) -> Iterator[RecognisedSource]:
    """Predict every window of every source, in the order of the sources.

    Frames are read in a thread while the model works; as many windows are in memory as a few
    batches hold. A window whose frames cannot be read is left out and makes its source a failure.

    Args:
        model: The model.
        sources: May still be arriving.
        settings: How to cut windows.
        stop: Once set, the work ends.
        on_windows: Called with the number of windows done since the last call.
        bugs: Takes the traceback of a source that meets a bug.
        long_work: Told how long windows take, and how many wait.
        num_sources: How many sources will come, as far as that is known.

    Raises:
        SetUpError: the model fails at whatever it is shown.
    """
    waiting: deque[_Open] = deque()
    has_worked, closed = False, list[int]()
    items = _read_windows(sources, waiting, model, settings, bugs)
    room = settings.batch_size * model.num_frames
    for batch in prefetched(_batches(items, room, model.shares_frames), BATCHES_AHEAD):
        readable = [item for item in batch if item.images is not None]
        begun = time.monotonic()
        answers = iter(_answers(model, readable, bugs, has_worked))
        seconds = time.monotonic() - begun
        for item in batch:
            row = None if item.images is None else next(answers)
            done = None
            if row is not None:
                has_worked = True
                done = _part(item.opened, bugs, partial(_prediction, item, row, model, settings))
            item.opened.done.append(done)
        on_windows(len(batch))
        if long_work is not None:
            long_work.done(len(batch), seconds, _windows_left(waiting, closed, num_sources))
        if stop.is_set():
            return
        while waiting and len(waiting[0].done) == len(waiting[0].windows):
            closed.append(len(waiting[0].windows))
            yield waiting.popleft().close()
    while waiting:
        yield waiting.popleft().close()


def _windows_left(waiting: Iterable[_Open], closed: list[int], num_sources: int) -> int:
    """How many windows will come: those of sources that were read, and as many of each other."""
    opened = list(waiting)
    known = [*closed, *(len(source.windows) for source in opened)]
    left = sum(len(source.windows) - len(source.done) for source in opened)
    return left + max(0, num_sources - len(known)) * sum(known) // len(known)


def _batches(items: Iterator[_Item], room: int, shares_frames: bool) -> Iterator[list[_Item]]:
    """Gather windows until the model would have more than `room` frames to encode."""
    batch: list[_Item] = []
    names: set[tuple[str, str, int]] = set()
    taken = 0
    for item in items:
        own = [name for name, _ in item.frames()]
        more = len(set(own) - names) if shares_frames else len(own)
        if batch and taken + more > room:
            yield batch
            batch, names, taken = [], set(), 0
            more = len(set(own)) if shares_frames else len(own)
        batch.append(item)
        names.update(own)
        taken += more
    if batch:
        yield batch


def _part(opened: _Open, bugs: BugLog, work: Callable[[], DoneT]) -> DoneT | None:
    """Do a part of the work on a source; None where that fails, which is the source's failure."""
    try:
        done = attempt(work)
    except (ArtifactError, DataError) as error:
        opened.fail("predict", error.message)
        return None
    if not isinstance(done, Crash):
        return done
    _note_bug(opened, bugs, done)
    return None


def _note_bug(opened: _Open, bugs: BugLog, crash: Crash) -> None:
    """Log the first bug of a source; its other windows will most likely meet the same."""
    if opened.failure is None or opened.failure.stage != BUG_STAGE:
        opened.fail(BUG_STAGE, bugs.add(opened.source.name, crash))


def _answers(
    model: LoadedModel, items: list[_Item], bugs: BugLog, has_worked: bool
) -> list[list[float] | None]:
    """What the model says to windows; None where a window is at fault.

    Raises:
        SetUpError: it is the model that fails, not a window of some source.
    """
    together = attempt(partial(_probabilities, model, items))
    if not isinstance(together, Crash):
        return list(together)
    alone = [attempt(partial(_probabilities, model, [item])) for item in items]
    failed = sum(isinstance(one, Crash) for one in alone)
    if failed == 0 or (failed == len(items) and not has_worked):
        raise SetUpError(together)
    answers: list[list[float] | None] = []
    for item, one in zip(items, alone, strict=True):
        if isinstance(one, Crash):
            _note_bug(item.opened, bugs, one)
        answers.append(None if isinstance(one, Crash) else one[0])
    return answers


def _probabilities(model: LoadedModel, items: list[_Item]) -> list[list[float]]:
    """The model's probabilities of windows; a frame that several of them share is passed once."""
    if not items:
        return []
    numbers: dict[tuple[str, str, int], int] = {}
    images: list[Tensor] = []
    clips = []
    for item in items:
        own = []
        for name, image in item.frames():
            if name not in numbers:
                numbers[name] = len(images)
                images.append(image)
            own.append(numbers[name])
        clips.append(own)
    rows = model.probabilities_of_clips(torch.stack(images), np.array(clips))
    return [row.tolist() for row in rows]


def _read_windows(
    sources: Iterable[TrackedSource],
    waiting: deque[_Open],
    model: LoadedModel,
    settings: WindowSettings,
    bugs: BugLog,
) -> Iterator[_Item]:
    for source in sources:
        opened = _Open(source)
        crops_of: dict[str, ClipCrops] = {}
        for clip in source.clips:
            found = _part(opened, bugs, partial(_windows_of, source, clip, model, settings))
            if found is not None:
                crops_of[clip.clip_id], windows = found
                opened.windows += [(clip, window) for window in windows]
        waiting.append(opened)
        seen = ""
        images: dict[int, Tensor] = {}  # of the window before, often shared with the next
        for clip, window in opened.windows:
            images = images if clip.clip_id == seen else {}
            crops, numbers = crops_of[clip.clip_id], window.frames.tolist()
            seen, new = clip.clip_id, sorted(set(numbers) - images.keys())
            read = partial(_resized, crops, new, model)
            fresh = _part(opened, bugs, read)
            if fresh is None:
                yield _Item(opened, clip, window, None)
                continue
            images |= zip(new, fresh, strict=True)
            images = {number: images[number] for number in numbers}
            yield _Item(opened, clip, window, images)


def _windows_of(
    source: TrackedSource, clip: ClipRow, model: LoadedModel, settings: WindowSettings
) -> tuple[ClipCrops, list[Window]]:
    """The crops of a clip and its windows."""
    crops = source.faces.crops(clip)
    windows = windows_of(
        crops.track, window=settings.window, stride=settings.stride, num_frames=model.num_frames
    )
    return crops, list(windows)


def _resized(crops: ClipCrops, rows: list[int], model: LoadedModel) -> list[Tensor]:
    """Crops as the model takes them, each (3, H, W)."""
    return list(resize(crops.read(rows), model.image_size)) if rows else []


def _prediction(
    item: _Item, probabilities: list[float], model: LoadedModel, settings: WindowSettings
) -> WindowPrediction:
    window = item.window
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    left, top, right, bottom = (round(float(side), 2) for side in window.mean_box_xyxy_px)
    box: Box = (left, top, right, bottom)
    return WindowPrediction(
        source=item.opened.source.name,
        track=item.clip.track,
        start_seconds=round(window.start_seconds, 6),
        end_seconds=round(window.end_seconds, 6),
        label=model.label_set[best],
        confidence=probabilities[best],
        uncertain=probabilities[best] < settings.min_confidence,
        probabilities=tuple(probabilities),
        mean_box_xyxy_px=box,
        person=item.clip.person,
    )
