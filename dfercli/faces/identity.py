"""Portraits of the tracks of a source, and the grouping of faces into people."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dfercli.faces.absence import TURNED_AWAY, turn
from dfercli.faces.recogniser import FaceRecogniser
from dfercli.faces.smooth import TrackedFace

# Cosine from which on two faces are one person: OpenCV publishes it for SFace, 99.6 % right on LFW.
SAME_PERSON = 0.363
FIRST_VIEWS_SECONDS = 0.3  # from one view of a track to the next, at first
LATER_VIEWS = 0.2  # later this part of the time that it has been seen
NEVER = 1e6  # a distance that no mean can bring below the limit

Portrait = NDArray[np.float32]  # (D,), of unit length


class Portraits:
    """Views of the tracks of one source, some of each: more of the first moments than of later.

    Args:
        recogniser: Describes a view.
    """

    def __init__(self, recogniser: FaceRecogniser) -> None:
        self._recogniser = recogniser
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._first_seconds: dict[int, float] = {}
        self._due_seconds: dict[int, float] = {}

    def look(self, image: NDArray[np.uint8], face: TrackedFace, seconds: float) -> None:
        """Take a view of a face, unless there was one lately or it is no good.

        Args:
            image: (H, W, 3) uint8 RGB, the whole frame.
            face: The place of the face in it.
            seconds: The frame's time; later than the time before.
        """
        number, points = face.track, face.points_px
        if not face.detected or points is None or turn(points) > TURNED_AWAY:
            return
        if seconds < self._due_seconds.get(number, seconds):
            return
        view = self._recogniser.describe(image, points)
        if view is None:
            return
        first = self._first_seconds.setdefault(number, seconds)
        wait = max(FIRST_VIEWS_SECONDS, LATER_VIEWS * (seconds - first))
        self._due_seconds[number] = seconds + wait
        self._sums[number] = self._sums.get(number, np.zeros(len(view))) + view

    def portrait(self, tracks: Iterable[int]) -> Portrait | None:
        """The mean of all views of some tracks; None without a view."""
        return mean_portrait(self._sums[number] for number in tracks if number in self._sums)


def mean_portrait(portraits: Iterable[NDArray[np.floating]]) -> Portrait | None:
    """The mean direction of several portraits; None if there is none."""
    total = np.sum([np.asarray(one, np.float64) for one in portraits] or [np.zeros(1)], axis=0)
    length = float(np.linalg.norm(total))
    return (total / length).astype(np.float32) if length > 0 else None


def people_among(portraits: Sequence[Portrait | None], apart: NDArray[np.bool_]) -> list[int]:
    """Group faces by person: average linkage of their cosines.

    Args:
        portraits: Of n faces, each (D,); None if unknown, which makes a separate person.
        apart: (n, n) symmetric, True for two faces that cannot be one person.

    Returns:
        For each face the number of its person, from 0 in order of the first face.
    """
    groups = list(range(len(portraits)))
    known = [number for number, portrait in enumerate(portraits) if portrait is not None]
    if len(known) > 1:
        rows = np.stack([portrait for portrait in portraits if portrait is not None])
        first, second = np.triu_indices(len(known), 1)
        cosines = (rows @ rows.T)[first, second].astype(np.float64)
        distances = np.clip(1.0 - cosines, 0.0, 2.0)
        distances[apart[np.ix_(known, known)][first, second]] = NEVER
        # Here, as every process that finds faces would spend half a second on it.
        from scipy.cluster.hierarchy import fcluster, linkage

        found = fcluster(linkage(distances, "average"), 1.0 - SAME_PERSON, "distance")
        leaders: dict[int, int] = {}
        for number, group in zip(known, found.tolist(), strict=True):
            groups[number] = leaders.setdefault(group, number)
    order = {leader: number for number, leader in enumerate(dict.fromkeys(groups))}
    return [order[leader] for leader in groups]
