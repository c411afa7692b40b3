"""The strongest moments of a video, with their face crops, collected while these exist."""

import cv2
import numpy as np

from dfercli.artifacts.predictions import WindowPrediction
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.report.video_prediction import Moment

MOST_MOMENTS = 12
MOST_PER_TRACK = 4
SIDE_PX = 112
JPEG_QUALITY = 80


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
    return tuple(_moment(source, prediction) for prediction in chosen)


def _moment(source: TrackedSource, prediction: WindowPrediction) -> Moment:
    clip = next(clip for clip in source.clips if clip.track == prediction.track)
    crops = source.faces.crops(clip)
    middle = (prediction.start_seconds + prediction.end_seconds) / 2
    pts_seconds = crops.track.pts_seconds[crops.rows]
    nearest = int(np.abs(pts_seconds - middle).argmin())
    crop = crops.picture(int(crops.rows[nearest]))
    small = cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Moment(
        prediction.track,
        float(pts_seconds[nearest]),
        prediction.label,
        prediction.confidence,
        jpeg.tobytes(),
    )
