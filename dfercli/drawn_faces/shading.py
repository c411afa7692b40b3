"""Light and shadow on the skin, and the lines that action units fold into it."""

from collections.abc import Mapping

import cv2
import numpy as np

from dfercli.drawn_faces import geometry
from dfercli.drawn_faces.geometry import Pose
from dfercli.drawn_faces.identity import Identity
from dfercli.drawn_faces.raster import fill, stroke
from dfercli.drawn_faces.shapes import FaceShapes, ellipse

PLAIN = 128
"""The value of a shade map that leaves a pixel as it is."""


def shade_skin(
    image: np.ndarray,
    identity: Identity,
    au: Mapping[int, float],
    pose: Pose,
    shapes: FaceShapes,
    side_light: float,
) -> np.ndarray:
    """Return `image` (H, W, 3) with the face modelled by light.

    Args:
        image: RGB uint8, with flat skin.
        identity: Who.
        au: Intensity of every action unit.
        pose: Where the head is.
        shapes: The outlines in pixels.
        side_light: -1 (from the left of the image) to 1.
    """
    size = image.shape[0]
    relief = cv2.resize(
        _relief(identity, au, pose, shapes, side_light, size // 2),
        (size, size),
        interpolation=cv2.INTER_LINEAR,
    )
    shade = cv2.multiply(relief, _lines(identity, au, pose, shapes, size), scale=1 / 255)
    return cv2.multiply(image, cv2.LUT(cv2.merge([shade] * 3), _warm_shadows()), scale=1 / PLAIN)


def _warm_shadows() -> np.ndarray:
    """A table (256, 1, 3) uint8 that darkens red less than blue, as skin does."""
    shade = np.arange(256)[:, None] / PLAIN
    powers = np.where(shade < 1.0, np.array([0.85, 1.0, 1.08]), 1.0)
    return np.clip(shade**powers * PLAIN, 0, 255).astype(np.uint8)[:, None, :]


def _relief(
    identity: Identity,
    au: Mapping[int, float],
    pose: Pose,
    shapes: FaceShapes,
    side_light: float,
    size: int,
) -> np.ndarray:
    """The soft shade map (size, size) uint8."""
    shade = np.full((size, size), PLAIN, np.uint8)

    darkness = 1.0 - sum(identity.skin_rgb) / 765
    gloss = 1.0 + 1.5 * darkness

    def spot(x: float, y: float, radii: tuple[float, float], value: float) -> None:
        value = PLAIN + (value - PLAIN) * (gloss if value > PLAIN else 1.0)
        fill(shade, [pose.project(ellipse((x, y), radii), size)], int(value))

    face = shapes.face[0] / 2
    middle = face.mean(axis=0) + np.array([side_light * 0.09 * pose.scale * size, 0.0])
    fill(shade, [face], 92)
    fill(shade, [middle + (face - middle) * 0.93], 112)
    fill(shade, [middle + (face - middle) * 0.84], PLAIN)
    corner_x, corner_y = shapes.points[54].tolist()
    smile = _smile(au)
    cheek = 142 + 14 * au[6] + 6 * au[12]
    brow_drop = max(au[4] * (1 - au[1]), au[9])
    spot(0.0, -0.62, (0.58, 0.26), 152 + 8 * max(au[1], au[2]))
    socket = 92 - 16 * darkness - 12 * brow_drop - 10 * au[5]
    for side in (-1, 1):
        spot(side * 0.56, 0.44 - 0.08 * au[6] - 0.04 * au[12], (0.25, 0.2), cheek)
        spot(side * 0.74, 0.72, (0.14, 0.22), 124)
        eye = identity.eye_spacing
        spot(side * eye, -0.03, (0.3, 0.2 + 0.02 * au[5]), socket)
        spot(side * eye, 0.17 - 0.03 * au[6], (0.22, 0.05), 122)
        spot(side * 0.14, 0.3, (0.05, 0.2), 110)
        start = [side * (identity.nose_width + 0.08), identity.nose_length]
        groove = np.array([start, [side * (corner_x + 0.12), corner_y - 0.04]])
        tone = int(PLAIN - 6 - 24 * smile)
        stroke(shade, pose.project(groove, size), tone, 0.09 * pose.scale * size)
    nose = identity.nose_length
    bridge = np.array([[0.0, -0.28], [0.0, -0.05], [0.0, nose - 0.12]])
    stroke(shade, pose.project(bridge, size, 0.1), 150, 0.12 * pose.scale * size)
    spot(0.0, nose - 0.1, (0.09, 0.07), 158)
    spot(0.0, nose + 0.09, (0.22, 0.05), 92)
    lips = shapes.landmarks[57] / 2
    below = 0.07 * pose.scale * size
    radii = (0.24 * pose.scale * size, 0.05 * pose.scale * size)
    fill(shade, [ellipse((lips[0], lips[1] + below), radii)], 94)
    spot(0.0, identity.face_length - 0.2 + 0.2 * au[26], (0.18, 0.1), 138)
    return cv2.GaussianBlur(shade, (0, 0), 0.075 * pose.scale * size)


def _lines(
    identity: Identity, au: Mapping[int, float], pose: Pose, shapes: FaceShapes, size: int
) -> np.ndarray:
    """The map (size, size) uint8 of lines and folds; 255 leaves a pixel as it is."""
    lines = np.full((size, size), 255, np.uint8)
    unit_px = pose.scale * size

    def fold(points: list[list[float]], strength: float, width: float = 0.035) -> None:
        if strength > 0.04:
            curve = pose.project(geometry.smooth(np.array(points)), size)
            stroke(lines, curve, int(255 * (1.0 - min(strength, 0.85))), width * unit_px)

    age = identity.age
    lift = 0.12 * max(au[1], au[2])
    for row in range(3):
        y = -0.56 - 0.1 * row - lift * 0.5
        span = 0.22 + 0.26 * max(au[2], 0.4 * age)
        strength = 0.2 * max(au[1], au[2]) + 0.1 * age
        fold([[-span, y + 0.04], [-span / 2, y], [span / 2, y], [span, y + 0.04]], strength)
    frown = au[4]
    corner_x, corner_y = shapes.points[54].tolist()
    wing = identity.nose_width
    smile = _smile(au)
    for side in (-1.0, 1.0):
        fold([[side * 0.07, -0.36], [side * 0.055, -0.26], [side * 0.08, -0.14]], 0.55 * frown)
        for row in range(3):
            y = -0.03 + 0.1 * row
            fold([[side * 0.03, y], [side * 0.1, y + 0.02], [side * 0.16, y + 0.08]], 0.5 * au[9])
        outer = side * (identity.eye_spacing + 0.24)
        for row in (-1, 0, 1):
            end = [outer + side * 0.16, 0.03 + 0.1 * row]
            fold([[outer, 0.02 + 0.03 * row], end], 0.5 * au[6] + 0.12 * age, 0.025)
        eye = side * identity.eye_spacing
        bag = 0.13 + 0.03 * (1 - au[6])
        pouch = 0.16 * age + 0.45 * max(au[6], au[7], 0.6 * au[9])
        fold([[eye - 0.19, bag - 0.03], [eye, bag + 0.03], [eye + 0.19, bag - 0.03]], pouch)
        fold(
            [
                [side * wing * 1.1, identity.nose_length - 0.1 - 0.06 * au[9]],
                [side * (wing + 0.13), identity.nose_length + 0.06],
                [side * (corner_x + 0.12), corner_y - 0.08],
                [side * (corner_x + 0.13), corner_y + 0.03],
            ],
            0.06 + 0.14 * age + 0.3 * smile,
        )
        fold(
            [[side * corner_x, corner_y], [side * (corner_x + 0.05), corner_y + 0.08]],
            0.45 * au[15] + 0.15 * age,
        )
        bracket = [[side * (corner_x + 0.08), corner_y + dy] for dy in (-0.14, 0.0, 0.14)]
        fold(bracket, 0.4 * au[20])
        fold(
            [
                [side * wing * 0.75, identity.nose_length - 0.16 - 0.07 * au[9]],
                [side * wing * 1.08, identity.nose_length - 0.08 - 0.07 * au[9]],
                [side * wing * 0.9, identity.nose_length - 0.07 * au[9]],
            ],
            0.42 + 0.2 * au[9],
        )
    chin = identity.face_length - 0.24
    fold([[-0.16, chin + 0.03], [0.0, chin - 0.03], [0.16, chin + 0.03]], 0.6 * au[17], 0.05)
    for part in (geometry.LEFT_EYE, geometry.RIGHT_EYE):
        eye_px = shapes.landmarks[part]
        crease = geometry.smooth(eye_px[:4]) - [0.0, 0.055 * unit_px]
        stroke(lines, crease, 160, 0.03 * unit_px)
        lid = geometry.smooth(np.concatenate([eye_px[3:], eye_px[:1]]))
        stroke(lines, lid, 150, 0.03 * unit_px)
    return cv2.GaussianBlur(lines, (3, 3), 0)


def _smile(au: Mapping[int, float]) -> float:
    """How deep the fold from nose to mouth is, 0 to 1."""
    return max(au[12], 0.9 * au[10], 0.7 * au[9])
