"""Clips as features of their frames on disk, for an image encoder that is frozen.

The features of one frame depend on no other frame, so every frame of a clip is encoded once,
and random sampling over time works as it does on frames. A view is an augmented copy of
all frames of a clip; without views there is no augmentation.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from dfercli.artifacts.feature_files import (
    State,
    features_key,
    features_path,
    features_state,
    read_features,
)
from dfercli.config import AugmentConfig
from dfercli.data.augmentation import augment, draw_augmentation, resize
from dfercli.data.batches import Item
from dfercli.data.clips import Clip
from dfercli.data.loading import ClipDataset, clip_frames, read_ahead, read_frames
from dfercli.data.sampling import AS_PUBLISHED, Sampling, clip_rng, sample_training, sample_view
from dfercli.data.targets import soft_targets
from dfercli.documents import require_regular
from dfercli.errors import DataError, DferError

ItemT = TypeVar("ItemT")

FRAMES_AT_ONCE = 64
VIEW_DRAW = 0x71E3
"""Separates the draw of a view from the other draws of the same seed, epoch and clip."""


@dataclass(frozen=True)
class ViewSource:
    """The inputs of a view's features, besides the clip.

    Attributes:
        folder: Where the files lie.
        encoder: Digest of the image encoder and of how it is run.
        image_size: Side S of the frames in pixels.
        augmentation: The settings of the draws.
        seed: Seed of these draws.
    """

    folder: Path
    encoder: str
    image_size: int
    augmentation: AugmentConfig
    seed: int

    def path(self, content: str, view: int | None) -> Path:
        """The file of one view of a clip; None is the clip as it is."""
        drawn = None
        if view is not None:
            drawn = {"seed": self.seed, "number": view, **self.augmentation.of_pictures}
        made_from = {"encoder": self.encoder, "content": content, "view": drawn}
        return features_path(self.folder, features_key(made_from))

    def frames(self, paths: Sequence[Path], content: str, view: int | None) -> Tensor:
        """Some frames of a clip, as (n, 3, S, S) uint8; a draw depends on the clip's content."""
        frames = read_frames(paths)
        if view is None:
            return resize(frames, self.image_size).contiguous()
        rng = np.random.default_rng([self.seed, VIEW_DRAW, view, int(content, 16)])
        height, width = frames.shape[-2:]
        draw = draw_augmentation(height, width, self.augmentation, rng)
        return augment(frames, draw, self.image_size)


@dataclass(frozen=True)
class ViewFile:
    """The features of one view of a clip, on disk or to be made.

    Attributes:
        clip: The clip.
        content: Digest of its frames.
        num_frames: n.
        view: Number of the view; None is the clip as it is.
        path: The file.
        state: The state of `path`.
    """

    clip: Clip
    content: str
    num_frames: int
    view: int | None
    path: Path
    state: State


def frame_digests(paths: Sequence[Path]) -> list[bytes]:
    """SHA-256 of the bytes of each file.

    Raises:
        DataError: a file cannot be read; it is named.
    """
    digests = []
    for path in paths:
        try:
            digests.append(hashlib.sha256(require_regular(path).read_bytes()).digest())
        except OSError as error:
            raise DataError(f"cannot read frame {path}: {error.strerror or error}") from error
    return digests


def content_digest(digests: Iterable[bytes]) -> str:
    """Digest of a clip from those of its frames in order, in hexadecimal."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


class ClipContents(Dataset["list[ViewFile] | DferError"]):
    """The names of clips' features, from their content, and which of them exist.

    Args:
        wanted: Clips, and which views of each.
        source: The inputs of the features.
    """

    def __init__(
        self, wanted: Sequence[tuple[Clip, tuple[int | None, ...]]], source: ViewSource
    ) -> None:
        self.wanted = wanted
        self.source = source

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, index: int) -> list[ViewFile] | DferError:
        """Return the files of a clip, or the error of reading its frames."""
        clip, views = self.wanted[index]
        try:
            paths = clip_frames(clip)
            content = content_digest(frame_digests(paths))
        except DferError as error:
            return error
        files = []
        for view in views:
            path = self.source.path(content, view)
            state = features_state(path)
            files.append(ViewFile(clip, content, len(paths), view, path, state))
        return files


@dataclass(frozen=True)
class Piece:
    """Some frames of a view that is to be encoded.

    Attributes:
        file: The view.
        digests: SHA-256 of each frame.
        frames: (n, 3, S, S) uint8.
        is_last: Whether the view ends here.
    """

    file: ViewFile
    digests: list[bytes]
    frames: Tensor
    is_last: bool


class FramesToEncode(Dataset["Piece | DferError"]):
    """The frames of views in pieces of a bounded size, one view after the other.

    Args:
        files: The views.
        source: The inputs of the features.
    """

    def __init__(self, files: Sequence[ViewFile], source: ViewSource) -> None:
        self.source = source
        self.pieces = [
            (file, start) for file in files for start in range(0, file.num_frames, FRAMES_AT_ONCE)
        ]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Piece | DferError:
        """Return a piece, or the error of reading its frames."""
        file, start = self.pieces[index]
        try:
            paths = clip_frames(file.clip)[start : start + FRAMES_AT_ONCE]
            digests = frame_digests(paths)
            frames = self.source.frames(paths, file.content, file.view)
        except DferError as error:
            return error
        return Piece(file, digests, frames, start + FRAMES_AT_ONCE >= file.num_frames)


def items_in_order(
    dataset: "Dataset[ItemT | DferError]", workers: int, note: Callable[[str], None]
) -> Iterator[ItemT]:
    """Every item of a data set; `workers` processes read ahead.

    `note` is told where shared memory is small.

    Raises:
        DferError: what an item could not be read for.
    """
    yield from read_ahead(
        dataset, workers=workers, note=note, batch_size=None, collate_fn=_as_it_is
    )


def _as_it_is(item: ItemT) -> ItemT:
    return item


class FeatureDataset(ClipDataset):
    """Clips as the features (T, D) of T frames, sampled as `ClipDataset` samples frames.

    Args:
        clips: The clips.
        label_set: Class names; a clip's label becomes its index here.
        files: For each clip the files of its views.
        num_frames: T.
        image_size: Side of the frames that were encoded.
        training: Training's random sampling, and one view by draw; else the test sampling.
        seed: Seed of the draws.
        sampling: How frames are chosen over time; a mirrored view is not cached.

    Raises:
        DataError: a label that is not in the label set; the clip is named.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        label_set: Sequence[str],
        files: Sequence[Sequence[Path]],
        *,
        num_frames: int,
        image_size: int,
        training: bool,
        seed: int,
        sampling: Sampling = AS_PUBLISHED,
    ) -> None:
        super().__init__(
            clips,
            label_set,
            num_frames=num_frames,
            image_size=image_size,
            seed=seed,
            sampling=sampling,
        )
        self.files = [tuple(views) for views in files]
        self.training = training
        self.targets = soft_targets(clips, label_set) if training else None

    def view(self, epoch: int, index: int) -> int:
        """Which view of a clip an epoch takes; it depends only on seed, epoch and clip."""
        views = len(self.files[index])
        if not self.training or views == 1:
            return 0
        return int(np.random.default_rng([self.seed, epoch, index, VIEW_DRAW]).integers(views))

    def _read(self, epoch: int, index: int) -> Item:
        features = read_features(self.files[index][self.view(epoch, index)])  # (n, D)
        if self.training:
            rng = clip_rng(self.seed, epoch, index)
            chosen = sample_training(len(features), self.num_frames, self.sampling, rng)
        else:
            chosen = sample_view(len(features), self.num_frames, self.sampling, epoch)
        return features[chosen], self.target(index), index, {}
