"""`dfer predict --camera`: the same windows as on files, while the camera runs."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfercli.artifacts.jsonl import append_row, write_rows
from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.config import PredictConfig, PreprocessConfig
from dfercli.data.augmentation import resize
from dfercli.data.sampling import sample_test
from dfercli.errors import ConfigError
from dfercli.faces.build import build_detector
from dfercli.faces.follow import FaceFollower
from dfercli.faces.smooth import TrackedFace
from dfercli.inference.choose_model import choose_model
from dfercli.inference.loaded_model import LoadedModel
from dfercli.overrides import check
from dfercli.prediction.face_source import preprocess_config
from dfercli.prediction.windows import check_windows
from dfercli.preprocessing.crops import cut_crop, follow_settings
from dfercli.preprocessing.detectors import find_detector
from dfercli.preprocessing.time_grid import GAP_SECONDS
from dfercli.progress import Progress
from dfercli.report.overlay import Overlay, ShownFace
from dfercli.video.camera import Camera
from dfercli.video.frames import Frame
from dfercli.video.window import Window

TITLE = "dfer (q ends it)"


@dataclass(frozen=True)
class _Sight:
    """One face in one frame."""

    seconds: float
    box_xyxy_px: NDArray[np.float32]
    crop: NDArray[np.uint8]


def run(
    config: PredictConfig, progress: Progress, on_row: Callable[[dict[str, Any]], None]
) -> LoadedModel:
    """Recognise what a camera sees until it ends, `config.end` is reached, or q is pressed.

    Every `stride` seconds each face that is seen gets a prediction for the last `window` seconds.
    Frames that come while the model works are left out.

    An existing table is replaced only with `overwrite`, and only once the camera has delivered
    something: by the first row, or by a table without rows at the end.

    Args:
        config: Settings; `camera` names the camera, `out` a .jsonl that is written row by row.
        progress: Where to report.
        on_row: Called with the row of each prediction.

    Raises:
        ConfigError: settings that make no sense with a camera.
        DataError: the camera cannot be opened, or gives no frame.
        ArtifactError: a model that cannot be used.
    """
    _check(config)
    model = choose_model(config, progress).load()
    crop = replace(preprocess_config(config, model.card, Path()), overwrite=True)
    choice = find_detector(crop, progress)
    shows = config.show if config.show is not None else bool(os.environ.get("DISPLAY"))
    with ExitStack() as stack:
        table = None
        if config.out is not None:
            stack.enter_context(writing_file(config.out))
            table = _LiveTable(config.out)
        camera = stack.enter_context(Camera(str(config.camera), config.max_pixels))
        window = stack.enter_context(Window(TITLE)) if shows else None
        follower = FaceFollower[Frame](build_detector(choice), follow_settings(crop))
        frames = ((frame, False) for frame in _until(camera, config.end))
        last_seen: dict[int, WindowPrediction] = {}
        for frame, faces, predictions in _windows(follower.follow(frames), model, crop, config):
            for prediction in predictions:
                last_seen[prediction.track] = prediction
                row = prediction.to_row(model.label_set)
                if table is not None:
                    table.add(row)
                on_row(row)
            if window is not None and not window.show(
                _drawn(frame, faces, last_seen, model, config)
            ):
                break
        if table is not None:
            table.close()
    return model


class _LiveTable:
    """A table that grows row by row; its first row replaces an older table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False

    def add(self, row: dict[str, Any]) -> None:
        if self._begun:
            append_row(self._path, row)
        else:
            write_rows(self._path, [row])
        self._begun = True

    def close(self) -> None:
        if not self._begun:
            write_rows(self._path, [])


def _check(config: PredictConfig) -> None:
    check(config, where="dfer predict")
    check_windows(config.window, config.stride)
    if config.sources:
        raise ConfigError("--camera does not go with SOURCE")
    if config.identities != "off":
        raise ConfigError("--camera does not go with --identities")
    if config.video is not None or config.html is not None or config.faces_out is not None:
        raise ConfigError("--camera goes with --out, not with --video, --html or --faces-out")
    of_files = ("spans", "summary", "export", "clock")
    if asked := [f"--{name}" for name in of_files if getattr(config, name)]:
        raise ConfigError(f"--camera does not go with {', '.join(asked)}")
    if config.out is not None and config.out.suffix.lower() != ".jsonl":
        raise ConfigError(
            f"--camera writes rows as they come: --out takes .jsonl, got {config.out}"
        )
    if config.out is not None and os.path.lexists(config.out) and not config.overwrite:
        raise ConfigError(
            f"{config.out} exists", hint="choose another --out, or replace it with --overwrite"
        )


def _until(camera: Camera, end: float | None) -> Iterator[Frame]:
    for frame in camera:
        if end is not None and frame.pts_seconds > end:
            return
        yield frame


def _windows(
    followed: Iterator[tuple[Frame, list[TrackedFace]]],
    model: LoadedModel,
    crop: PreprocessConfig,
    config: PredictConfig,
) -> Iterator[tuple[Frame, list[TrackedFace], list[WindowPrediction]]]:
    """Yield each frame with its faces and, every `stride` seconds, a prediction for each face."""
    seen: dict[int, deque[_Sight]] = {}
    due = config.stride
    for frame, faces in followed:
        for face in faces:
            sights = seen.setdefault(face.track, deque())
            if sights and frame.pts_seconds - sights[-1].seconds > GAP_SECONDS:
                sights.clear()  # no window spans a gap
            sights.append(_Sight(frame.pts_seconds, face.box_xyxy_px, cut_crop(frame, face, crop)))
        for track, sights in list(seen.items()):
            while sights and sights[0].seconds <= frame.pts_seconds - config.window:
                sights.popleft()
            if not sights:
                del seen[track]
        predictions = []
        if frame.pts_seconds >= due:
            due = frame.pts_seconds + config.stride
            here = {face.track for face in faces}
            predictions = _predict(
                {track: sights for track, sights in seen.items() if track in here}, model, config
            )
        yield frame, faces, predictions


def _predict(
    seen: dict[int, deque[_Sight]], model: LoadedModel, config: PredictConfig
) -> list[WindowPrediction]:
    if not seen:
        return []
    clips = []
    for sights in seen.values():
        chosen = sample_test(len(sights), model.num_frames)
        crops = np.stack([sights[index].crop for index in chosen])  # (T, H, W, 3)
        clips.append(resize(torch.from_numpy(crops).permute(0, 3, 1, 2), model.image_size))
    rows = model.probabilities(torch.stack(clips)).tolist()
    threshold = model.card.threshold(config.min_confidence)
    predictions = []
    for (track, sights), row in zip(seen.items(), rows, strict=True):
        best = int(np.argmax(row))
        left, top, right, bottom = np.mean([one.box_xyxy_px for one in sights], axis=0).tolist()
        predictions.append(
            WindowPrediction(
                source=f"camera {config.camera}",
                track=track,
                start_seconds=round(sights[0].seconds, 6),
                end_seconds=round(sights[-1].seconds, 6),
                label=model.label_set[best],
                confidence=row[best],
                uncertain=row[best] < threshold,
                probabilities=tuple(row),
                mean_box_xyxy_px=(left, top, right, bottom),
            )
        )
    return predictions


def _drawn(
    frame: Frame,
    faces: list[TrackedFace],
    last_seen: dict[int, WindowPrediction],
    model: LoadedModel,
    config: PredictConfig,
) -> NDArray[np.uint8]:
    """The frame with its faces and the last prediction of each."""
    height, width = frame.image.shape[:2]
    overlay = Overlay(
        model.label_set,
        (),
        (width, height),
        length_seconds=1.0,
        min_confidence=model.card.threshold(config.min_confidence),
    )
    shown = [
        ShownFace(face.track, face.box_xyxy_px, np.array(last_seen[face.track].probabilities))
        for face in faces
        if face.track in last_seen
    ]
    return overlay.draw(frame.image, frame.pts_seconds, shown)
