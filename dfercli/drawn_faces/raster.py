"""Polygons into pixels, and the region map."""

import cv2
import numpy as np

from dfercli.artifacts.face_parts import REGIONS
from dfercli.drawn_faces.identity import Rgb
from dfercli.drawn_faces.shapes import FaceShapes

_SHIFT = 4


def fixed(points: np.ndarray) -> np.ndarray:
    """Return points in the fixed-point form of OpenCV's drawing (shift 4)."""
    shifted: np.ndarray = np.rint(points * (1 << _SHIFT))
    return shifted.astype(np.int32)


def fill(image: np.ndarray, outlines: list[np.ndarray], colour: Rgb | int) -> None:
    """Fill polygons (N, 2), in pixels, with soft edges."""
    for outline in outlines:
        cv2.fillPoly(image, [fixed(outline)], colour, cv2.LINE_AA, _SHIFT)


def stroke(image: np.ndarray, curve: np.ndarray, colour: Rgb | int, width_px: float) -> None:
    """Draw an open curve (N, 2), in pixels, with soft edges, at least one pixel wide."""
    width = max(1, round(width_px))
    cv2.polylines(image, [fixed(curve)], False, colour, width, cv2.LINE_AA, _SHIFT)


def region_map(shapes: FaceShapes, size: int) -> np.ndarray:
    """Return (size, size) uint8 indices into `REGIONS`; what is in front hides what is behind."""
    regions = np.zeros((size, size), np.uint8)
    layers = (
        ("hair", shapes.hair_behind),
        ("neck", shapes.neck),
        ("clothes", shapes.clothes),
        ("ears", shapes.ears),
        ("skin", shapes.face),
        ("nose", shapes.nose),
        ("eyes", shapes.eyes),
        ("upper_lip", shapes.upper_lip),
        ("lower_lip", shapes.lower_lip),
        ("mouth", shapes.mouth),
        ("brows", shapes.brows),
        ("hair", shapes.hair),
    )
    for name, outlines in layers:
        for outline in outlines:
            cv2.fillPoly(regions, [fixed(outline)], REGIONS.index(name), cv2.LINE_8, _SHIFT)
    return regions
