"""The drawing in a video: box, name, bars of the strongest classes, and a small timeline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from dfercli.report.colours import class_colours
from dfercli.report.drawn_text import drawn_text
from dfercli.report.face_panel import FacePanels, PanelText, strongest_rows
from dfercli.report.timeline import Timeline, spans_of

MOST_TRACKS = 4  # shown in the timeline at once
BACKDROP = (24, 24, 24)
UNSEEN = (60, 60, 60)
PLAYHEAD = (255, 255, 255)


@dataclass(frozen=True)
class ShownFace:
    """A face in one frame.

    Attributes:
        track: Number of its track.
        box_xyxy_px: (4,) in pixels of the frame.
        probabilities: (K,), or None if unknown at this moment.
    """

    track: int
    box_xyxy_px: NDArray[np.floating]
    probabilities: NDArray[np.float64] | None


class Overlay:
    """Draws into the frames of one video.

    Args:
        label_set: The K class names.
        timelines: Of all tracks.
        size_wh_px: Width and height of the frames.
        length_seconds: The end of the video.
        min_confidence: An expression below it gets a question mark.
        names: Names of the persons, by track; others are named by track number.
    """

    def __init__(
        self,
        label_set: Sequence[str],
        timelines: Sequence[Timeline],
        size_wh_px: tuple[int, int],
        *,
        length_seconds: float,
        min_confidence: float,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._label_set = list(map(drawn_text, label_set))
        self._min_confidence = min_confidence
        self._length_seconds = length_seconds
        palette = sv.ColorPalette.from_hex(class_colours(label_set))
        thickness = sv.calculate_optimal_line_thickness(size_wh_px)
        unit = max(10, round(min(size_wh_px) / 50))  # names in it must be readable
        self._boxes = sv.BoxAnnotator(palette, thickness=thickness)
        self._names = dict(names or {})
        floor = size_wh_px[1] - unit * (MOST_TRACKS + 2) if timelines else size_wh_px[1]
        self._panels = FacePanels(size_wh_px, floor)
        self._unit = unit
        self._colours_bgr = [palette.by_idx(k).as_bgr() for k in range(len(label_set))]
        self._strips = {
            timeline.track: self._strip(timeline, size_wh_px[0]) for timeline in timelines
        }

    def _strip(self, timeline: Timeline, width_px: int) -> NDArray[np.uint8]:
        """The whole timeline of one track as one row of pixels, (1, width, 3) BGR."""
        strip = np.full((1, width_px, 3), UNSEEN, np.uint8)
        scale = width_px / max(self._length_seconds, 1e-6)
        for span in spans_of(timeline):
            low, high = int(span.start_seconds * scale), int(np.ceil(span.end_seconds * scale))
            strip[0, low:high] = self._colours_bgr[int(span.probabilities.argmax())]
        return strip

    def draw(
        self, image: NDArray[np.uint8], seconds: float, faces: Sequence[ShownFace]
    ) -> NDArray[np.uint8]:
        """Return a copy of an RGB frame with its faces and the timelines of their tracks."""
        scene = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)
        known = [face for face in faces if face.probabilities is not None]
        if known:
            self._draw_faces(scene, known)
        tracks = [face.track for face in faces if face.track in self._strips]
        if self._strips:
            self._draw_strips(scene, seconds, tracks[:MOST_TRACKS] or [next(iter(self._strips))])
        return np.asarray(cv2.cvtColor(scene, cv2.COLOR_BGR2RGB), np.uint8)

    def _draw_faces(self, scene: NDArray[np.uint8], faces: Sequence[ShownFace]) -> None:
        rows = np.stack([np.asarray(face.probabilities) for face in faces])
        boxes = np.stack([face.box_xyxy_px for face in faces]).astype(np.float64)
        detections = sv.Detections(
            xyxy=boxes, confidence=rows.max(axis=1), class_id=rows.argmax(axis=1)
        )
        self._boxes.annotate(scene, detections)
        texts = [
            PanelText(
                face.track,
                self._name(face.track),
                bool(row.max() < self._min_confidence),
                strongest_rows(row, self._label_set, self._colours_bgr),
            )
            for face, row in zip(faces, rows, strict=True)
        ]
        self._panels.draw(scene, boxes, texts)

    def _name(self, track: int) -> str:
        return self._names.get(track, f"#{track}")

    def _draw_strips(self, scene: NDArray[np.uint8], seconds: float, tracks: list[int]) -> None:
        height, width = scene.shape[:2]
        bottom = height - self._unit // 4
        for track in reversed(sorted(tracks)):
            top = bottom - self._unit
            scene[top - 1 : bottom + 1] = BACKDROP
            scene[top:bottom] = self._strips[track]
            name = drawn_text(self._name(track), 24)
            size = self._unit / 24
            stroke = max(1, self._unit // 12)
            for colour, thickness in ((BACKDROP, 3 * stroke), (PLAYHEAD, stroke)):
                cv2.putText(
                    scene,
                    name,
                    (self._unit // 2, bottom - 1),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    size,
                    colour,
                    thickness,
                    cv2.LINE_AA,
                )
            bottom = top - max(1, self._unit // 4)
        at = int(np.clip(seconds / max(self._length_seconds, 1e-6) * width, 0, width - 1))
        half = max(1, self._unit // 8)
        scene[bottom : height - self._unit // 4, max(0, at - half) : at + half] = PLAYHEAD
