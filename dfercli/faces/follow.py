"""Follow faces through a stream of frames: detect at intervals, track, interpolate, smooth.

Frames go in and come out one by one and in order, each with the faces seen in it; only as many
are held back as interpolation and smoothing look ahead, so memory does not grow with the length.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.pictures import scaled
from dfercli.errors import DataError
from dfercli.faces.detect import NARROWEST_PX, NO_TRACK, Detector, Faces, no_faces

DETECT_SECONDS = 0.12  # between detections where `detect_every` is not set
TRACKING_SLACK = 0.75  # of a track also faces down to this part of `min_face_px` are kept
# Faces are looked for as with this `min_face_px` where a larger one is set: boxes found in images
# shrunk further are smaller and coarser, and make other tracks instead of fewer.
FOUND_ALIKE_PX = 48


class TimedImage(Protocol):
    """A picture with its time."""

    @property
    def pts_seconds(self) -> float:
        """Presentation time; strictly increasing."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""


FrameT = TypeVar("FrameT", bound=TimedImage)


@dataclass(frozen=True)
class FollowSettings:
    """How to follow.

    Attributes:
        detect_every: Detect on every n-th frame of a scene, and on its first and last.
        min_face_px: Smaller faces are left out.
        lost_seconds: How long a face may be hidden and keep its identity.
        smooth_frames: Boxes are averaged with so many frames before and after.
        region_xywh_px: The part of the picture to look in; None is all of it.
        apart_seconds: Time between detections, 0 where unknown. Where it is long, faces are
            looked for further away and may be hidden for longer.
    """

    detect_every: int
    min_face_px: int
    lost_seconds: float
    smooth_frames: int
    region_xywh_px: tuple[int, int, int, int] | None = None
    apart_seconds: float = 0.0


@dataclass(frozen=True)
class TrackedFace:
    """One face in one frame.

    Attributes:
        track: Number of its track.
        box_xyxy_px: (4,) float32, as detected, or interpolated between two detections.
        smooth_box_xyxy_px: (4,) float32, averaged over time.
        score: The detector's score, the lower of the two where interpolated.
        detected: False where interpolated.
        points_px: (5, 2) float32 as detected or interpolated, None where the detector has none.
        smooth_points_px: (5, 2) float32, averaged over time, or None.
    """

    track: int
    box_xyxy_px: NDArray[np.float32]
    smooth_box_xyxy_px: NDArray[np.float32]
    score: float
    detected: bool
    points_px: NDArray[np.float32] | None
    smooth_points_px: NDArray[np.float32] | None


@dataclass(frozen=True)
class _Sighting:
    """One face in one frame: (2 + P, 2) float32, the box's two corners and the P points."""

    geometry: NDArray[np.float32]
    score: float
    detected: bool


@dataclass
class Step(Generic[FrameT]):
    """One frame on its way: `faces` where it is to be detected on, `seen` by track number.

    `picture` is what the detector will be shown, where that was made ahead.
    """

    frame: FrameT
    begins_scene: bool
    detect: bool
    picture: NDArray[np.uint8] | None = None
    faces: Faces | None = None
    seen: dict[int, _Sighting] = field(default_factory=dict)
    unnamed: list[_Sighting] = field(default_factory=list)


def frames_between_detections(fps: float) -> int:
    """The default of `detect_every` at a frame rate; 1 where the rate is unknown."""
    return max(1, round(DETECT_SECONDS * fps))


class FaceFollower(Generic[FrameT]):
    """Follows the faces of one source.

    Attributes:
        largest_face_px: The longer side of the largest face seen, whether kept or not.
    """

    def __init__(self, detector: Detector, settings: FollowSettings) -> None:
        self.largest_face_px = 0.0
        self._detector = detector
        self._settings = settings
        self._smallest_px = TRACKING_SLACK * settings.min_face_px
        self._found_px = TRACKING_SLACK * min(settings.min_face_px, FOUND_ALIKE_PX)
        # Slow to import, and the process that distributes work does not need it.
        from dfercli.faces.track import FaceTracker

        self._tracker = FaceTracker(
            settings.lost_seconds, detector.new_track_score, settings.apart_seconds
        )

    def follow(
        self, frames: Iterable[tuple[FrameT, bool]]
    ) -> Iterator[tuple[FrameT, list[TrackedFace]]]:
        """Yield every frame with its faces, in order of track number.

        Args:
            frames: Each with whether it begins a new scene.
        """
        return self.link(self.detect(frames))

    def detect(
        self,
        frames: Iterable[tuple[FrameT, bool]],
        without_image: Callable[[FrameT], FrameT] | None = None,
    ) -> Iterator[Step[FrameT]]:
        """The first half of `follow`, which may run in another thread than the second.

        Detects on the first, the last and every n-th frame of each scene, in batches.

        Args:
            frames: Each with whether it begins a new scene.
            without_image: Gives the frame without its picture, which is not kept then; None to
                hand frames on as they are.
        """
        held: list[Step[FrameT]] = []
        since_detection = 0
        for frame, is_cut in frames:
            if is_cut and held:
                held[-1].detect = True
            elif held and not held[-1].detect:
                held[-1].picture = None
            begins_scene = is_cut or (since_detection == 0 and not held)
            detect = begins_scene or since_detection >= self._settings.detect_every
            since_detection = 1 if detect else since_detection + 1
            step = Step(frame, begins_scene, detect)
            if without_image is not None:
                # Whether to detect on it may show with the next frame only.
                step.picture = self._shown(frame.image)
                step.frame = without_image(frame)
            held.append(step)
            del frame, step  # else they live until the next one is there
            if detect and sum(step.detect for step in held) >= self._detector.batch_size:
                yield from self._detect_on(held)
        if held:
            held[-1].detect = True
            yield from self._detect_on(held)

    def link(self, steps: Iterable[Step[FrameT]]) -> Iterator[tuple[FrameT, list[TrackedFace]]]:
        """The second half of `follow`: name, interpolate and smooth what was detected."""
        return self._smooth(self._name(steps))

    def _detect_on(self, steps: list[Step[FrameT]]) -> Iterator[Step[FrameT]]:
        """Detect where that is wanted; yield all steps and take them out of the list."""
        wanted = [step for step in steps if step.detect]
        pictures = [
            self._shown(step.frame.image) if step.picture is None else step.picture
            for step in wanted
        ]
        for step, faces in zip(wanted, self._find(pictures), strict=True):
            step.faces, step.picture = faces, None
        del wanted, pictures
        while steps:
            yield steps.pop(0)

    def _shown(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region only, as small as the smallest face to find allows."""
        if self._settings.region_xywh_px is not None:
            x, y, width, height = self._settings.region_xywh_px
            if y >= image.shape[0] or x >= image.shape[1]:
                size = f"{image.shape[1]} x {image.shape[0]}"
                raise DataError(f"the region begins outside the picture of {size} pixels")
            image = image[y : y + height, x : x + width]
        scale = self._scale()
        return np.ascontiguousarray(_shrunk(image, scale) if scale < 1.0 else image)

    def _scale(self) -> float:
        return min(1.0, self._detector.smallest_face_px / self._found_px)

    def _find(self, pictures: list[NDArray[np.uint8]]) -> list[Faces]:
        """Detect; the faces are in pixels of the whole frame."""
        x, y = (self._settings.region_xywh_px or (0, 0))[:2]
        results = []
        for faces in self._detected(pictures):
            moved = faces.moved(x, y, 1.0 / self._scale())
            sides_px = (moved.box_xyxy_px[:, 2:] - moved.box_xyxy_px[:, :2]).max(axis=1, initial=0)
            self.largest_face_px = max(self.largest_face_px, float(sides_px.max(initial=0)))
            results.append(moved.select(sides_px >= self._found_px))
        return results

    def _detected(self, pictures: list[NDArray[np.uint8]]) -> list[Faces]:
        """What the detector finds; it never sees pictures that are too narrow for a face."""
        wide = [min(picture.shape[:2]) >= NARROWEST_PX for picture in pictures]
        shown = [picture for picture, fits in zip(pictures, wide, strict=True) if fits]
        try:
            found = iter(self._detector.detect(shown) if shown else [])
        except cv2.error as error:
            height, width = shown[0].shape[:2]
            raise DataError(
                f"the {self._detector.name} detector fails on a picture of {width} x {height} "
                f"pixels: {error.err}"
            ) from error
        return [next(found) if fits else no_faces() for fits in wide]

    def _name(self, steps: Iterable[Step[FrameT]]) -> Iterator[Step[FrameT]]:
        """Name faces, and interpolate those found on both sides of frames without detection."""
        held: list[Step[FrameT]] = []  # from the last detection on
        for step in steps:
            if step.faces is None:
                held.append(step)
                continue
            if step.begins_scene and held:
                self._end_scene(held[0])
                yield from held
                held = []
            numbers = self._tracker.update(step.faces, step.frame.pts_seconds)
            for number, sighting in zip(numbers.tolist(), _sightings(step.faces), strict=True):
                if number == NO_TRACK:
                    step.unnamed.append(sighting)
                else:
                    step.seen[number] = sighting
            if held:
                _fill_first_sightings(held[0], step)
                _interpolate(held[0], held[1:], step)
                yield from held
            held = [step]
        if held:
            self._end_scene(held[0])
            yield from held

    def _end_scene(self, last: Step[FrameT]) -> None:
        """Faces first seen in the last frame of a scene are tracks of that one frame."""
        needed = self._detector.new_track_score
        sure = [sighting for sighting in last.unnamed if sighting.score >= needed]
        numbers = self._tracker.new_numbers(len(sure)).tolist()
        last.seen.update(zip(numbers, sure, strict=True))
        self._tracker.end_scene()

    def _smooth(self, steps: Iterable[Step[FrameT]]) -> Iterator[tuple[FrameT, list[TrackedFace]]]:
        radius, smallest_px = self._settings.smooth_frames, self._smallest_px
        before: deque[dict[int, _Sighting]] = deque(maxlen=radius)
        ahead: deque[Step[FrameT]] = deque()
        for step in steps:
            ahead.append(step)
            if len(ahead) > radius:
                yield _smoothed(before, ahead, smallest_px)
                before.append(ahead.popleft().seen)
        while ahead:
            yield _smoothed(before, ahead, smallest_px)
            before.append(ahead.popleft().seen)


def _shrunk(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Halve as often as possible, which is fast and exact, then interpolate."""
    while scale <= 0.5:
        half = (max(1, image.shape[1] // 2), max(1, image.shape[0] // 2))
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
        scale *= 2
    return scaled(image, scale, cv2.INTER_LINEAR)


def _sightings(faces: Faces) -> Iterator[_Sighting]:
    corners = faces.box_xyxy_px.reshape(-1, 2, 2)
    geometry = corners
    if faces.points_px is not None:
        geometry = np.concatenate([corners, faces.points_px], axis=1)
    for row, score in zip(geometry, faces.score.tolist(), strict=True):
        yield _Sighting(row, score, detected=True)


def _fill_first_sightings(before: Step[FrameT], now: Step[FrameT]) -> None:
    """A track is named at its second detection: find its first among the unnamed before."""
    for number, sighting in now.seen.items():
        if number in before.seen or not before.unnamed:
            continue
        overlaps = [_iou(sighting.geometry, other.geometry) for other in before.unnamed]
        best = int(np.argmax(overlaps))
        if overlaps[best] > 0:
            before.seen[number] = before.unnamed.pop(best)


def _iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes, each in the first two rows of a geometry."""
    sides = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
    common = float(np.prod(np.maximum(sides, 0)))
    total = float(np.prod(one[1] - one[0]) + np.prod(other[1] - other[0])) - common
    return common / total if total > 0 else 0.0


def _interpolate(before: Step[FrameT], between: list[Step[FrameT]], after: Step[FrameT]) -> None:
    span = after.frame.pts_seconds - before.frame.pts_seconds
    for step in between:
        weight = np.float32((step.frame.pts_seconds - before.frame.pts_seconds) / span)
        for number in sorted(before.seen.keys() & after.seen.keys()):
            first, second = before.seen[number], after.seen[number]
            geometry = first.geometry + weight * (second.geometry - first.geometry)
            step.seen[number] = _Sighting(geometry, min(first.score, second.score), False)


def _smoothed(
    before: deque[dict[int, _Sighting]], ahead: deque[Step[FrameT]], smallest_px: float
) -> tuple[FrameT, list[TrackedFace]]:
    """Average each face of the first step ahead with as many frames before as after it."""
    faces = []
    for number, sighting in sorted(ahead[0].seen.items()):
        if (sighting.geometry[1] - sighting.geometry[0]).max() < smallest_px:
            continue
        geometries = [sighting.geometry]
        for distance in range(1, min(len(before), len(ahead) - 1) + 1):
            past, future = before[-distance].get(number), ahead[distance].seen.get(number)
            if past is None or future is None:
                break
            geometries += [past.geometry, future.geometry]
        smooth = np.stack(geometries).mean(axis=0, dtype=np.float32)
        has_points = len(smooth) > 2
        faces.append(
            TrackedFace(
                track=number,
                box_xyxy_px=sighting.geometry[:2].reshape(4),
                smooth_box_xyxy_px=smooth[:2].reshape(4),
                score=sighting.score,
                detected=sighting.detected,
                points_px=sighting.geometry[2:] if has_points else None,
                smooth_points_px=smooth[2:] if has_points else None,
            )
        )
    return ahead[0].frame, faces
