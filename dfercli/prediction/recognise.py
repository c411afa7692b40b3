"""Recognise the tracks of many sources: batches of windows across tracks and sources."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dfercli.artifacts.bug_log import BUG_STAGE, BugLog
from dfercli.artifacts.face_store import ClipRow, FailureRow
from dfercli.artifacts.predictions import Box, WindowPrediction
from dfercli.attempts import Crash, SetUpError, attempt
from dfercli.errors import ArtifactError, DataError
from dfercli.inference.caption_tokens import caption_tokens
from dfercli.inference.compiling import LongWork
from dfercli.inference.loaded_model import LoadedModel
from dfercli.prediction.clip_faces import ClipCrops
from dfercli.prediction.streams import CAPTIONS, FRAMES, CropViews, ViewMaker
from dfercli.prediction.tracked_source import RecognisedSource, TrackedSource, WindowSettings
from dfercli.prediction.windows import Window, windows_of
from dfercli.video.prefetch import prefetched

BATCHES_AHEAD = 2
DoneT = TypeVar("DoneT")


@dataclass
class _Open:
    """A source in progress: its windows in order, and the results so far."""

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
    """A window with the views of its frames by their number in the track; None: not readable."""

    opened: _Open
    clip: ClipRow
    window: Window
    views: dict[int, CropViews] | None
    caption: str | None = None

    def frames(self) -> Iterator[tuple[tuple[str, str, int], CropViews]]:
        """The window's T frames, each with a name that is unique across sources."""
        if self.views is not None:
            for number in self.window.frames.tolist():
                yield (self.opened.source.name, self.clip.clip_id, number), self.views[number]

    def has(self, stream: str) -> bool:
        """Whether a frame of the window shows something in a stream."""
        return (
            self.caption is not None
            if stream == CAPTIONS
            else any(stream in views.found for _, views in self.frames())
        )


@dataclass(frozen=True)
class _Answer:
    """The model's answer to a window, and the streams that it saw."""

    probabilities: list[float]
    streams: tuple[str, ...]


def recognise(
    model: LoadedModel,
    sources: Iterable[TrackedSource],
    settings: WindowSettings,
    stop: threading.Event,
    on_windows: Callable[[int], None],
    bugs: BugLog,
    maker: ViewMaker,
    long_work: LongWork | None = None,
    num_sources: int = 0,
) -> Iterator[RecognisedSource]:
    """Predict every window of every source, in the order of the sources.

    A thread reads frames while the model works; memory holds only as many windows as a few
    batches hold. A window whose frames cannot be read is left out and makes its source a failure.

    Args:
        model: The model.
        sources: May still be arriving.
        settings: How to cut windows.
        stop: Ends the work once it is set.
        on_windows: Called with the number of windows done since the last call.
        bugs: Takes the traceback of a source that meets a bug.
        maker: Makes the views of crops for the model.
        long_work: Gets the time of windows and the number of waiting ones.
        num_sources: How many sources will come, if that is known.

    Raises:
        SetUpError: the model fails on every input.
    """
    waiting: deque[_Open] = deque()
    has_worked, closed = False, list[int]()
    items = _read_windows(sources, waiting, model, settings, bugs, maker)
    room = settings.batch_size * model.num_frames
    for batch in prefetched(_batches(items, room, model.shares_frames), BATCHES_AHEAD):
        readable = [item for item in batch if item.views is not None]
        begun = time.monotonic()
        answers = iter(_answers(model, readable, bugs, has_worked))
        seconds = time.monotonic() - begun
        for item in batch:
            row = None if item.views is None else next(answers)
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
    """Estimate how many windows will come; unread sources count like those read so far."""
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
    """Do a part of the work on a source; None if it fails, which becomes the source's failure."""
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
    """Log the first bug of a source; its other windows will most likely hit the same one."""
    if opened.failure is None or opened.failure.stage != BUG_STAGE:
        opened.fail(BUG_STAGE, bugs.add(opened.source.name, crash))


def _answers(
    model: LoadedModel, items: list[_Item], bugs: BugLog, has_worked: bool
) -> list[_Answer | None]:
    """The model's answers to windows; None where a window is at fault.

    Raises:
        SetUpError: the model fails, not a window of some source.
    """
    together = attempt(partial(_probabilities, model, items))
    if not isinstance(together, Crash):
        return list(together)
    alone = [attempt(partial(_probabilities, model, [item])) for item in items]
    failed = sum(isinstance(one, Crash) for one in alone)
    if failed == 0 or (failed == len(items) and not has_worked):
        raise SetUpError(together)
    answers: list[_Answer | None] = []
    for item, one in zip(items, alone, strict=True):
        if isinstance(one, Crash):
            _note_bug(item.opened, bugs, one)
        answers.append(None if isinstance(one, Crash) else one[0])
    return answers


def _probabilities(model: LoadedModel, items: list[_Item]) -> list[_Answer]:
    """The model's answers to windows; a shared frame is passed only once."""
    if not items:
        return []
    numbers: dict[tuple[str, str, int], int] = {}
    views: list[CropViews] = []
    clips = []
    for item in items:
        own = []
        for name, one in item.frames():
            if name not in numbers:
                numbers[name] = len(views)
                views.append(one)
            own.append(numbers[name])
        clips.append(own)
    streams = _streams(model, items, views)
    frames = torch.stack([one.frame for one in views])
    rows = model.probabilities_of_clips(frames, np.array(clips), **streams)
    sets = model.streams_of(len(items), streams)
    return [_Answer(row.tolist(), own) for row, own in zip(rows, sets, strict=True)]


def _streams(
    model: LoadedModel, items: list[_Item], views: list[CropViews]
) -> dict[str, tuple[Tensor, Tensor]]:
    """The further streams of windows: images of frames, or tokens; and which windows have them."""
    streams = {}
    for name in model.streams:
        if name == FRAMES or not any(item.has(name) for item in items):
            continue
        if name == CAPTIONS:
            captions = [item.caption for item in items]
            streams[name] = caption_tokens(captions, model.label_set, model.card.context_length)
            continue
        blank = torch.zeros_like(views[0].frame)
        images = torch.stack([one.images.get(name, blank) for one in views])
        streams[name] = (images, torch.tensor([item.has(name) for item in items]))
    return streams


def _read_windows(
    sources: Iterable[TrackedSource],
    waiting: deque[_Open],
    model: LoadedModel,
    settings: WindowSettings,
    bugs: BugLog,
    maker: ViewMaker,
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
        for clip, own in groupby(opened.windows, key=lambda pair: pair[0]):
            views: dict[int, CropViews] = {}  # of the previous windows, often shared with the next
            windows_of_clip = (window for _, window in own)
            while group := list(islice(windows_of_clip, maker.windows_at_once)):
                crops = crops_of[clip.clip_id]
                yield from _items(opened, clip, group, crops, views, maker, bugs)


def _items(
    opened: _Open,
    clip: ClipRow,
    windows: list[Window],
    crops: ClipCrops,
    views: dict[int, CropViews],
    maker: ViewMaker,
    bugs: BugLog,
) -> Iterator[_Item]:
    """Windows of one clip, whose views are made together; `views` keeps the latest ones."""
    wanted = {row for window in windows for row in window.frames.tolist()}
    new = sorted(wanted - views.keys())
    on_bug = partial(_note_bug, opened, bugs)
    fresh = _part(opened, bugs, partial(maker.views, crops, new, on_bug)) if new else []
    if fresh is None and len(windows) > 1:  # which window is at fault?
        for window in windows:
            yield from _items(opened, clip, [window], crops, views, maker, bugs)
        return
    if fresh is None:
        yield _Item(opened, clip, windows[0], None)
        return
    views.update(zip(new, fresh, strict=True))
    for row in views.keys() - wanted:
        del views[row]
    for item in _with_captions(opened, clip, windows, views, maker, bugs):
        if (
            item.views
            and FRAMES not in maker.plan.streams
            and not any(map(item.has, maker.plan.streams))
        ):
            opened.fail("predict", f"windows without {' and '.join(maker.plan.streams)}")
            item = replace(item, views=None)
        yield item


def _with_captions(
    opened: _Open,
    clip: ClipRow,
    windows: list[Window],
    views: dict[int, CropViews],
    maker: ViewMaker,
    bugs: BugLog,
) -> list[_Item]:
    items = [
        _Item(opened, clip, window, {row: views[row] for row in window.frames.tolist()})
        for window in windows
    ]
    writer = maker.plan.captions
    if writer is None:
        return items
    shown = [
        (opened.source.name, [one.frame.permute(1, 2, 0).numpy() for _, one in item.frames()])
        for item in items
    ]
    on_bug = partial(_note_bug, opened, bugs)
    texts = _part(opened, bugs, partial(writer.write, shown, on_bug))
    return [
        replace(item, caption=text)
        for item, text in zip(items, texts or [None] * len(items), strict=True)
    ]


def _windows_of(
    source: TrackedSource, clip: ClipRow, model: LoadedModel, settings: WindowSettings
) -> tuple[ClipCrops, list[Window]]:
    """The crops of a clip and its windows."""
    crops = source.faces.crops(clip)
    windows = windows_of(
        crops.track, window=settings.window, stride=settings.stride, num_frames=model.num_frames
    )
    return crops, list(windows)


def _prediction(
    item: _Item, answer: _Answer, model: LoadedModel, settings: WindowSettings
) -> WindowPrediction:
    window, probabilities = item.window, answer.probabilities
    threshold = model.threshold(answer.streams, settings.asked_confidence)
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
        uncertain=probabilities[best] < threshold,
        probabilities=tuple(probabilities),
        mean_box_xyxy_px=box,
        person=item.clip.person,
        streams=answer.streams,
    )
