"""Follow faces through a stream of frames: detect now and then, name, interpolate, smooth.

Frames go in and come out one by one and in order, each with the faces seen in it. The follower
holds back only as many as it needs to interpolate, to bridge a short loss and to smooth, so memory
does not grow with the length. While all faces keep still or move evenly, it detects less often. If
a face is not clearly found again, it also detects on the frames between two detections.
"""

import itertools
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.pictures import scaled
from dfercli.errors import DataError
from dfercli.faces.absence import Absence, Reason, why_lost
from dfercli.faces.detect import NARROWEST_PX, NO_TRACK, Detector, Faces, no_faces
from dfercli.faces.look import ALIKE, Look, difference, look_of
from dfercli.faces.sightings import (
    FrameT,
    Sighting,
    Step,
    interpolate,
    part_way,
    sightings_of,
)
from dfercli.faces.smooth import CLOCK_SECONDS, TrackedFace, smoothed
from dfercli.faces.track import FaceTracker

TRACKING_SLACK = 0.75  # a track also keeps faces down to this part of `min_face_px`
# The search uses at most this `min_face_px`, even if a larger one is set: boxes from images shrunk
# further are smaller and coarser, and give other tracks instead of fewer.
FOUND_ALIKE_PX = 48
BRIDGED_SECONDS = 0.5  # a face that is lost for no longer, but visible, does not count as lost


@dataclass(frozen=True)
class FollowSettings:
    """How to follow.

    Attributes:
        detect_seconds: Time from one detection to the next; the detector also sees the first and
            the last frame of a scene.
        calm_seconds: The same, if longer, while no face moves unevenly, comes or goes.
        min_face_px: Smaller faces are left out.
        lost_seconds: How long a face may be hidden and keep its identity.
        smooth_seconds: Boxes are averaged over this much time before and after.
        region_xywh_px: The part of the picture to look in; None: all of it.
        on_grid: Detect at multiples of these times, so a follower that begins later uses the
            same frames.
    """

    detect_seconds: float
    min_face_px: int
    lost_seconds: float
    smooth_seconds: float
    region_xywh_px: tuple[int, int, int, int] | None = None
    on_grid: bool = False
    calm_seconds: float = 0.0


@dataclass(frozen=True)
class _Missing:
    """A face that was lost lately."""

    seconds: float
    sighting: Sighting
    look: Look | None
    reason: Reason


class FaceFollower(Generic[FrameT]):
    """Follows the faces of one source.

    Args:
        detector: Finds the faces.
        settings: How to follow.
        counted: Whether the frame of a time counts for `sides_px`.

    Attributes:
        largest_face_px: The longer side of the largest face seen, whether kept or not.
        sides_px: Of every track, kept or not, the longer side of its boxes.
        absences: When and why faces that had a track were not seen, in order of their end.
        doubts: Track and time of each match that may be wrong.
        unnamed_seconds: Times of faces that were found and belong to no track.
    """

    def __init__(
        self,
        detector: Detector,
        settings: FollowSettings,
        counted: Callable[[float], bool] = lambda seconds: True,
    ) -> None:
        self.largest_face_px = 0.0
        self.sides_px: dict[int, array[float]] = {}
        self.absences: list[Absence] = []
        self.doubts: list[tuple[int, float]] = []
        self.unnamed_seconds: array[float] = array("d")
        self._detector = detector
        self._settings = settings
        self._counted = counted
        self._smallest_px = TRACKING_SLACK * settings.min_face_px
        self._found_px = TRACKING_SLACK * min(settings.min_face_px, FOUND_ALIKE_PX)
        # A detector of batches is fast with many pictures at once, not with one more.
        calm_seconds = settings.calm_seconds if detector.batch_size == 1 else 0.0
        self._every = max(settings.detect_seconds, calm_seconds)
        self._tracker = FaceTracker(settings.lost_seconds, detector.new_track_score, self._found_px)
        self._before: Step[FrameT] | None = None  # the last one given to the detector
        self._missing: dict[int, _Missing] = {}
        self._linked: deque[Step[FrameT]] = deque()  # named, and held back

    def follow(
        self, frames: Iterable[tuple[FrameT, bool]]
    ) -> Iterator[tuple[FrameT, list[TrackedFace]]]:
        """Yield every frame with its faces, in order of track number.

        Args:
            frames: Each frame, and whether it begins a new scene.
        """
        return self.link(self.detect(frames))

    def detect(
        self,
        frames: Iterable[tuple[FrameT, bool]],
        without_image: Callable[[FrameT], FrameT] | None = None,
    ) -> Iterator[Step[FrameT]]:
        """The first half of `follow`, which may run in another thread than the second.

        Detects at intervals, in batches, names what is found, and looks again where needed.

        Args:
            frames: Each frame, and whether it begins a new scene.
            without_image: Gives the frame without its picture, which is not kept then; None to
                hand frames on as they are.
        """
        held: list[Step[FrameT]] = []
        every = self._every
        due_seconds = last_seconds = float("-inf")
        for frame, is_cut in frames:
            seconds = frame.pts_seconds
            if is_cut and held:
                held[-1].detect = True
            begins_scene = is_cut or last_seconds == float("-inf")
            # The frame closest to the due time.
            ahead = 0.0 if last_seconds == float("-inf") else (seconds - last_seconds) / 2
            is_due = seconds + ahead >= due_seconds
            detect = begins_scene or is_due
            last_seconds = seconds
            if every and self._settings.on_grid:
                ticks = (seconds + ahead + CLOCK_SECONDS) // every
                due_seconds = (ticks + 1) * every - CLOCK_SECONDS
            elif detect:
                due_seconds = seconds + every
            step = Step(frame, begins_scene, detect, None)
            if without_image is not None:
                step.picture = self._shown(frame.image)
                step.frame = without_image(frame)
            held.append(step)
            del frame, step  # else they live until the next one is there
            if detect and sum(step.detect for step in held) >= self._detector.batch_size:
                yield from self._name(held)
        if held:
            held[-1].detect = True
            yield from self._name(held)
        if self._before is not None:
            self._end_scene("no face found")
        while self._linked:
            yield _done(self._linked.popleft())

    def link(self, steps: Iterable[Step[FrameT]]) -> Iterator[tuple[FrameT, list[TrackedFace]]]:
        """The second half of `follow`: smooth the boxes."""
        return smoothed(steps, self._settings.smooth_seconds, self._smallest_px, self._note_side)

    def _note_side(self, number: int, side_px: float, seconds: float) -> None:
        if not self._counted(seconds):
            return
        self.sides_px.setdefault(number, array("f")).append(side_px)

    def _picture(self, step: Step[FrameT]) -> NDArray[np.uint8]:
        """The picture of a step for the detector; most frames between detections need none."""
        if step.picture is None:
            step.picture = self._shown(step.frame.image)
        return step.picture

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

    def _in_picture(self, geometry: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (N, 2) of the whole frame in the detector's picture."""
        corner = np.array((self._settings.region_xywh_px or (0, 0))[:2], np.float32)
        return (geometry - corner) * np.float32(self._scale())

    def _look_at(self, steps: list[Step[FrameT]]) -> None:
        """Detect; the faces are in pixels of the whole frame."""
        x, y = (self._settings.region_xywh_px or (0, 0))[:2]
        pictures = [self._picture(step) for step in steps]
        for step, faces in zip(steps, self._detected(pictures), strict=True):
            moved = faces.moved(x, y, 1.0 / self._scale())
            sides_px = (moved.box_xyxy_px[:, 2:] - moved.box_xyxy_px[:, :2]).max(axis=1, initial=0)
            self.largest_face_px = max(self.largest_face_px, float(sides_px.max(initial=0)))
            step.faces = moved

    def _detected(self, pictures: list[NDArray[np.uint8]]) -> list[Faces]:
        """The faces that the detector finds; it never sees pictures too narrow for a face."""
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

    def _look_of(self, step: Step[FrameT], geometry: NDArray[np.float32]) -> Look | None:
        return look_of(self._picture(step), self._in_picture(geometry[:2]).reshape(4))

    def _name(self, steps: list[Step[FrameT]]) -> Iterator[Step[FrameT]]:
        """Detect on the steps that need it, name the faces, and yield finished steps."""
        self._look_at([step for step in steps if step.detect])
        between: list[Step[FrameT]] = []
        while steps:
            step = steps.pop(0)
            if step.faces is None:
                between.append(step)
                continue
            if step.begins_scene and self._before is not None:
                self._end_scene("cut")
            self._go_on(between, step)
            between, now_seconds = [], step.frame.pts_seconds
            del step  # else its picture lives on
            yield from self._released(now_seconds)

    def _go_on(self, between: list[Step[FrameT]], now: Step[FrameT]) -> None:
        """Name the faces of `now`; if that is not clear, look at the frames between."""
        assert now.faces is not None
        seconds = now.frame.pts_seconds
        sightings = list(sightings_of(now.faces))
        looks = [self._look_of(now, sighting.geometry) for sighting in sightings]
        is_long = between and self._passed(now) > self._settings.detect_seconds + CLOCK_SECONDS
        if between and not self._tracker.is_sure(now.faces, seconds, looks, calm=bool(is_long)):
            if self._detector.batch_size > 1:
                self._look_at(between)
                for step in between:
                    self._go_on([], step)
                self._go_on([], now)
                return
            middle = len(between) // 2
            self._look_at([between[middle]])
            self._go_on(between[:middle], between[middle])
            self._go_on(between[middle + 1 :], now)
            return
        update = self._tracker.update(now.faces, seconds, looks)
        numbers = update.numbers.tolist()
        for number, sighting in zip(numbers, sightings, strict=True):
            if number != NO_TRACK:
                now.seen[number] = sighting
        now.unnamed = [
            sighting
            for number, sighting in zip(numbers, sightings, strict=True)
            if number == NO_TRACK
        ]
        before = self._before
        if before is not None and not now.begins_scene:
            for number in update.lost:
                self._missing[number] = self._why_missing(number, before, now)
            interpolate(before, between, now)
        self.doubts += [(number, seconds) for number in update.doubtful]
        self._linked.extend([*between, now])
        now.sightings = sightings
        for number, history in update.earlier.items():
            self._fill_in(number, [*history, (seconds, numbers.index(number))])
        for number in update.found_again:
            self._bridge(number)
        if now.unnamed:
            self.unnamed_seconds.append(seconds)
        self._before = now

    def _passed(self, now: Step[FrameT]) -> float:
        """Seconds since the last frame that the detector saw."""
        assert self._before is not None
        return now.frame.pts_seconds - self._before.frame.pts_seconds

    def _why_missing(self, number: int, before: Step[FrameT], now: Step[FrameT]) -> _Missing:
        assert now.faces is not None
        sighting = before.seen[number]
        look = self._look_of(before, sighting.geometry)
        boxes = self._in_picture(now.faces.box_xyxy_px.reshape(-1, 2)).reshape(-1, 4)
        reason = why_lost(
            self._in_picture(sighting.geometry),
            look,
            self._picture(now),
            boxes,
            self._found_px * self._scale(),
        )
        return _Missing(before.frame.pts_seconds, sighting, look, reason)

    def _fill_in(self, number: int, history: list[tuple[float, int]]) -> None:
        """Give a track the faces that turned out to be its own, and the boxes between them."""
        steps = {step.frame.pts_seconds: step for step in self._linked}
        anchors = [(steps[at], row) for at, row in history if at in steps]
        for step, row in anchors:
            step.seen[number] = step.sightings[row]
        for (first, _), (last, _) in itertools.pairwise(anchors):
            start, end = first.frame.pts_seconds, last.frame.pts_seconds
            for at, step in steps.items():
                if start < at < end:
                    share = np.float32((at - start) / (end - start))
                    step.seen[number] = part_way(first.seen[number], last.seen[number], share)

    def _bridge(self, number: int) -> None:
        """Fill in a face that was lost for a moment, if it is visible in its place all the time."""
        missing = self._missing.pop(number)
        later = [step for step in self._linked if step.frame.pts_seconds > missing.seconds]
        back = next(step for step in later if number in step.seen)
        end_seconds = back.frame.pts_seconds
        passed = end_seconds - missing.seconds
        gone = later[: later.index(back)]
        filled = []
        if passed <= BRIDGED_SECONDS:
            for step in gone:
                share = np.float32((step.frame.pts_seconds - missing.seconds) / passed)
                sighting = part_way(missing.sighting, back.seen[number], share)
                if difference(missing.look, self._look_of(step, sighting.geometry)) > ALIKE:
                    break
                filled.append(sighting)
        if gone and len(filled) == len(gone):
            for step, sighting in zip(gone, filled, strict=True):
                step.seen[number] = sighting
        else:
            self.absences.append(Absence(number, missing.seconds, end_seconds, missing.reason))

    def _released(self, now_seconds: float) -> Iterator[Step[FrameT]]:
        """The steps that no recently lost face may still need; the last one is kept."""
        waiting = [
            missing.seconds
            for missing in self._missing.values()
            if now_seconds - missing.seconds <= BRIDGED_SECONDS
        ]
        until = min([*waiting, self._tracker.waiting_since - 1e-6])
        while len(self._linked) > 1 and self._linked[0].frame.pts_seconds <= until:
            yield _done(self._linked.popleft())

    def _end_scene(self, reason: Reason) -> None:
        """Close the tracks of a scene, including those of faces without a number yet."""
        last = self._before
        assert last is not None
        for number, history in self._tracker.end_scene().items():
            self._fill_in(number, history)
        seconds = last.frame.pts_seconds
        for number, missing in self._missing.items():
            self.absences.append(Absence(number, missing.seconds, None, missing.reason))
        self.absences += [Absence(number, seconds, None, reason) for number in last.seen]
        self._missing = {}


def _done(step: Step[FrameT]) -> Step[FrameT]:
    """A step without its picture, which is no longer needed."""
    step.picture = None
    return step


def _shrunk(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Halve as often as possible, which is fast and exact, then interpolate."""
    while scale <= 0.5:
        half = (max(1, image.shape[1] // 2), max(1, image.shape[0] // 2))
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
        scale *= 2
    return scaled(image, scale, cv2.INTER_LINEAR)
