"""Facts about faces for a report: strongest moments, pictures and places, while the crops exist."""

import cv2
import numpy as np

from dfercli.artifacts.face_store import ClipRow, TrackData
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.prediction.clip_faces import ClipCrops
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.prediction.windows import frame_seconds, seen_segments
from dfercli.report.timeline import Span, all_spans, build_timelines, strongest_seconds
from dfercli.report.video_prediction import FaceTrace, Moment, Picture

MOST_MOMENTS = 12
MOST_PER_TRACK = 4
SIDE_PX = 112
JPEG_QUALITY = 80

MOST_TRACES = 40  # of a source: the faces that are seen longest
SECONDS_PER_PICTURE = 1.0
MOST_PICTURES = 24  # of a face
PICTURE_SIDE_PX = 80
BOXES_PER_SECOND = 5  # a face moves little in between


def strongest_moments(
    source: TrackedSource, predictions: tuple[WindowPrediction, ...]
) -> tuple[Moment, ...]:
    """The best window of each class that a face shows, strongest first, some for each face.

    Raises:
        DataError: a crop cannot be read.
    """
    best: dict[tuple[int, str], WindowPrediction] = {}
    for prediction in sorted(predictions, key=lambda one: -one.confidence):
        best.setdefault((prediction.track, prediction.label), prediction)
    chosen: list[WindowPrediction] = []
    for prediction in best.values():
        of_track = sum(other.track == prediction.track for other in chosen)
        if of_track < MOST_PER_TRACK and len(chosen) < MOST_MOMENTS:
            chosen.append(prediction)
    spans = all_spans(predictions)
    return tuple(_moment(source, prediction, spans) for prediction in chosen)


def _moment(source: TrackedSource, prediction: WindowPrediction, spans: list[Span]) -> Moment:
    clip = next(clip for clip in source.clips if clip.track == prediction.track)
    crops = source.faces.crops(clip)
    seconds = strongest_seconds(prediction, spans)
    nearest = int(np.abs(crops.track.pts_seconds[crops.rows] - seconds).argmin())
    jpeg = _small(crops, int(crops.rows[nearest]), SIDE_PX)
    return Moment(prediction.track, seconds, prediction.label, prediction.confidence, jpeg)


def face_traces(
    source: TrackedSource, predictions: tuple[WindowPrediction, ...]
) -> tuple[FaceTrace, ...]:
    """Pictures and boxes of the faces that are seen longest, by track.

    Raises:
        DataError: a crop cannot be read.
    """
    longest = sorted(build_timelines(predictions), key=lambda timeline: -timeline.seen_seconds)
    shown = {timeline.track for timeline in longest[:MOST_TRACES]}
    return tuple(_trace(source, clip) for clip in source.clips if clip.track in shown)


def _trace(source: TrackedSource, clip: ClipRow) -> FaceTrace:
    crops = source.faces.crops(clip)
    track = crops.track
    length = float(track.pts_seconds[-1] - track.pts_seconds[0])
    count = min(1 + int(length / SECONDS_PER_PICTURE), MOST_PICTURES, len(crops.rows))
    # The middles of equal parts: the first and the last frame of a track are often its worst.
    middles = (np.arange(count) + 0.5) * len(crops.rows) / count
    rows = crops.rows[middles.astype(int)].tolist()
    pictures = [
        Picture(float(track.pts_seconds[row]), _small(crops, row, PICTURE_SIDE_PX)) for row in rows
    ]
    step = max(1, round(1 / (BOXES_PER_SECOND * frame_seconds(track))))
    best = int(track.score[rows].argmax())
    return FaceTrace(clip.track, tuple(pictures), best, _boxes(track, step))


def _boxes(track: TrackData, step: int) -> tuple[tuple[int, int, int, int, int], ...]:
    """Every `step`-th box, and both edges of each time in which the face is not seen."""
    kept = set(range(0, len(track.pts_seconds), step))
    for first, last in seen_segments(track):
        kept |= {first, last - 1}
    rows = []
    for index in sorted(kept):
        left, top, right, bottom = np.rint(track.box_xyxy_px[index]).astype(int).tolist()
        rows.append((round(1000 * float(track.pts_seconds[index])), left, top, right, bottom))
    return tuple(rows)


def _small(crops: ClipCrops, row: int, side_px: int) -> bytes:
    """A crop as a JPEG, `side_px` wide and high."""
    small = cv2.resize(crops.picture(row), (side_px, side_px), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return jpeg.tobytes()
