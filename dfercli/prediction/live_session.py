"""The predictions of a camera so far, and the files made from them at the end."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.predictions import WindowPrediction
from dfercli.attempts import Crash
from dfercli.config import PredictConfig
from dfercli.faces.absence import NO_FACE, Absence, in_words
from dfercli.inference.choose_model import ChosenModel
from dfercli.prediction.moments import JPEG_QUALITY, MOST_PICTURES, PICTURE_SIDE_PX, SIDE_PX
from dfercli.prediction.players import make_sections, write_page
from dfercli.prediction.result import PredictResult
from dfercli.prediction.results_folder import write_record, write_tables
from dfercli.prediction.timeline_files import write_exports
from dfercli.report.timeline import all_spans, gaps_of, strongest_seconds
from dfercli.report.video_prediction import FaceTrace, Moment, Picture, VideoPrediction

SECONDS_PER_BOX = 0.2
MOST_MOMENTS = 12
NEAR_SECONDS = 0.5  # between the loss of a face and the beginning of a gap


@dataclass
class _Seen:
    """The kept data of one face."""

    boxes: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    apart_seconds: float = 1.0


class LiveSession:
    """Collects the predictions of a camera.

    Args:
        source: The name of the camera in rows.
        with_pictures: Whether to keep pictures of faces, for a page.
    """

    def __init__(self, source: str, with_pictures: bool) -> None:
        self._source = source
        self._with_pictures = with_pictures
        self._seen: dict[int, _Seen] = {}
        self._predictions: list[WindowPrediction] = []
        self._best: dict[tuple[int, str], tuple[WindowPrediction, bytes]] = {}

    def sight(
        self, track: int, seconds: float, box: NDArray[np.float32], crop: NDArray[np.uint8]
    ) -> None:
        """A face was seen."""
        if not self._with_pictures:
            return
        seen = self._seen.setdefault(track, _Seen())
        ms = round(1000 * seconds)
        if not seen.boxes or ms - seen.boxes[-1][0] >= 1000 * SECONDS_PER_BOX:
            left, top, right, bottom = np.rint(box).astype(int).tolist()
            seen.boxes.append((ms, left, top, right, bottom))
        if not seen.pictures or seconds - seen.pictures[-1].seconds >= seen.apart_seconds:
            seen.pictures.append(Picture(seconds, _jpeg(crop, PICTURE_SIDE_PX)))
            if len(seen.pictures) > MOST_PICTURES:  # every other one, and fewer from now on
                seen.pictures = seen.pictures[::2]
                seen.apart_seconds *= 2

    def predict(self, prediction: WindowPrediction, crop: NDArray[np.uint8]) -> None:
        """A face got a prediction; `crop` is from the middle of its window."""
        self._predictions.append(prediction)
        key = (prediction.track, prediction.label)
        known = self._best.get(key)
        if self._with_pictures and (known is None or prediction.confidence > known[0].confidence):
            self._best[key] = (prediction, _jpeg(crop, SIDE_PX))

    def write(
        self,
        config: PredictConfig,
        model: ChosenModel,
        *,
        detector: str,
        precision: str,
        length_seconds: float,
        absences: Sequence[Absence],
        table_is_written: bool,
    ) -> PredictResult:
        """Write all files that were asked for.

        Args:
            config: The settings.
            model: The model.
            detector: Name of the face detector.
            precision: That the model computed in.
            length_seconds: When the last frame came.
            absences: When and why faces were lost.
            table_is_written: Whether `--out` has grown row by row.

        Raises:
            ArtifactError: the system refused a write.
        """
        threshold = model.card.threshold(config.min_confidence)
        predictions = sorted(self._predictions, key=lambda one: (one.track, one.start_seconds))
        gaps = tuple(gaps_of(predictions, 0.0, length_seconds))
        video = VideoPrediction(
            self._source,
            model.label_set,
            tuple(predictions),
            gaps=gaps,
            gap_reasons=tuple(_reason(start, absences) for start, _ in gaps),
            moments=self._moments(predictions),
            traces=tuple(self._traces(predictions)),
            detector=detector,
            min_confidence=threshold,
            length_seconds=length_seconds,
        )
        result = PredictResult(model, (video,), threshold, precision=precision)
        write_tables(replace(config, out=None) if table_is_written else config, result)
        if config.html is not None:
            videos, sections = make_sections([video], config.html, config, threshold, _raised)
            write_page(config.html, tuple(videos), sections, config, model, threshold, precision)
        if config.export and config.out is not None:
            write_exports(config.out, config.export, result)
        write_record(config, result)
        return result

    def _moments(self, predictions: Sequence[WindowPrediction]) -> tuple[Moment, ...]:
        spans = all_spans(predictions)
        best = sorted(self._best.values(), key=lambda one: -one[0].confidence)[:MOST_MOMENTS]
        return tuple(
            Moment(one.track, strongest_seconds(one, spans), one.label, one.confidence, jpeg)
            for one, jpeg in best
        )

    def _traces(self, predictions: Sequence[WindowPrediction]) -> list[FaceTrace]:
        shown = {prediction.track for prediction in predictions}
        return [
            FaceTrace(track, tuple(seen.pictures), len(seen.pictures) // 2, tuple(seen.boxes))
            for track, seen in sorted(self._seen.items())
            if track in shown
        ]


def _raised(video: VideoPrediction, crash: Crash) -> VideoPrediction:
    """A bug in the only section is a bug of the command."""
    raise RuntimeError(f"{video.source}: the page cannot be made\n{crash.traceback}")


def _reason(start_seconds: float, absences: Sequence[Absence]) -> str:
    """Why nobody is seen from then on: as the last face was lost nearby."""
    near = [one for one in absences if abs(one.start_seconds - start_seconds) <= NEAR_SECONDS]
    return in_words(near[-1].reason) if near else NO_FACE


def _jpeg(crop: NDArray[np.uint8], side_px: int) -> bytes:
    small = cv2.resize(crop, (side_px, side_px), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return jpeg.tobytes()


def outputs_of(config: PredictConfig) -> dict[str, Path]:
    """The paths that were asked for, by option."""
    asked = {
        "--out": config.out,
        "--spans": config.spans,
        "--summary": config.summary,
        "--html": config.html,
        "--record": config.record,
    }
    return {name: path for name, path in asked.items() if path is not None}


def is_taken(path: Path) -> bool:
    """Whether something lies there that would be lost; an empty folder would not."""
    return os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir()))
