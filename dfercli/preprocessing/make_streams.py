"""Make the streams of some clips of one face store, in batches that span clips."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_parts import read_landmarks, stream_place, write_landmarks, write_maps
from dfercli.attempts import Crash, attempt
from dfercli.data.frames import list_frames
from dfercli.errors import ArtifactError, DataError
from dfercli.faces.stream_maker import IMAGE_STREAMS, StreamMaker, StreamSetting, regions
from dfercli.preprocessing.worker_pool import Report
from dfercli.video.images import read_image

CROPS_AT_ONCE = 64


@dataclass(frozen=True)
class ClipStreams:
    """The crops of one clip, and which of its streams are missing."""

    clip_id: str
    folder: Path
    streams: tuple[str, ...]


@dataclass(frozen=True)
class StreamFailure:
    """Why a clip lacks a stream: a user's error, or a bug."""

    clip_id: str
    stream: str
    reason: str | Crash


@dataclass
class StreamsDone:
    """The outcome for the streams of some clips.

    Attributes:
        failures: The streams that could not be made.
        num_crops: Crops that were searched for landmarks.
        num_without: Those among them that have none.
    """

    failures: list[StreamFailure] = field(default_factory=list)
    num_crops: int = 0
    num_without: int = 0

    def add(self, other: "StreamsDone") -> None:
        """Add the outcome of further clips."""
        self.failures += other.failures
        self.num_crops += other.num_crops
        self.num_without += other.num_without


@dataclass(frozen=True)
class _Crop:
    """One crop of a clip, or why it cannot be read."""

    clip: ClipStreams
    number: int
    name: str
    image: NDArray[np.uint8] | None
    fault: str = ""


@dataclass(frozen=True)
class _Result:
    """The result for one crop: points, a map, or nothing if the crop has a fault."""

    crop: _Crop
    points: NDArray[np.float32] | None = None
    map: NDArray[np.uint8] | None = None


Make = Callable[[list[_Crop]], list[_Result]]


def missing_streams(
    store: Path, clip_id: str, folder: Path, setting: StreamSetting
) -> ClipStreams | None:
    """The streams of a clip that are still missing; None if all are there."""
    wanted = setting.how_made()
    streams = tuple(name for name in wanted if not stream_place(store, name, clip_id).exists())
    return ClipStreams(clip_id, folder, streams) if streams else None


def make_streams(
    maker: StreamMaker, store: Path, clips: Sequence[ClipStreams], report: Report
) -> StreamsDone:
    """Make the missing streams of clips; a stream of a clip is complete or absent.

    A fault of one clip or stream does not affect the others.

    Args:
        maker: Makes them.
        store: The face store, or the folder of a benchmark's streams.
        clips: The clips; their crops exist.
        report: Called as crops are done.
    """
    done = StreamsDone()
    make: dict[str, Make] = {
        "landmarks": partial(_points, maker, done),
        "regions": partial(_regions, store, {}),
        "parsing": partial(_maps, maker),
    }
    for stream in IMAGE_STREAMS:
        own = [clip for clip in clips if stream in clip.streams]
        if not own:
            continue
        finished: set[str] = set()
        work = partial(_make_all, store, stream, make[stream], report, done, finished)
        if not isinstance(attempt(partial(work, own)), Crash):
            continue
        for clip in own:  # which clip is at fault?
            if clip.clip_id not in finished:
                alone = attempt(partial(work, [clip]))
                if isinstance(alone, Crash):
                    done.failures.append(StreamFailure(clip.clip_id, stream, alone))
    return done


def _make_all(
    store: Path,
    stream: str,
    make: Make,
    report: Report,
    done: StreamsDone,
    finished: set[str],
    clips: Sequence[ClipStreams],
) -> None:
    """Make one stream of all clips; write that of each clip as soon as it is complete."""
    for clip, results in groupby(_results(clips, make, report), lambda one: one.crop.clip):
        try:
            if stream == "landmarks":
                write_landmarks(store, clip.clip_id, np.stack([_points_of(r) for r in results]))
            else:
                maps = ((r.crop.name, _map_of(r)) for r in results)
                write_maps(store, stream, clip.clip_id, maps)
        except (ArtifactError, DataError) as error:
            done.failures.append(StreamFailure(clip.clip_id, stream, error.message))
        finished.add(clip.clip_id)


def _points_of(result: _Result) -> NDArray[np.float32]:
    if result.points is None:
        raise DataError(result.crop.fault)
    return result.points


def _map_of(result: _Result) -> NDArray[np.uint8]:
    if result.map is None:
        raise DataError(result.crop.fault)
    return result.map


def _results(clips: Iterable[ClipStreams], make: Make, report: Report) -> Iterator[_Result]:
    """The result for each crop of the clips, in order; the crops go in batches."""
    crops = chain.from_iterable(map(_crops_of, clips))
    while batch := list(islice(crops, CROPS_AT_ONCE)):
        readable = [crop for crop in batch if crop.image is not None]
        made = iter(make(readable) if readable else [])
        for crop in batch:
            yield next(made) if crop.image is not None else _Result(crop)
        report(len(readable), 0)


def _crops_of(clip: ClipStreams) -> Iterator[_Crop]:
    """The crops of a clip, up to the first that cannot be read."""
    try:
        for number, path in enumerate(list_frames(clip.folder)):
            yield _Crop(clip, number, path.stem, read_image(path))
    except (ArtifactError, DataError) as error:
        yield _Crop(clip, 0, "", None, error.message)


def _images(crops: list[_Crop]) -> list[NDArray[np.uint8]]:
    return [crop.image for crop in crops if crop.image is not None]


def _points(maker: StreamMaker, done: StreamsDone, crops: list[_Crop]) -> list[_Result]:
    points = maker.landmarks(_images(crops))
    done.num_crops += len(points)
    done.num_without += int((~np.isfinite(points).all(axis=(1, 2))).sum())
    return [_Result(crop, points=row) for crop, row in zip(crops, points, strict=True)]


def _maps(maker: StreamMaker, crops: list[_Crop]) -> list[_Result]:
    maps = maker.parsing(_images(crops))
    return [_Result(crop, map=one) for crop, one in zip(crops, maps, strict=True)]


def _regions(
    store: Path, points_of: dict[str, NDArray[np.float32] | str], crops: list[_Crop]
) -> list[_Result]:
    """Draw regions from existing landmarks; `points_of` keeps those of the last clip."""
    results = []
    for crop in crops:
        clip_id = crop.clip.clip_id
        if clip_id not in points_of:
            points_of.clear()
            points_of[clip_id] = _landmarks_of(store, clip_id)
        points = points_of[clip_id]
        if isinstance(points, str) or crop.number >= len(points):
            fault = points if isinstance(points, str) else "it has more crops than landmarks"
            results.append(_Result(_Crop(crop.clip, crop.number, crop.name, None, fault)))
        else:
            (drawn,) = regions([points[crop.number]], _images([crop]))
            results.append(_Result(crop, map=drawn))
    return results


def _landmarks_of(store: Path, clip_id: str) -> NDArray[np.float32] | str:
    """The 68 landmarks of a clip's crops, or why there are none."""
    try:
        points = read_landmarks(store, clip_id)
    except ArtifactError as error:
        return f"regions need landmarks: {error.message}"
    if points.shape[1] != 68:
        return f"regions are outlined by 68 landmarks, there are {points.shape[1]}"
    return points
