"""The outlines of everything that is filled, in pixels: what painting and regions share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfercli.drawn_faces import geometry
from dfercli.drawn_faces.geometry import Pose
from dfercli.drawn_faces.identity import Identity

_ANGLES = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
_UNIT_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)

HAIR_CROWN_POINTS = 33
"""The first points of a hair outline run over the crown; the rest run along the hairline."""


@dataclass(frozen=True, eq=False)
class FaceShapes:
    """Landmarks, and polygons (N, 2) float64 in pixels, back to front.

    Attributes:
        points: The 68 landmarks in face units.
        landmarks: The 68 landmarks in pixels.
        hair_behind: Hair behind the head.
        clothes: Shoulders.
        neck: From the chin down.
        ears: Left and right in the image.
        face: The outline of the skin.
        beard: Hair on the lower face; empty without a beard.
        nose: Bridge and nostrils.
        brows: Left and right.
        eyes: Left and right, between the lids.
        upper_lip: From corner to corner.
        lower_lip: From corner to corner.
        mouth: The opening between the lips.
        hair: Hair in front of the forehead.
    """

    points: np.ndarray
    landmarks: np.ndarray
    hair_behind: list[np.ndarray]
    clothes: list[np.ndarray]
    neck: list[np.ndarray]
    ears: list[np.ndarray]
    face: list[np.ndarray]
    beard: list[np.ndarray]
    nose: list[np.ndarray]
    brows: list[np.ndarray]
    eyes: list[np.ndarray]
    upper_lip: list[np.ndarray]
    lower_lip: list[np.ndarray]
    mouth: list[np.ndarray]
    hair: list[np.ndarray]


def face_shapes(
    identity: Identity, action_units: Mapping[int, float], pose: Pose, size: int
) -> FaceShapes:
    """Lay a face out in a frame of `size` pixels."""
    points = geometry.landmarks(identity, action_units)

    def place(outline: np.ndarray, lift: float = 0.0) -> np.ndarray:
        return pose.project(outline, size, lift)

    pixels = place(points)
    nose_lift = np.array([0.05, 0.1, 0.16, 0.22])
    for index, lift in enumerate(nose_lift):
        pixels[27 + index] = place(points[27 + index : 28 + index], lift)[0]
    pixels[geometry.NOSE_BASE] = place(points[geometry.NOSE_BASE], 0.1)

    outer, inner = pixels[geometry.OUTER_LIPS], pixels[geometry.INNER_LIPS]
    jaw = points[geometry.JAW]
    return FaceShapes(
        points=points,
        landmarks=pixels,
        hair_behind=[place(outline) for outline in _hair_behind(identity)],
        clothes=[place(_clothes())],
        neck=[place(_neck(identity))],
        ears=[place(_ear(identity, side), -0.2) for side in (-1, 1)],
        face=[place(np.concatenate([jaw, geometry.skull(identity)]))],
        beard=[place(outline) for outline in _beard(identity, points)],
        nose=[place(_nose(points), 0.1)],
        brows=[
            place(_brow(identity, points[part], inner_first))
            for part, inner_first in ((geometry.LEFT_BROW, False), (geometry.RIGHT_BROW, True))
        ],
        eyes=[_eye(pixels[part]) for part in (geometry.LEFT_EYE, geometry.RIGHT_EYE)],
        upper_lip=[np.concatenate([geometry.smooth(outer[:7]), geometry.smooth(inner[:5])[::-1]])],
        lower_lip=[
            np.concatenate(
                [
                    geometry.smooth(np.concatenate([outer[6:], outer[:1]])),
                    geometry.smooth(np.concatenate([inner[4:], inner[:1]]))[::-1],
                ]
            )
        ],
        mouth=[
            np.concatenate(
                [
                    geometry.smooth(inner[:5]),
                    geometry.smooth(np.concatenate([inner[4:], inner[:1]]))[1:],
                ]
            )
        ],
        hair=[place(outline) for outline in _hair(identity)],
    )


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Return an ellipse (24, 2)."""
    return _UNIT_CIRCLE * radii + centre


def _eye(points: np.ndarray) -> np.ndarray:
    upper = geometry.smooth(points[:4])
    lower = geometry.smooth(np.concatenate([points[3:], points[:1]]))
    return np.concatenate([upper, lower[1:-1]])


def _brow(identity: Identity, points: np.ndarray, inner_first: bool) -> np.ndarray:
    curve = geometry.smooth(points)
    share = np.linspace(0.0, 1.0, len(curve))
    if not inner_first:
        share = 1.0 - share
    half = identity.brow_thickness * (0.75 + 0.8 * share - 1.35 * share**2)
    offset = np.stack([np.zeros_like(half), half], axis=1)
    return np.concatenate([curve - offset, (curve + offset)[::-1]])


def _nose(points: np.ndarray) -> np.ndarray:
    base = points[geometry.NOSE_BASE]
    left, right = base[0], base[-1]
    return np.concatenate(
        [
            [[-0.06, -0.1], [0.06, -0.1], [0.09, 0.1], [right[0] * 0.75, right[1] - 0.14]],
            [[right[0] * 1.12, right[1] - 0.05]],
            [base[4], base[3], base[2], base[1], base[0]],
            [[left[0] * 1.12, left[1] - 0.05]],
            [[left[0] * 0.75, left[1] - 0.14], [-0.09, 0.1]],
        ]
    )


def _neck(identity: Identity) -> np.ndarray:
    half = 0.56 * identity.face_width
    return np.array(
        [[-half, 0.9], [half, 0.9], [half, 1.75], [half + 0.3, 2.05], [-half - 0.3, 2.05],
         [-half, 1.75]]
    )  # fmt: skip


def _clothes() -> np.ndarray:
    return np.array(
        [[-2.6, 3.0], [-2.1, 2.15], [-1.3, 1.93], [-0.62, 1.76], [-0.4, 1.92], [0.0, 2.0],
         [0.4, 1.92], [0.62, 1.76], [1.3, 1.93], [2.1, 2.15], [2.6, 3.0]]
    )  # fmt: skip


def _ear(identity: Identity, side: int) -> np.ndarray:
    return ellipse((side * (identity.face_width + 0.03), 0.2), (0.11, 0.24))


def _beard(identity: Identity, points: np.ndarray) -> list[np.ndarray]:
    if identity.beard == "none":
        return []
    nose, lips = points[geometry.NOSE_BASE], points[geometry.OUTER_LIPS]
    under_nose = nose[2, 1] + 0.05
    if identity.beard == "moustache":
        lip = geometry.smooth(lips[:7])
        share = np.linspace(-1.0, 1.0, len(lip))
        height = np.stack([0.04 * share, 0.03 - 0.15 * (1.0 - np.abs(share) ** 2.5)], axis=1)
        upper = lip + height
        upper[:, 1] = np.maximum(upper[:, 1], under_nose)
        return [np.concatenate([upper, lip[::-1] + np.array([0.0, 0.02])])]
    jaw = points[geometry.JAW]
    cheek = np.array(
        [[0.72, 0.62], [0.55, 0.74], [0.3, under_nose + 0.04], [0.0, under_nose]]
    )  # fmt: skip
    mirrored = (cheek * [-1.0, 1.0])[::-1][1:]
    return [np.concatenate([jaw[2:15], cheek, mirrored])]


def _hair(identity: Identity) -> list[np.ndarray]:
    if identity.hair_style == "bald":
        return []
    width = identity.face_width
    volume = {"cropped": 1.04, "bun": 1.05, "fringe": 1.1, "curly": 1.18}.get(
        identity.hair_style, 1.1
    )
    angle = np.linspace(0.0, np.pi, HAIR_CROWN_POINTS)
    bumps = 0.05 * np.abs(np.sin(angle * 9)) if identity.hair_style == "curly" else 0.0
    radius = volume + bumps
    sideburn = 0.15 if identity.hair_style in ("long", "fringe", "curly") else -0.02
    top = np.sin(angle) ** 0.8
    outer = np.stack(
        [width * radius * np.cos(angle), sideburn - (1.22 * radius + sideburn) * top], axis=1
    )
    return [np.concatenate([outer, geometry.smooth(_hairline(identity, sideburn))])]


def _hairline(identity: Identity, sideburn: float) -> np.ndarray:
    """From the left to the right temple."""
    width, top = identity.face_width, -identity.hairline
    if identity.hair_style == "fringe":
        return np.array(
            [[-width, sideburn], [-0.9 * width, -0.35], [-0.55, -0.7], [-0.2, -0.68],
             [0.15, -0.73], [0.55, -0.69], [0.9 * width, -0.35], [width, sideburn]]
        )  # fmt: skip
    parting = identity.parting if identity.hair_style in ("parted", "long") else 0.0
    dip = 0.14 if parting else 0.0
    return np.array(
        [[-width, sideburn], [-0.92 * width, -0.35], [-0.74, -0.62 + 0.2 * max(0.0, parting)],
         [-0.35 + 0.3 * parting, top + dip * (parting > 0)], [parting, top - dip],
         [0.35 + 0.3 * parting, top + dip * (parting < 0)],
         [0.74, -0.62 + 0.2 * max(0.0, -parting)], [0.92 * width, -0.35], [width, sideburn]]
    )  # fmt: skip


def _hair_behind(identity: Identity) -> list[np.ndarray]:
    width = identity.face_width
    if identity.hair_style == "long":
        half = np.array(
            [[1.12 * width, -0.4], [1.22 * width, 0.2], [1.25 * width, 0.9], [1.2 * width, 1.7],
             [0.95 * width, 2.05]]
        )  # fmt: skip
        top = np.array([[0.0, -1.3]])
        return [np.concatenate([top, half, (half * [-1.0, 1.0])[::-1]])]
    if identity.hair_style == "bun":
        return [ellipse((0.0, -1.38), (0.4, 0.32))]
    if identity.hair_style == "curly":
        return [ellipse((0.0, -0.35), (1.24 * width, 1.12))]
    return []
