"""Where the parts of a face are: 68 landmarks from an identity and its action units.

Face units: the origin lies between the eyes, x points right in the image, y points down, and 1 is
half the width of an average face at the cheekbones. Landmarks follow the 68 points of iBUG 300-W.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from dfercli.drawn_faces.action_units import ACTION_UNITS
from dfercli.drawn_faces.identity import Identity

JAW = slice(0, 17)
LEFT_BROW, RIGHT_BROW = slice(17, 22), slice(22, 27)
NOSE_BRIDGE, NOSE_BASE = slice(27, 31), slice(31, 36)
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
OUTER_LIPS, INNER_LIPS = slice(48, 60), slice(60, 68)
"""The parts of the 68 points; left and right as seen in the image."""

MOUTH_HEIGHT = 0.97
IRIS_RADIUS = 0.1


@dataclass(frozen=True)
class Pose:
    """Where the head is and how it is turned.

    Attributes:
        centre: Point between the eyes, as shares of the frame's width and height.
        scale: Length of one face unit as a share of the frame's width.
        roll: Radians; positive turns the head clockwise in the image.
        yaw: Radians; positive turns the face to the right of the image.
        pitch: Radians; positive turns the face down.
        gaze: Shift of the irises in face units.
    """

    centre: tuple[float, float] = (0.5, 0.46)
    scale: float = 0.25
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)

    def project(self, points: np.ndarray, size: int, lift: float = 0.0) -> np.ndarray:
        """Project points of the face's surface into the frame.

        Args:
            points: (N, 2) in face units.
            size: Width and height of the frame in pixels.
            lift: How far the points stand out from the surface, in face units.

        Returns:
            (N, 2) float64 in pixels.
        """
        x, y = points[:, 0], points[:, 1]
        depth = 0.8 * np.sqrt(1.0 - np.minimum(1.0, (x / 1.1) ** 2)) + lift
        turned_x = x * math.cos(self.yaw) + depth * math.sin(self.yaw)
        turned_y = y * math.cos(self.pitch) + depth * math.sin(self.pitch)
        cos, sin = math.cos(self.roll) * self.scale, math.sin(self.roll) * self.scale
        pixels = np.empty((len(points), 2))
        pixels[:, 0] = (self.centre[0] + turned_x * cos - turned_y * sin) * size
        pixels[:, 1] = (self.centre[1] + turned_x * sin + turned_y * cos) * size
        return pixels


def complete(action_units: Mapping[int, float]) -> dict[int, float]:
    """Return all units in order, 0 where `action_units` names none.

    Raises:
        ValueError: a unit that is not drawn.
    """
    unknown = sorted(set(action_units) - set(ACTION_UNITS))
    if unknown:
        raise ValueError(f"action units that are not drawn: {unknown}")
    return {unit: float(action_units.get(unit, 0.0)) for unit in ACTION_UNITS}


def landmarks(identity: Identity, action_units: Mapping[int, float]) -> np.ndarray:
    """Return the 68 landmarks (68, 2) float64 in face units."""
    au = complete(action_units)
    points = np.empty((68, 2))
    points[JAW] = _jaw(identity, au)
    right_brow = _right_brow(identity, au)
    points[RIGHT_BROW] = right_brow
    points[LEFT_BROW] = _mirrored(right_brow)[::-1]
    points[NOSE_BRIDGE], points[NOSE_BASE] = _nose(identity, au)
    right_eye = _right_eye(identity, au)
    points[RIGHT_EYE] = right_eye
    points[LEFT_EYE] = _mirrored(right_eye)[[3, 2, 1, 0, 5, 4]]
    points[OUTER_LIPS], points[INNER_LIPS] = _lips(identity, au)
    return points


def skull(identity: Identity) -> np.ndarray:
    """Return the outline of the head above the eyes, from right to left: (21, 2)."""
    angle = np.linspace(0.0, np.pi, 21)
    return np.stack(
        [identity.face_width * np.cos(angle), -0.05 - 1.2 * np.sin(angle) ** 0.85], axis=1
    )


def eye_centre(identity: Identity, side: int) -> np.ndarray:
    """Return the centre (2,) of the eye at the left (-1) or right (1) of the image."""
    return np.array([side * identity.eye_spacing, 0.0])


def smooth(points: np.ndarray) -> np.ndarray:
    """Return a smooth open curve (4 (N - 1) + 1, 2) through points (N, 2)."""
    curve: np.ndarray = _spline(len(points)) @ points
    return curve


@cache
def _spline(num_points: int) -> np.ndarray:
    """The matrix (4 (N - 1) + 1, N) of a Catmull-Rom spline with repeated ends."""
    steps = np.arange(4)[:, None] / 4
    weights = 0.5 * np.hstack(
        [
            -steps + 2 * steps**2 - steps**3,
            2 - 5 * steps**2 + 3 * steps**3,
            steps + 4 * steps**2 - 3 * steps**3,
            -(steps**2) + steps**3,
        ]
    )
    matrix = np.zeros((4 * (num_points - 1) + 1, num_points))
    for segment in range(num_points - 1):
        for column, neighbour in enumerate(range(segment - 1, segment + 3)):
            target = min(max(neighbour, 0), num_points - 1)
            matrix[4 * segment : 4 * segment + 4, target] += weights[:, column]
    matrix[-1, -1] = 1.0
    return matrix


def _mirrored(points: np.ndarray) -> np.ndarray:
    mirrored: np.ndarray = points * np.array([-1.0, 1.0])
    return mirrored


def _jaw(identity: Identity, au: Mapping[int, float]) -> np.ndarray:
    angle = np.linspace(0.0, np.pi, 17)
    squareness = 0.95 - 0.35 * identity.jaw_squareness
    taper = 0.10 - 0.08 * identity.jaw_squareness
    cos, sin = np.cos(angle), np.sin(angle)
    x = -np.sign(cos) * np.abs(cos) ** squareness * (1.0 - taper * sin**2)
    y = -0.05 + (identity.face_length + 0.05) * sin
    y += (0.26 * au[26] + 0.03 * au[25] - 0.03 * au[17]) * sin**3
    return np.stack([identity.face_width * x, y], axis=1)


def _right_brow(identity: Identity, au: Mapping[int, float]) -> np.ndarray:
    """From the inner to the outer end."""
    share = np.linspace(0.0, 1.0, 5)
    inner, outer = (1.0 - share) ** 1.2, share
    x = 0.15 + 0.56 * share
    y = -identity.brow_height - identity.brow_arch * np.sin(np.pi * share**0.8) + 0.05 * share**3
    opposed = 1.0 - 0.75 * au[1]
    y = y - 0.18 * au[1] * inner - 0.14 * au[2] * (0.3 + 0.7 * outer) * (share > 0)
    y += au[4] * opposed * (0.19 * inner + 0.05) + au[9] * (0.1 * inner + 0.02)
    x = x - (0.07 * au[4] + 0.03 * au[9]) * inner
    return np.stack([x, y], axis=1)


def _nose(identity: Identity, au: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray]:
    raised = 0.07 * au[9] + 0.03 * au[10]
    tip = identity.nose_length - 0.1 - raised
    bridge = np.stack([np.zeros(4), np.linspace(-0.04, tip, 4)], axis=1)
    width = identity.nose_width * (1.0 + 0.18 * au[9] + 0.08 * au[10] + 0.06 * au[12])
    base_x = np.array([-0.8, -0.42, 0.0, 0.42, 0.8]) * width
    base_y = identity.nose_length - raised + np.array([-0.02, 0.02, 0.045, 0.02, -0.02])
    return bridge, np.stack([base_x, base_y], axis=1)


def _right_eye(identity: Identity, au: Mapping[int, float]) -> np.ndarray:
    """Inner corner, two upper points, outer corner, two lower points."""
    size = identity.eye_size
    upper = 0.1 * size + 0.06 * au[5] - 0.045 * au[7] - 0.03 * au[9] - 0.02 * au[6]
    lower = 0.055 * size + 0.02 * au[5] - 0.045 * au[7] - 0.04 * au[6] - 0.03 * au[9]
    lower -= 0.015 * au[12]
    upper += au[43] * (-lower + 0.012 - upper)
    half, third = 0.205 * size, 0.085 * size
    tilt = identity.eye_tilt
    x = np.array([-half, -third, third, half, third, -third]) + identity.eye_spacing
    y = np.array([0.015, -upper, -upper - 0.3 * tilt, -tilt, lower - 0.3 * tilt, lower])
    return np.stack([x, y], axis=1)


def _lips(identity: Identity, au: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """The outer (12, 2) and the inner (8, 2) outline, in the order of the landmarks."""
    half = identity.mouth_width
    thickness = identity.lip_fullness * (1.0 - 0.6 * au[23])
    half *= 1.0 - 0.2 * au[23] - 0.12 * au[26] - 0.06 * au[10] * (1.0 - au[12])
    corner_x = half + 0.16 * au[12] + 0.17 * au[20] - 0.02 * au[15]
    corner_y = MOUTH_HEIGHT - 0.18 * au[12] + 0.16 * au[15] + 0.05 * au[20] + 0.1 * au[26]

    upper_lift = 0.12 * au[10] + 0.04 * au[9] + 0.03 * au[25] + 0.03 * au[12] * au[25]
    lower_drop = 0.09 * au[25] + 0.32 * au[26] - 0.09 * au[17] + 0.02 * au[12]
    lower_drop = max(lower_drop, -upper_lift)
    upper_centre, lower_centre = MOUTH_HEIGHT - upper_lift, MOUTH_HEIGHT + lower_drop
    flank = 0.55 + 0.25 * au[20] + 1.3 * au[10]

    def arc(centre: float, shares: np.ndarray, bow: np.ndarray) -> np.ndarray:
        """Points between the corners at shares -1 to 1 of the width, lifted by `bow`."""
        near_corner = np.abs(shares) ** (1.2 + flank)
        return np.stack(
            [shares * corner_x, centre + (corner_y - centre) * near_corner + bow], axis=1
        )

    upper_bow = -thickness * np.array([0.0, 0.05, 0.085, 0.068, 0.085, 0.05, 0.0])
    lower_bow = thickness * (1.0 + 0.25 * au[17]) * np.array([0.075, 0.115, 0.125, 0.115, 0.075])
    outer = np.concatenate(
        [
            arc(upper_centre, np.array([-1.0, -0.62, -0.24, 0.0, 0.24, 0.62, 1.0]), upper_bow),
            arc(lower_centre, np.array([0.66, 0.3, 0.0, -0.3, -0.66]), lower_bow),
        ]
    )
    inner = np.concatenate(
        [
            arc(upper_centre, np.array([-0.9, -0.4, 0.0, 0.4, 0.9]), np.zeros(5)),
            arc(lower_centre, np.array([0.4, 0.0, -0.4]), np.full(3, 0.004)),
        ]
    )
    return outer, inner
