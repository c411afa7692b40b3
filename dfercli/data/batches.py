"""Stack clips into batches and move these to the device."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfercli.data.device_augmentation import RawClip, RawClips
from dfercli.errors import DferError

StreamValues = tuple[Tensor | RawClips, Tensor]
"""One stream of a batch of clips, and which clips have it: (B,) bool."""

Item = tuple[Tensor | RawClip, int | Tensor, int, dict[str, tuple[Tensor | RawClip, Tensor]]]
"""Frames, label index or shares of the classes (K,), clip position, and for each stream its values
and whether it exists."""


@dataclass(frozen=True)
class Batch:
    """Some clips, ready for a model.

    Attributes:
        frames: (B, T, 3, S, S) uint8, or raw clips to be augmented on the device; or features of
            the frames, (B, T, D) float.
        labels: (B,) int64 indices into the label set, -1 for a clip without a label; or shares of
            the classes, (B, K) float32, see `dfercli.data.targets`.
        clips: (B,) int64 positions in the data set's list of clips.
        streams: Further views of the clips by name, with (B,) bool for which clips have them:
            `landmarks` and `parsing` as the frames, `captions` (B, L) int64 tokens.
    """

    frames: Tensor | RawClips
    labels: Tensor
    clips: Tensor
    streams: dict[str, StreamValues] = field(default_factory=dict)

    def inputs(self, device: torch.device) -> dict[str, Any]:
        """The inputs of a model's `forward`, by name; raw clips are augmented on the device."""
        streams = {
            name: (_on_device(values, device), present.to(device, non_blocking=True))
            for name, (values, present) in self.streams.items()
        }
        return {"frames": _on_device(self.frames, device), **streams}

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, and augment raw clips there."""
        inputs = self.inputs(device)
        return Batch(
            inputs.pop("frames"),
            self.labels.to(device, non_blocking=True),
            self.clips,
            inputs,
        )

    def tensors(self) -> list[Tensor]:
        """All tensors of a batch that is on a device."""
        assert isinstance(self.frames, Tensor)
        pairs = [tensor for pair in self.streams.values() for tensor in pair]
        return [self.frames, self.labels, *(own for own in pairs if isinstance(own, Tensor))]

    def pin_memory(self) -> "Batch":
        """Copy to page-locked memory; the DataLoader calls this."""
        streams = {
            name: (values.pin_memory(), present.pin_memory())
            for name, (values, present) in self.streams.items()
        }
        return Batch(
            self.frames.pin_memory(), self.labels.pin_memory(), self.clips.pin_memory(), streams
        )

    def split(self, pieces: int) -> list["Batch"]:
        """Split into at most this many pieces of nearly equal size."""
        size = math.ceil(len(self.labels) / pieces)
        parts = [slice(start, start + size) for start in range(0, len(self.labels), size)]
        return [
            Batch(
                self.frames[part],
                self.labels[part],
                self.clips[part],
                {name: (values[part], has[part]) for name, (values, has) in self.streams.items()},
            )
            for part in parts
        ]


def _on_device(values: Tensor | RawClips, device: torch.device) -> Tensor:
    if isinstance(values, RawClips):
        return values.augmented(device)
    return values.to(device, non_blocking=True)


def collate(items: list[Item | DferError]) -> Batch | DferError:
    """Stack items into a batch; the error of an unreadable item replaces its batch."""
    read = []
    for item in items:
        if isinstance(item, DferError):
            return item
        read.append(item)
    frames, labels, clips, streams = zip(*read, strict=True)
    stacked = {
        name: (
            _stack([own[name][0] for own in streams]),
            torch.stack([own[name][1] for own in streams]),
        )
        for name in streams[0]
    }
    soft = isinstance(labels[0], Tensor)
    targets = torch.stack(labels) if soft else torch.tensor(labels)
    return Batch(_stack(frames), targets, torch.tensor(clips), stacked)


def _stack(values: Sequence[Any]) -> Tensor | RawClips:
    if isinstance(values[0], RawClip):
        return RawClips.of(values)
    if values[0].dtype == torch.uint8:
        # NumPy allocates huge pages, so fresh memory takes a third of the time of torch.
        return torch.from_numpy(np.stack([own.numpy() for own in values]))
    return torch.stack(list(values))


def prefetch_to_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Move batches to the device, each while the previous one is processed there.

    On CUDA a separate stream copies and augments while the device still processes the batch
    before, unless the host waits for the device in each step. At most two steps are in flight. On
    other devices batches are yielded as they come.

    Args:
        batches: In page-locked memory, where the device is a CUDA device.
        device: The target.
    """
    if device.type != "cuda":
        yield from batches
        return
    stream, working = torch.cuda.Stream(device, priority=-1), torch.cuda.current_stream(device)
    under_way: deque[torch.cuda.Event] = deque()
    for batch in batches:
        if len(under_way) == 2:
            under_way.popleft().synchronize()
        with torch.cuda.stream(stream):
            moved = batch.to(device)
        working.wait_stream(stream)
        for tensor in moved.tensors():
            tensor.record_stream(working)  # do not reuse its memory before that work is done
        yield moved
        under_way.append(working.record_event())
