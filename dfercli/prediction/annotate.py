"""The annotated video of one source: its frames, times and sound, with the expressions."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_store import TrackData
from dfercli.config import PreprocessConfig
from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.errors import ArtifactError, ChangedError
from dfercli.prediction.facts import CHANGED
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.preprocessing.sources import open_source
from dfercli.report.overlay import Overlay, ShownFace
from dfercli.report.timeline import Timeline
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.annotated import write_annotated
from dfercli.video.frames import Frame, num_bytes
from dfercli.video.prefetch import prefetched
from dfercli.video.sources import find_sources, source_signature

DECODE_AHEAD, DECODE_BYTES = 4, 64 * 1024**2  # the smaller of both


def annotate(
    source: TrackedSource,
    video: VideoPrediction,
    out: Path,
    *,
    length_seconds: float,
    min_confidence: float,
    stop: threading.Event,
    start: float = 0.0,
    end: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Write the annotated video of a source, in its original size and with all of its frames.

    Args:
        source: The source and its tracks.
        video: The predictions.
        out: The MP4 file.
        length_seconds: Length of the source.
        min_confidence: An expression below it gets a question mark.
        stop: Abandons and removes the video once it is set.
        start: First second of the predictions.
        end: Last second of the predictions.
        max_pixels: Larger frames are not decoded.

    Raises:
        DataError: the source is gone, has changed, or can no longer be decoded.
        ArtifactError: the video cannot be written, or was given up.
    """
    (place,) = find_sources((source.name,))
    _require_same(source, place.path)
    reader = open_source(place, PreprocessConfig(start=start, end=end, max_pixels=max_pixels))
    timelines = {timeline.track: timeline for timeline in video.timelines()}
    tracks = _TracksInView([_track(clip.track, source.faces.track(clip)) for clip in source.clips])

    def drawn() -> Iterator[Frame]:
        overlay: Overlay | None = None
        drawn_on: tuple[int, int] | None = None
        for frame in prefetched(reader, DECODE_AHEAD, DECODE_BYTES, num_bytes):
            if stop.is_set():
                raise ArtifactError(f"{out} was given up")
            height, width = frame.image.shape[:2]
            if overlay is None or drawn_on != (width, height):  # a folder may hold several sizes
                drawn_on = (width, height)
                overlay = Overlay(
                    video.label_set,
                    list(timelines.values()),
                    (width, height),
                    length_seconds=length_seconds,
                    min_confidence=min_confidence,
                    names=video.people,
                )
            faces = _faces_in(frame, tracks.at(frame.index), timelines)
            yield replace(frame, image=overlay.draw(frame.image, frame.pts_seconds, faces))
        _require_same(source, place.path)

    sound_of = Path(os.path.abspath(source.name)) if place.kind == "video" else None
    write_annotated(out, drawn(), sound_of=sound_of)


def _require_same(source: TrackedSource, path: Path) -> None:
    if source.signature not in (None, source_signature(path)):
        raise ChangedError(f"{source.name}: {CHANGED}")


@dataclass(frozen=True)
class _Track:
    """The boxes of one track; a face counts as seen for `step` frames after each."""

    number: int
    frame_index: NDArray[np.int64]
    box_xyxy_px: NDArray[np.float32]
    step: int


def _track(number: int, data: TrackData) -> _Track:
    steps = np.diff(data.frame_index)
    step = int(np.median(steps)) if len(steps) else 1
    return _Track(number, data.frame_index, data.box_xyxy_px, step)


class _TracksInView:
    """The tracks that a frame may show; of a long video, most have ended or are still to come."""

    def __init__(self, tracks: list[_Track]) -> None:
        self._coming = deque(sorted(tracks, key=lambda track: int(track.frame_index[0])))
        self._here: list[_Track] = []

    def at(self, frame_index: int) -> list[_Track]:
        """The tracks that have begun and not ended; frames must come in order."""
        while self._coming and self._coming[0].frame_index[0] <= frame_index:
            self._here.append(self._coming.popleft())
        self._here = [
            track for track in self._here if frame_index < track.frame_index[-1] + track.step
        ]
        return self._here


def _faces_in(
    frame: Frame, tracks: list[_Track], timelines: dict[int, Timeline]
) -> list[ShownFace]:
    """The faces of a frame; for a skipped frame, those of the last processed one."""
    faces = []
    for track in tracks:
        row = int(np.searchsorted(track.frame_index, frame.index, side="right")) - 1
        if row >= 0 and frame.index - track.frame_index[row] < track.step:
            timeline = timelines.get(track.number)
            probabilities = None if timeline is None else timeline.at(frame.pts_seconds)
            faces.append(ShownFace(track.number, track.box_xyxy_px[row], probabilities))
    return faces
