"""Boxes averaged over time, to keep crops from shaking."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfercli.faces.sightings import FrameT, Sighting, Step

MOST_FRAMES = 16  # before and after, each held in memory
CLOCK_SECONDS = 1e-3  # times are rounded

Past = deque[tuple[float, dict[int, Sighting]]]  # time and faces of the frames before


@dataclass(frozen=True)
class TrackedFace:
    """One face in one frame.

    Attributes:
        track: Number of its track.
        box_xyxy_px: (4,) float32, as detected, or interpolated between two detections.
        smooth_box_xyxy_px: (4,) float32, averaged over time.
        score: The detector's score; if interpolated, the lower of the two.
        detected: False if interpolated.
        points_px: (5, 2) float32 as detected or interpolated; None if the detector has none.
        smooth_points_px: (5, 2) float32, averaged over time, or None.
    """

    track: int
    box_xyxy_px: NDArray[np.float32]
    smooth_box_xyxy_px: NDArray[np.float32]
    score: float
    detected: bool
    points_px: NDArray[np.float32] | None
    smooth_points_px: NDArray[np.float32] | None


def smoothed(
    steps: Iterable[Step[FrameT]],
    seconds: float,
    smallest_px: float,
    on_side: Callable[[int, float, float], None],
) -> Iterator[tuple[FrameT, list[TrackedFace]]]:
    """Yield each frame with its faces in order of track number, averaged over time.

    Args:
        steps: Frames with their faces, in order.
        seconds: Average over so much time before and after.
        smallest_px: Smaller faces are left out.
        on_side: Called with track, longer side in pixels and time of each face, small ones, too.
    """
    reach = seconds + CLOCK_SECONDS
    before: Past = deque(maxlen=MOST_FRAMES)
    ahead: deque[Step[FrameT]] = deque()

    def first() -> tuple[FrameT, list[TrackedFace]]:
        result = _first_smoothed(before, ahead, reach, smallest_px)
        step = ahead.popleft()
        before.append((step.frame.pts_seconds, step.seen))
        return result

    for step in steps:
        for number, sighting in step.seen.items():
            side_px = float((sighting.geometry[1] - sighting.geometry[0]).max())
            on_side(number, side_px, step.frame.pts_seconds)
        while ahead and (
            len(ahead) > MOST_FRAMES or step.frame.pts_seconds - ahead[0].frame.pts_seconds > reach
        ):
            yield first()
        ahead.append(step)
    while ahead:
        yield first()


def _first_smoothed(
    before: Past, ahead: deque[Step[FrameT]], reach: float, smallest_px: float
) -> tuple[FrameT, list[TrackedFace]]:
    """Average each face of the first step ahead over as many frames before as after it."""
    now = ahead[0].frame.pts_seconds
    radius = 0
    while (
        radius < min(len(before), len(ahead) - 1)
        and ahead[radius + 1].frame.pts_seconds - now <= reach
        and now - before[-radius - 1][0] <= reach
    ):
        radius += 1
    faces = []
    for number, sighting in sorted(ahead[0].seen.items()):
        if (sighting.geometry[1] - sighting.geometry[0]).max() < smallest_px:
            continue
        geometries = [sighting.geometry]
        for distance in range(1, radius + 1):
            past, future = before[-distance][1].get(number), ahead[distance].seen.get(number)
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
