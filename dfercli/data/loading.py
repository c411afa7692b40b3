"""From clips on disk to batches of frames."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.synchronize import Event
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dfercli.artifacts.pictures import decode_picture
from dfercli.config import AugmentConfig
from dfercli.data.augmentation import AugmentDraw, augment, draw_augmentation, resize
from dfercli.data.batches import Batch, Item, collate
from dfercli.data.clips import Clip, label_index
from dfercli.data.device_augmentation import RawClip
from dfercli.data.frames import list_frames
from dfercli.data.sampling import (
    AS_PUBLISHED,
    Sampling,
    clip_rng,
    epoch_clips,
    sample_training,
    sample_view,
)
from dfercli.data.shared_memory import note_once, share_what_fits
from dfercli.data.streams import StreamReader
from dfercli.data.targets import soft_targets
from dfercli.documents import require_regular
from dfercli.errors import DataError, DferError
from dfercli.processes import block_signals
from dfercli.torch_private import shut_down_readers

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def read_frame(path: Path) -> np.ndarray:
    """Read one picture.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DataError: missing, cut short, or not a picture; the file is named.
    """
    try:
        content = require_regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read frame {path}: {error.strerror or error}") from error
    # OpenCV fills the lost part of a JPEG that was cut short with grey and says nothing.
    if content.startswith(JPEG_START) and JPEG_END not in content[-64:]:
        raise DataError(f"frame is cut short: {path}")
    image = decode_picture(content, path, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DataError(f"frame is not a readable picture: {path}")
    return image


def read_frames(paths: Sequence[Path]) -> Tensor:
    """Read pictures of one size; a path that comes twice is read once.

    Returns:
        (T, 3, H, W) uint8, a view of pixels whose channels are last in memory.

    Raises:
        DataError: a picture cannot be read, or the sizes differ.
    """
    images = {path: read_frame(path) for path in dict.fromkeys(paths)}
    shapes = {image.shape for image in images.values()}
    if len(shapes) > 1:
        raise DataError(f"frames of different sizes in {paths[0].parent}: {sorted(shapes)}")
    stacked = np.stack([images[path] for path in paths])  # (T, H, W, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


class ClipDataset(Dataset[Item | DferError]):
    """Clips as T frames. Items are asked for by (epoch, clip) and depend on nothing else.

    A clip that cannot be read gives its error for an item, which `batch_loader` raises: torch
    would bury an error that a worker raises in the worker's traceback.

    Args:
        clips: The clips.
        label_set: Class names; a clip's label becomes its index here.
        num_frames: T.
        image_size: Side S of the frames in pixels.
        augmentation: Draws for training; None takes the test sampling and no augmentation.
        seed: Seed of the draws.
        streams: Further views of the clips that are read, augmented by the same draws.
        augment_on_device: Hand over raw clips with their draws, for `Batch.inputs` to augment.
        sampling: How frames are chosen over time.

    Attributes:
        labels: The class index of each clip.
        targets: Shares of the classes, (N, K) float32, where a clip that is trained on has soft
            ones; they come in place of the labels. None else.

    Raises:
        DataError: a label that is not in the label set; the clip is named.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        label_set: Sequence[str],
        *,
        num_frames: int,
        image_size: int,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
        streams: StreamReader | None = None,
        augment_on_device: bool = False,
        sampling: Sampling = AS_PUBLISHED,
    ) -> None:
        self.clips = list(clips)
        self.labels = [label_index(clip, label_set) for clip in clips]
        training = augmentation is not None
        self.targets = soft_targets(clips, label_set) if training else None
        self.num_frames = num_frames
        self.image_size = image_size
        self.augmentation = augmentation
        self.seed = seed
        self.streams = streams or StreamReader()
        self.augment_on_device = augment_on_device
        self.sampling = sampling

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> Item | DferError:
        """Return frames (T, 3, S, S) uint8 or a raw clip, label index, clip position and streams.

        Args:
            key: (epoch, clip); where nothing is drawn, (view, clip).
        """
        try:
            return self._read(*key)
        except DferError as error:
            return error

    def _read(self, epoch: int, index: int) -> Item:
        clip = self.clips[index]
        paths = clip_frames(clip)
        draw, mirrored = None, False
        if self.augmentation is None:
            chosen = sample_view(
                clip.sampled_as or len(paths), self.num_frames, self.sampling, epoch
            )
            chosen = np.minimum(chosen, len(paths) - 1)
            frames = read_frames([paths[i] for i in chosen])
            mirrored = epoch >= self.sampling.views
        else:
            rng = clip_rng(self.seed, epoch, index)
            chosen = sample_training(
                clip.sampled_as or len(paths), self.num_frames, self.sampling, rng
            )
            chosen = np.minimum(chosen, len(paths) - 1)
            frames = read_frames([paths[i] for i in chosen])
            height, width = frames.shape[-2:]
            if not self.augmentation.is_off:
                draw = draw_augmentation(height, width, self.augmentation, rng)
        streams: dict[str, tuple[Tensor | RawClip, Tensor]] = {}
        for name in self.streams.names:
            if name == "captions":
                tokens = self.streams.tokens(clip)
                values = self.streams.no_tokens if tokens is None else tokens
                streams[name] = (values, torch.tensor(tokens is not None))
                continue
            images = self.streams.images(name, clip, paths, chosen.tolist(), frames.shape[-2:])
            moved = None if draw is None else draw.of_drawn_images()
            given = torch.zeros_like(frames) if images is None else images
            fitted = self._fit(given, moved, mirrored=mirrored)
            streams[name] = (fitted, torch.tensor(images is not None))
        return self._fit(frames, draw, mirrored=mirrored), self.target(index), index, streams

    def target(self, index: int) -> int | Tensor:
        """The class index of a clip, or its shares of all classes (K,)."""
        return self.labels[index] if self.targets is None else self.targets[index]

    def _fit(self, images: Tensor, draw: AugmentDraw | None, *, mirrored: bool) -> Tensor | RawClip:
        """Augment and resize (T, 3, H, W) to (T, 3, S, S) uint8; `draw` None only resizes."""
        if draw is None:
            resized = resize(images, self.image_size)
            return resized.flip(-1) if mirrored else resized.contiguous()
        if self.augment_on_device:
            return RawClip(images.permute(0, 2, 3, 1), draw, self.image_size)
        return augment(images, draw, self.image_size)


def clip_frames(clip: Clip) -> list[Path]:
    """The frames of a clip in order of time.

    Raises:
        DataError: there are none, or fewer or more than a face store's row says.
    """
    paths = list_frames(clip.location)
    if clip.exact and len(paths) != clip.listed_frames:
        raise DataError(
            f"clip {clip.clip_id}: {clip.location} holds {len(paths)} frames, "
            f"expected {clip.listed_frames}",
            hint="run the same `dfer preprocess` again with --overwrite",
        )
    return paths


class TrainingBatches:
    """Batches of (epoch, clip) keys from one point of training to its end.

    The keys run on across epochs, so that workers never wait at the end of one. Each process
    takes every `world_size`-th clip of the same global batch.

    Args:
        num_clips: Clips in the data set.
        batch_size: Clips per global batch; the last incomplete one of an epoch is dropped.
        epochs: Number of epochs.
        seed: Seed of the order.
        start: (epoch, step) to begin at.
        rank: This process.
        world_size: Number of processes.
        labels: The class of each clip, for samplers that look at it.
        sampler: Which clips an epoch has; see `DataConfig.sampler`.

    Raises:
        DataError: a sampler that balances classes, and clips of one class.
    """

    def __init__(
        self,
        num_clips: int,
        batch_size: int,
        epochs: int,
        seed: int,
        *,
        start: tuple[int, int] = (0, 0),
        rank: int = 0,
        world_size: int = 1,
        labels: Sequence[int] = (),
        sampler: str = "shuffled",
    ) -> None:
        if sampler != "shuffled" and len(set(labels)) < 2:
            raise DataError(
                f"sampler {sampler}: all {num_clips} training clips are of one class",
                hint="--sampler shuffled",
            )
        self.num_clips = num_clips
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world_size = world_size
        self.labels = labels if sampler != "shuffled" else [0] * num_clips
        self.sampler = sampler

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in one epoch."""
        return self.num_clips // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first_epoch, first_step = self.start
        for epoch in range(first_epoch, self.epochs):
            order, times = epoch_clips(self.labels, self.seed, epoch, self.sampler)
            # A clip that comes again in an epoch is drawn as in one that never comes.
            draws = epoch + times * self.epochs
            for step in range(first_step if epoch == first_epoch else 0, self.steps_per_epoch):
                end = (step + 1) * self.batch_size
                own = range(step * self.batch_size + self.rank, end, self.world_size)
                yield [(int(draws[place]), int(order[place])) for place in own]


def evaluation_batches(
    num_clips: int, batch_size: int, *, rank: int = 0, world_size: int = 1, view: int = 0
) -> list[list[tuple[int, int]]]:
    """Batches of keys that hold each clip once over all processes, in one of its views.

    All processes get the same number of batches, since they must meet as often; one that has too
    few clips reads the first clip again.
    """
    own = list(range(rank, num_clips, world_size))
    most = len(range(0, num_clips, world_size))
    starts = range(0, most, batch_size)
    return [[(view, index) for index in own[start : start + batch_size] or [0]] for start in starts]


def silent_without_reader(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Say what ended a thread, unless whoever read from this process is gone (`sys.excepthook`).

    Tensors go from process to process as open files, handed over by a thread that `multiprocessing`
    starts; a reader that was interrupted hangs up in the middle of it.
    """
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


def init_reader(_worker: int, readers: int = 1, too_small: Event | None = None) -> None:
    """Set up a process that reads frames: there is one for each core.

    Args:
        readers: How many there are.
        too_small: Set where shared memory is too small for what is read.
    """
    if too_small is not None:
        share_what_fits(readers, too_small)
    sys.excepthook = silent_without_reader
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    Finalize(None, leave_if_orphaned, (os.getppid(),), exitpriority=0)  # before queues are joined


def leave_if_orphaned(parent: int) -> None:
    """End this process at once if its parent was killed: nobody reads the queue it would join."""
    if os.getppid() != parent:
        os._exit(1)


def start_reading(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the processes of a loader, and yield what they read; none is left behind."""
    before = set(multiprocessing.active_children())
    with block_signals():
        items = iter(loader)
    readers = set(multiprocessing.active_children()) - before
    try:
        yield from items
    finally:
        shut_down_readers(items)
        for reader in readers:
            reader.kill()  # they do not hear the SIGTERM by which torch would end them
            reader.join()


def read_ahead(
    dataset: Dataset[Any], *, workers: int, note: Callable[[str], None], **settings: Any
) -> Iterator[Any]:
    """Yield what `workers` processes read ahead; none of them is left behind.

    Args:
        dataset: What they read from.
        workers: 0 reads in this process.
        note: Told once where shared memory is too small for what they hand over.
        settings: Of the `DataLoader`.

    Raises:
        DferError: for an item that could not be read.
    """
    too_small = multiprocessing.Event()
    loader: DataLoader[Any] = DataLoader(
        dataset,
        num_workers=workers,
        worker_init_fn=partial(init_reader, readers=workers, too_small=too_small),
        **settings,
    )
    look = note_once(too_small, note)
    for item in start_reading(loader):
        look()
        if isinstance(item, DferError):
            raise item
        yield item


def batch_loader(
    dataset: ClipDataset,
    batches: TrainingBatches | list[list[tuple[int, int]]],
    *,
    workers: int,
    pin_memory: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[Batch]:
    """Read `batches` of keys one after the other; `workers` processes read ahead.

    `note` is told where shared memory is small.

    Raises:
        DataError: a clip that cannot be read; the file is named.
    """
    yield from read_ahead(
        dataset,
        workers=workers,
        note=note,
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=pin_memory,
    )
