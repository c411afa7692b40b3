"""The streams of a model besides the frames, made for the crops that windows look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.parts_record import parts_made
from dfercli.attempts import Crash, attempt
from dfercli.config import PredictConfig, PreprocessConfig
from dfercli.errors import ConfigError, DferError
from dfercli.faces.stream_maker import (
    FIVE,
    IMAGE_STREAMS,
    StreamMaker,
    StreamSetting,
    from_made,
    regions,
    yunet_of,
)
from dfercli.prediction.clip_faces import ClipCrops
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.progress import Progress
from dfercli.video.probe import probe_video
from dfercli.video.sources import Source

if TYPE_CHECKING:
    from torch import Tensor

    from dfercli.prediction.window_captions import WindowCaptions

FRAMES, CAPTIONS = "frames", "captions"
WINDOWS_AT_ONCE = 8
GIVEN_UP_AFTER = 3
"""Bugs in a row after which a stream is given up."""
Made = NDArray[np.float32] | list[NDArray[np.uint8]]
"""Landmarks (n, 68 or 5, 2) of n crops, or n maps."""


@dataclass(frozen=True)
class StreamPlan:
    """Which streams to use, and how to make those that are not stored.

    Attributes:
        streams: Those to use where they are available, in the order of the training.
        settings: How to make each of `IMAGE_STREAMS`, without those that cannot be made here.
        captions: Writes captions, if they are asked for.
    """

    streams: tuple[str, ...]
    settings: Mapping[str, StreamSetting]
    captions: "WindowCaptions | None" = None

    @property
    def expected(self) -> tuple[str, ...]:
        """The streams of a window if nothing fails."""
        return tuple(
            name
            for name in self.streams
            if name == FRAMES
            or name in self.settings
            or (name == CAPTIONS and self.captions is not None)
        )

    def as_text(self) -> str:
        """All that decides which streams a window gets, for a run that goes on."""
        made = [f"{name} {how.how_made()[name]}" for name, how in sorted(self.settings.items())]
        captions = [] if self.captions is None else [self.captions.model]
        return "; ".join([*self.streams, *made, *captions])


def plan_streams(
    config: PredictConfig,
    card: ModelCard,
    crop: PreprocessConfig,
    stores: Sequence[Path],
    progress: Progress,
) -> StreamPlan:
    """Find what makes the streams of a model, before any work; note each that is missing.

    Args:
        config: Settings; `streams` restricts the streams, `captions` asks an LLM.
        card: Of the model.
        crop: How faces are cropped.
        stores: Face stores; their own streams are used if they have them.
        progress: Where to report.

    Raises:
        ConfigError: streams that the model was not trained on, or captions without an LLM.
    """
    if unknown := [name for name in config.streams if name not in card.streams]:
        raise ConfigError(
            f"--streams {','.join(unknown)}: the model was trained on {', '.join(card.streams)}"
        )
    if config.captions and CAPTIONS not in card.streams:
        raise ConfigError(f"--captions: the model was trained on {', '.join(card.streams)}")
    streams = tuple(name for name in card.streams if name in (config.streams or card.streams))
    device = "cpu"
    if len(card.streams) > 1:
        from dfercli.inference.devices import resolve_device  # with PyTorch

        device = str(resolve_device(config.device).type)
    settings: dict[str, StreamSetting] = {}
    stored = {name for store in stores for name in parts_made(store)}
    for name in IMAGE_STREAMS:
        if name not in streams:
            continue
        made = card.streams_made.get(name)
        try:
            setting = from_made(
                name, made, crop.margin, "cuda" if device == "cuda" else "cpu", yunet_of(config)
            )
            setting.require_networks()
            settings[name] = setting
        except DferError as error:
            if name not in stored:
                progress.note(f"going on without {name}: {error.message}")
    for store in stores:
        _tell_of_other_making(store, card, streams, progress)
    captions = None
    if CAPTIONS in streams and config.captions:
        from dfercli.prediction.window_captions import WindowCaptions  # with a client of HTTP

        captions = WindowCaptions(config, card.label_set, progress)
        if captions.model != card.streams_made.get(CAPTIONS, captions.model):
            progress.note(
                f"captions are by {captions.model}, in training by {card.streams_made[CAPTIONS]}"
            )
    elif CAPTIONS in streams and (CAPTIONS in config.streams or len(streams) > 1):
        progress.note("going on without captions: --captions asks an LLM to caption each window")
    plan = StreamPlan(streams, settings, captions)
    if not plan.expected and not stored.intersection(streams):
        raise ConfigError(
            f"none of {', '.join(streams)} is available here",
            hint="--streams frames uses only frames",
        )
    return plan


def finding_faces(crop: PreprocessConfig, plan: StreamPlan) -> PreprocessConfig:
    """The settings for finding faces: with haar, a file is only for the five points."""
    has_five = any(setting.landmarks == FIVE for setting in plan.settings.values())
    return replace(crop, detector_weights=None) if has_five and crop.detector == "haar" else crop


def _tell_of_other_making(
    store: Path, card: ModelCard, streams: Sequence[str], progress: Progress
) -> None:
    for name, how in parts_made(store).items():
        before = card.streams_made.get(name, how)
        if name in streams and how != before:
            progress.note(f"{name} of {store} were made by {how}, in training by {before}")


@dataclass(frozen=True)
class CropViews:
    """One crop and its further views, as the model takes them.

    Attributes:
        frame: (3, S, S) uint8.
        images: (3, S, S) uint8 by stream; black if nothing was found.
        found: Which of these show something.
    """

    frame: "Tensor"
    images: Mapping[str, "Tensor"]
    found: frozenset[str]


class ViewMaker:
    """Makes the views of crops; gives up a stream that cannot be made, with one line.

    A bug costs the affected crops the stream; after several in a row the stream is given up.

    Args:
        plan: Which streams, and how they are made.
        image_size: S, the side of the model's images.
        progress: Where to report.
    """

    def __init__(self, plan: StreamPlan, image_size: int, progress: Progress) -> None:
        self.plan = plan
        self._size = image_size
        self._progress = progress
        self._makers: dict[str, StreamMaker] = {}
        self._bugs: dict[str, int] = {}  # in a row, by stream
        for name, setting in plan.settings.items():
            try:
                self._makers[name] = StreamMaker(setting)
            except DferError as error:
                progress.note(f"going on without {name}: {error.message}")

    @property
    def windows_at_once(self) -> int:
        """The number of windows to make views of together; frames alone gain nothing by it."""
        return 1 if self.plan.streams == (FRAMES,) else WINDOWS_AT_ONCE

    def views(
        self, crops: ClipCrops, rows: Sequence[int], on_bug: Callable[[Crash], None]
    ) -> list[CropViews]:
        """The views of some crops of a clip; `on_bug` gets the bug by which they lack a stream.

        Raises:
            DataError: a crop, or a stored view of it, cannot be read.
        """
        pictures = crops.read(rows)  # (N, 3, H, W)
        images = [np.ascontiguousarray(one.permute(1, 2, 0).numpy()) for one in pictures]
        stored = {
            name: crops.stored(name, rows) for name in IMAGE_STREAMS if name in self.plan.streams
        }
        return self._views(pictures, images, stored, on_bug)

    def views_of_pictures(
        self, images: Sequence[NDArray[np.uint8]], on_bug: Callable[[Crash], None]
    ) -> list[CropViews]:
        """The views of crops (H, W, 3) uint8 RGB that are in memory."""
        import torch

        pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return self._views(pictures, list(images), {}, on_bug)

    def _views(
        self,
        pictures: "Tensor",
        crops: list[NDArray[np.uint8]],
        stored: Mapping[str, Made | None],
        on_bug: Callable[[Crash], None],
    ) -> list[CropViews]:
        from dfercli.data.augmentation import resize

        frames = resize(pictures, self._size)
        drawn: dict[str, Tensor] = {}
        found: list[set[str]] = [set() for _ in crops]
        for name in self.plan.streams:
            if name not in IMAGE_STREAMS:
                continue
            made = stored.get(name)
            if made is None:
                made = self._make(name, crops, on_bug)
            if made is None:
                continue
            there, images = _drawn(name, made, crops)
            drawn[name] = resize(images, self._size)
            for own, has in zip(found, there, strict=True):
                if has:
                    own.add(name)
        return [
            CropViews(
                frames[row], {name: images[row] for name, images in drawn.items()}, frozenset(own)
            )
            for row, own in enumerate(found)
        ]

    def _make(
        self, name: str, crops: list[NDArray[np.uint8]], on_bug: Callable[[Crash], None]
    ) -> Made | None:
        maker = self._makers.get(name)
        if maker is None:
            return None

        def work() -> Made:
            if name == "parsing":
                return maker.parsing(crops)
            points = maker.landmarks(crops)
            return points if name == "landmarks" else regions(list(points), crops)

        try:
            made = attempt(work)
        except DferError as error:
            self._give_up(name, error.message)
            return None
        if not isinstance(made, Crash):
            self._bugs[name] = 0
            return made
        on_bug(made)
        self._bugs[name] = self._bugs.get(name, 0) + 1
        if self._bugs[name] == GIVEN_UP_AFTER:
            self._give_up(name, made.reason)
        return None

    def _give_up(self, name: str, reason: str) -> None:
        del self._makers[name]
        self._progress.note(f"going on without {name}: {reason}")


def _drawn(
    name: str,
    made: Made,
    crops: Sequence[NDArray[np.uint8]],
) -> "tuple[list[bool], Tensor]":
    """Which crops show something in a stream, and its pictures (N, 3, H, W) uint8."""
    import torch

    from dfercli.data.streams import colour_parsing, draw_landmarks

    if name == "landmarks":
        there = [bool(np.isfinite(points).all()) for points in made]
        pictures = [
            draw_landmarks(points, crop.shape[0], crop.shape[1])
            for points, crop in zip(made, crops, strict=True)
        ]
    else:
        maps = [np.asarray(one, np.uint8) for one in made]
        there = [name != "regions" or bool(one.any()) for one in maps]
        pictures = [colour_parsing(one) for one in maps]
    return there, torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def tell_cost(
    captions: "WindowCaptions",
    config: PredictConfig,
    left: Sequence[Source],
    ready: Sequence[TrackedSource],
) -> None:
    """Estimate the cost of captions: of stores from their tracks, of videos from their length.

    Args:
        captions: Writes them.
        config: The windows.
        left: Videos whose faces are not found yet.
        ready: Sources whose faces are known.
    """
    seconds = [clip.end_seconds - clip.start_seconds for one in ready for clip in one.clips]
    for source in left:
        facts = probe_video(source.path) if source.kind == "video" else None
        length = facts.seconds if facts is not None and facts.seconds else config.window
        end = length if config.end is None else min(config.end, length)
        seconds.append(end - config.start)
    windows = sum(1 + max(0, round((one - config.window) / config.stride)) for one in seconds)
    captions.tell_cost(windows, "if each video shows one face throughout" if left else "")
