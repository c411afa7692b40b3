"""The one interface of all face detectors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.errors import DataError

NO_TRACK = -1  # instead of the number of a track, for a face without one
NARROWEST_PX = 8  # of a picture that a detector is shown: in less there is no face


@dataclass(frozen=True)
class Faces:
    """The faces found in one image; n is their number.

    Attributes:
        box_xyxy_px: (n, 4) float32, left, top, right, bottom; may leave the image.
        score: (n,) float32 in [0, 1]; 1 if the detector gives none.
        points_px: (n, 5, 2) float32: the eye on the left of the image, the other eye, nose tip,
            mouth corner on the left, the other corner; None if the detector gives none.
    """

    box_xyxy_px: NDArray[np.float32]
    score: NDArray[np.float32]
    points_px: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.score)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Faces":
        """Only the chosen faces, in the order of `chosen` if it holds numbers."""
        points = None if self.points_px is None else self.points_px[chosen]
        return Faces(self.box_xyxy_px[chosen], self.score[chosen], points)

    def moved(self, x_px: float, y_px: float, scale: float = 1.0) -> "Faces":
        """The faces in the coordinates of a larger picture: scaled, then shifted."""
        shift = np.array([x_px, y_px], np.float32)
        points = None if self.points_px is None else self.points_px * np.float32(scale) + shift
        boxes = self.box_xyxy_px * np.float32(scale) + np.tile(shift, 2)
        return Faces(boxes, self.score, points)


def no_faces() -> Faces:
    """An image without a face."""
    return Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def without_doubles(found: list[Faces], overlap: float) -> Faces:
    """All faces of several views of a picture, each once: the best of those that overlap."""
    found = [faces for faces in found if len(faces)]
    if not found:
        return no_faces()
    boxes = np.concatenate([faces.box_xyxy_px for faces in found])
    scores = np.concatenate([faces.score for faces in found])
    points = [faces.points_px for faces in found if faces.points_px is not None]
    sizes = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    kept = cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), 0.0, overlap)
    every = Faces(boxes, scores, np.concatenate(points) if points else None)
    return every.select(np.asarray(kept, np.intp).ravel())


@contextmanager
def opencv_faults(detector: str, image: NDArray[np.uint8]) -> Iterator[None]:
    """Turn an OpenCV error for a picture into the failure of its source.

    Raises:
        DataError: the detector cannot look at `image`.
    """
    try:
        yield
    except cv2.error as error:
        height, width = image.shape[:2]
        raise DataError(
            f"the detector {detector} cannot process a picture of {width} x {height} pixels: "
            f"{error.err}"
        ) from error


class Detector(Protocol):
    """Finds faces in images.

    Attributes:
        name: Its name for `--detector`.
        batch_size: How many images to pass at once.
        smallest_face_px: The shortest side of a face that it finds reliably; images may be
            shrunk until the smallest face wanted is that small.
        new_track_score: A face scored lower does not begin a track.
    """

    name: str
    batch_size: int
    smallest_face_px: int
    new_track_score: float

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Find the faces in each image ((H, W, 3) uint8 RGB), best score first.

        Raises:
            DataError: it cannot look at such an image.
        """
