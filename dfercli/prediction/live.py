"""`dfer predict --camera`: the same windows as on files, while the camera runs."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray

from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.jsonl import append_row, write_rows
from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.attempts import Crash
from dfercli.config import PredictConfig, PreprocessConfig
from dfercli.data.sampling import sample_test
from dfercli.errors import ConfigError
from dfercli.faces.build import build_detector
from dfercli.faces.follow import FaceFollower
from dfercli.faces.smooth import TrackedFace
from dfercli.inference.choose_model import choose_model
from dfercli.inference.loaded_model import LoadedModel
from dfercli.overrides import check
from dfercli.prediction.face_source import preprocess_config
from dfercli.prediction.live_pace import LivePace
from dfercli.prediction.live_session import LiveSession, is_taken, outputs_of
from dfercli.prediction.outputs import VIDEO_SUFFIX, bugs_path, check_files
from dfercli.prediction.results_folder import is_folder, with_page
from dfercli.prediction.streams import FRAMES, CropViews, ViewMaker, finding_faces, plan_streams
from dfercli.prediction.windows import check_windows
from dfercli.preprocessing.crops import cut_crop, follow_settings
from dfercli.preprocessing.detectors import find_detector
from dfercli.preprocessing.time_grid import GAP_SECONDS
from dfercli.progress import Progress
from dfercli.report.live_lanes import LiveLanes
from dfercli.report.overlay import Overlay, ShownFace
from dfercli.video.camera import Camera
from dfercli.video.frames import Frame
from dfercli.video.recorder import Recorder
from dfercli.video.window import Window

TITLE = "dfer (q ends it)"
WAITING_PICTURE = (240, 320, 3)


@dataclass
class _Sight:
    """One face in one frame; its views are made when a window first looks at it."""

    seconds: float
    box_xyxy_px: NDArray[np.float32]
    crop: NDArray[np.uint8]
    views: CropViews | None = None


@dataclass(frozen=True)
class LiveResult:
    """The result of a camera.

    Attributes:
        model: The model in use.
        pace: How fast it was.
    """

    model: LoadedModel
    pace: LivePace


def run(
    config: PredictConfig, progress: Progress, on_row: Callable[[dict[str, Any]], None]
) -> LiveResult:
    """Recognise what a camera sees until it ends, `config.end` is reached, or q is pressed.

    Every `stride` seconds each visible face gets a prediction for the last `window` seconds. Frames
    that come while the model works are skipped. A table in .jsonl grows row by row; all other files
    are written at the end, even if the run is interrupted.

    Existing files are replaced only with `overwrite`, and only once the camera has delivered
    something.

    Args:
        config: Settings; `camera` names the camera.
        progress: Where to report.
        on_row: Called with the row of each prediction.

    Raises:
        ConfigError: settings that make no sense with a camera.
        DataError: the camera cannot be opened, or gives no frame.
        ArtifactError: a model that cannot be used, or a file that cannot be written.
    """
    config = with_page(config)
    _check(config)
    chosen = choose_model(config, progress)
    crop = replace(preprocess_config(config, chosen.card, Path()), overwrite=True)
    plan = plan_streams(config, chosen.card, crop, (), progress)
    model = chosen.load()
    maker = ViewMaker(plan, model.image_size, progress)
    choice = find_detector(finding_faces(crop, plan), progress)
    shows = config.show if config.show is not None else bool(os.environ.get("DISPLAY"))
    source = f"camera {config.camera}" if config.record is None else str(config.record)
    session = LiveSession(source, with_pictures=config.html is not None)
    pace = LivePace()
    seconds: list[float] = []  # of the newest frame
    on_bug = _first_bug(source, BugLog(bugs_path(config)), progress)
    # Frames wait for the next detection, so it may not come later while faces are calm.
    follow = replace(follow_settings(crop), calm_seconds=0.0)
    follower = FaceFollower[Frame](build_detector(choice), follow)
    with ExitStack() as stack:
        stack.enter_context(model.looking_at(plan.streams))
        for path in outputs_of(config).values():
            stack.enter_context(writing_file(path))
        table = _LiveTable(config.out) if _grows(config.out) else None
        window = stack.enter_context(Window(TITLE)) if shows else None
        view = None if window is None else _View(model, config)
        if window is not None:
            window.show(
                np.zeros(WAITING_PICTURE, np.uint8)
            )  # the window opens before a frame comes
        _warm_up(model)
        camera = stack.enter_context(Camera(str(config.camera), config.max_pixels))

        def write_files() -> None:
            if seconds:
                session.write(
                    config,
                    chosen,
                    detector=choice.name,
                    precision=model.precision,
                    length_seconds=seconds[-1],
                    absences=follower.absences,
                    table_is_written=table is not None,
                )

        if len(outputs_of(config)) > (table is not None):
            stack.callback(write_files)
        recorder = None if config.record is None else stack.enter_context(Recorder(config.record))

        def came() -> Iterator[tuple[Frame, bool]]:
            for frame in _until(camera, config.end):
                pace.came(frame.index, camera.taken_at)
                seconds[:] = [frame.pts_seconds]
                if recorder is not None:
                    recorder.add(frame)
                yield frame, False

        followed = follower.follow(came())
        for frame, faces, predictions in _windows(
            followed, model, maker, crop, config, source, session, on_bug
        ):
            for prediction in predictions:
                row = prediction.to_row(model.label_set)
                if table is not None:
                    table.add(row)
                on_row(row)
            goes_on = True
            if window is not None and view is not None:
                goes_on = window.show(view.draw(frame, faces, predictions, pace.now()))
            pace.shown(frame.index)
            if not goes_on:
                break
        if table is not None:
            table.close()
    whole = pace.whole()
    if whole is not None:
        progress.note(whole)
    return LiveResult(model, pace)


def _first_bug(source: str, bugs: BugLog, progress: Progress) -> Callable[[Crash], None]:
    """Logs and reports the first bug of a stream; the next frames will hit the same one."""
    told: list[str] = []

    def on_bug(crash: Crash) -> None:
        if not told:
            told.append(bugs.add(source, crash))
            progress.note(told[0])

    return on_bug


def _warm_up(model: LoadedModel) -> None:
    """Run the slow first computation now, so nobody waits for it in front of a camera."""
    size = model.image_size
    model.probabilities(torch.zeros(1, model.num_frames, 3, size, size, dtype=torch.uint8))


def _grows(out: Path | None) -> TypeGuard[Path]:
    """Whether a table is written row by row as rows come."""
    return out is not None and not is_folder(out) and out.suffix.lower() == ".jsonl"


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
    if config.min_seconds is not None:
        raise ConfigError("--camera does not go with --min-seconds: it shows faces at once")
    if config.captions:
        raise ConfigError("--camera does not go with --captions: an LLM takes too long")
    if config.video is not None or config.faces_out is not None or config.clock is not None:
        raise ConfigError(
            "--camera does not go with --video, --faces-out or --clock",
            hint="--record keeps the camera's picture, for dfer predict",
        )
    check_files(config)
    if config.record is not None and config.record.suffix.lower() != VIDEO_SUFFIX:
        raise ConfigError(f"--record takes a name in {VIDEO_SUFFIX}, got {config.record}")
    for name, path in outputs_of(config).items():
        if is_taken(path) and not config.overwrite:
            raise ConfigError(
                f"{path} exists", hint=f"choose another {name}, or replace it with --overwrite"
            )


def _until(camera: Camera, end: float | None) -> Iterator[Frame]:
    for frame in camera:
        if end is not None and frame.pts_seconds > end:
            return
        yield frame


def _windows(
    followed: Iterator[tuple[Frame, list[TrackedFace]]],
    model: LoadedModel,
    maker: ViewMaker,
    crop: PreprocessConfig,
    config: PredictConfig,
    source: str,
    session: LiveSession,
    on_bug: Callable[[Crash], None],
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
            sight = sights[-1]
            session.sight(face.track, sight.seconds, sight.box_xyxy_px, sight.crop)
        for track, sights in list(seen.items()):
            while sights and sights[0].seconds <= frame.pts_seconds - config.window:
                sights.popleft()
            if not sights:
                del seen[track]
        predictions = []
        if frame.pts_seconds >= due:
            due = frame.pts_seconds + config.stride
            here = {face.track for face in faces}
            shown = {track: sights for track, sights in seen.items() if track in here}
            predictions = _predict(shown, model, maker, config, source, on_bug)
            for prediction in predictions:
                middle = shown[prediction.track][len(shown[prediction.track]) // 2]
                session.predict(prediction, middle.crop)
        yield frame, faces, predictions


def _predict(
    seen: dict[int, deque[_Sight]],
    model: LoadedModel,
    maker: ViewMaker,
    config: PredictConfig,
    source: str,
    on_bug: Callable[[Crash], None],
) -> list[WindowPrediction]:
    if not seen:
        return []
    windows = [
        [sights[index] for index in sample_test(len(sights), model.num_frames)]
        for sights in seen.values()
    ]
    new = {id(sight): sight for window in windows for sight in window if sight.views is None}
    if new:
        made = maker.views_of_pictures([sight.crop for sight in new.values()], on_bug)
        for sight, views in zip(new.values(), made, strict=True):
            sight.views = views
    views_of = [[sight.views for sight in window if sight.views] for window in windows]
    frames = torch.stack([torch.stack([one.frame for one in window]) for window in views_of])
    streams = {}
    for name in maker.plan.streams:
        has = torch.tensor([any(name in one.found for one in window) for window in views_of])
        if name != FRAMES and has.any():
            blank = torch.zeros_like(frames[0, 0])
            images = [
                torch.stack([one.images.get(name, blank) for one in window]) for window in views_of
            ]
            streams[name] = (torch.stack(images), has)
    rows = model.probabilities(frames, **streams).tolist()
    sets = model.streams_of(len(rows), streams)
    predictions = []
    for (track, sights), row, own in zip(seen.items(), rows, sets, strict=True):
        if not own:
            continue  # no face in this window
        best = int(np.argmax(row))
        left, top, right, bottom = np.mean([one.box_xyxy_px for one in sights], axis=0).tolist()
        predictions.append(
            WindowPrediction(
                source=source,
                track=track,
                start_seconds=round(sights[0].seconds, 6),
                end_seconds=round(sights[-1].seconds, 6),
                label=model.label_set[best],
                confidence=row[best],
                uncertain=row[best] < model.threshold(own, config.min_confidence),
                probabilities=tuple(row),
                mean_box_xyxy_px=(left, top, right, bottom),
                streams=own,
            )
        )
    return predictions


class _View:
    """Draws frames with the facts about their faces, and the lanes of the last half minute."""

    def __init__(self, model: LoadedModel, config: PredictConfig) -> None:
        self._label_set = model.label_set
        self._threshold = model.threshold(model.streams, config.min_confidence)
        self._lanes = LiveLanes(model.label_set)
        self._last: dict[int, WindowPrediction] = {}
        self._overlay: Overlay | None = None

    def draw(
        self,
        frame: Frame,
        faces: Sequence[TrackedFace],
        predictions: Sequence[WindowPrediction],
        told: str,
    ) -> NDArray[np.uint8]:
        """The frame, (H + h, W, 3) uint8 RGB."""
        for prediction in predictions:
            self._last[prediction.track] = prediction
            span = (prediction.start_seconds, prediction.end_seconds)
            self._lanes.add(prediction.track, *span, np.array(prediction.probabilities))
        if self._overlay is None:
            height, width = frame.image.shape[:2]
            self._overlay = Overlay(
                self._label_set,
                (),
                (width, height),
                length_seconds=1.0,
                min_confidence=self._threshold,
            )
        shown = [
            ShownFace(face.track, face.box_xyxy_px, np.array(self._last[face.track].probabilities))
            for face in faces
            if face.track in self._last
        ]
        drawn = self._overlay.draw(frame.image, frame.pts_seconds, shown)
        return self._lanes.draw(drawn, frame.pts_seconds, told)
