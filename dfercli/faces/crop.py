"""Cut face crops: a square with margin, or turned and scaled by five points; never squashed."""

import cv2
import numpy as np
from numpy.typing import NDArray

# Targets of the five points in an upright crop, relative to its side (ArcFace's template).
FIVE_POINTS = np.array(
    [
        [0.3419, 0.4616],
        [0.6565, 0.4598],
        [0.5002, 0.6405],
        [0.3710, 0.8246],
        [0.6315, 0.8233],
    ],
    np.float32,
)


def square_transform(
    box_xyxy_px: NDArray[np.float32], size_px: int, margin: float
) -> NDArray[np.float64]:
    """The (2, 3) map from picture to crop that shows the square around a box.

    Args:
        box_xyxy_px: (4,) left, top, right, bottom.
        size_px: Side of the crop.
        margin: Part of the box's longer side that is added on each side.
    """
    left, top, right, bottom = (float(value) for value in box_xyxy_px)
    side = max(right - left, bottom - top, 1.0) * (1 + 2 * margin)
    scale = size_px / side
    x, y = (left + right) / 2, (top + bottom) / 2
    return np.array([[scale, 0, size_px / 2 - scale * x], [0, scale, size_px / 2 - scale * y]])


def points_transform(
    points_px: NDArray[np.float32], size_px: int, margin: float
) -> NDArray[np.float64]:
    """The (2, 3) similarity that maps five points to the template (least squares, Umeyama).

    scikit-image has it, too, but would load SciPy in every worker for these few lines of NumPy.

    Args:
        points_px: (5, 2) as in `Faces.points_px`.
        size_px: Side of the crop.
        margin: Part of the template's side that is added on each side.
    """
    wanted = ((FIVE_POINTS.astype(np.float64) - 0.5) / (1 + 2 * margin) + 0.5) * size_px
    points = points_px.astype(np.float64)
    centre, wanted_centre = points.mean(axis=0), wanted.mean(axis=0)
    spread, wanted_spread = points - centre, wanted - wanted_centre
    left, sizes, right = np.linalg.svd(wanted_spread.T @ spread)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    scale = float((sizes * signs).sum() / max(float((spread**2).sum()), 1e-12))
    linear = scale * rotation
    return np.column_stack([linear, wanted_centre - linear @ centre])


def warp(
    image: NDArray[np.uint8], transform: NDArray[np.float64], size_px: int
) -> NDArray[np.uint8]:
    """Cut a crop of `size_px` x `size_px`; what lies outside the picture repeats its border.

    Args:
        image: (H, W, 3) uint8.
        transform: (2, 3) similarity from picture to crop.
        size_px: Side of the crop.
    """
    (a, b), (c, d) = transform[:, :2].tolist()
    scale = abs(a * d - b * c) ** 0.5
    shrink = int(1 / scale) if scale > 0 else 1
    if shrink >= 2:
        # A bilinear warp reads four pixels; average first where many fall on one.
        image, origin = _surroundings(image, transform, size_px, shrink)
        width, height = max(1, image.shape[1] // shrink), max(1, image.shape[0] // shrink)
        # A whole number of pixels to one is several times as fast; what is cut off lies outside.
        image = image[: max(height * shrink, 1), : max(width * shrink, 1)]
        factors = np.array([image.shape[1] / width, image.shape[0] / height])
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        image = np.asarray(small, np.uint8)
        linear = transform[:, :2] * factors
        shift = transform[:, :2] @ (origin + (factors - 1) / 2) + transform[:, 2]
        transform = np.column_stack([linear, shift])
    crop = cv2.warpAffine(
        image,
        transform,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, np.uint8)


def _surroundings(
    image: NDArray[np.uint8], transform: NDArray[np.float64], size_px: int, spare_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of the picture that a crop shows, and its upper left corner (x, y)."""
    corners = np.array([[0, 0, 1], [size_px, 0, 1], [0, size_px, 1], [size_px, size_px, 1]])
    seen = corners @ cv2.invertAffineTransform(transform).T
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(seen.min(axis=0)) - 2, 0, [width - 1, height - 1]).astype(int)
    beyond = 2 + spare_px
    right, bottom = np.clip(np.ceil(seen.max(axis=0)) + beyond, 1, [width, height]).astype(int)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    return image[top:bottom, left:right], np.array([left, top], np.float64)
