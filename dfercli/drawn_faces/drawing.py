"""Draw one frame: a shaded face with its surroundings, its landmarks and its regions."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from dfercli.drawn_faces import geometry
from dfercli.drawn_faces.geometry import Pose
from dfercli.drawn_faces.identity import Identity, Rgb
from dfercli.drawn_faces.raster import fill, fixed, region_map, stroke
from dfercli.drawn_faces.scene import NOISE_MARGIN_PX, Scene
from dfercli.drawn_faces.shading import shade_skin
from dfercli.drawn_faces.shapes import HAIR_CROWN_POINTS, FaceShapes, ellipse, face_shapes

SCLERA_RGB: Rgb = (230, 224, 218)
TEETH_RGB: Rgb = (232, 226, 214)
CAVITY_RGB: Rgb = (52, 16, 18)
TONGUE_RGB: Rgb = (156, 66, 66)
BLACK: Rgb = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class DrawnFrame:
    """One drawn frame.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        landmarks_px: (68, 2) float32, in the order of iBUG 300-W.
        regions: (H, W) uint8 indices into `face_parts.REGIONS` (`mouth` is the
            opening; glasses count as what they cover); None unless asked for.
    """

    image: np.ndarray
    landmarks_px: np.ndarray
    regions: np.ndarray | None


def draw_face(
    identity: Identity,
    action_units: Mapping[int, float],
    pose: Pose,
    scene: Scene,
    size: int,
    *,
    frame_index: int = 0,
    with_regions: bool = False,
) -> DrawnFrame:
    """Draw a face.

    Args:
        identity: Who.
        action_units: Intensity (0 to 1) by unit; a unit that is not named rests.
        pose: Where the head is.
        scene: Made for the same `size`.
        size: Width and height of the frame in pixels.
        frame_index: Picks the part of the scene's noise that falls on this frame.
        with_regions: Whether to make the region map.

    Raises:
        ValueError: a unit that is not drawn.
    """
    au = geometry.complete(action_units)
    shapes = face_shapes(identity, au, pose, size)
    unit_px = pose.scale * size
    image = scene.background.copy()
    _paint_behind(image, identity, shapes, unit_px)
    image = shade_skin(image, identity, au, pose, shapes, scene.side_light)
    _paint_nostrils(image, identity, shapes, unit_px)
    for side, eye, landmarks in zip(
        (-1, 1),
        shapes.eyes,
        (shapes.landmarks[geometry.LEFT_EYE], shapes.landmarks[geometry.RIGHT_EYE]),
        strict=True,
    ):
        _paint_eye(image, identity, pose, side, eye, landmarks, size)
    _paint_mouth(image, identity, shapes, unit_px)
    fill(image, shapes.brows, _mix(identity.skin_rgb, _facial_hair(identity, 0.35), 0.88))
    _paint_hair(image, identity, shapes, unit_px)
    if identity.glasses != "none":
        _paint_glasses(image, identity, pose, size)
    image = cv2.multiply(image, scene.light, scale=1 / 128)
    offset = (frame_index * 13) % NOISE_MARGIN_PX, (frame_index * 7) % NOISE_MARGIN_PX
    noise = scene.noise[offset[0] : offset[0] + size, offset[1] : offset[1] + size]
    return DrawnFrame(
        image=cv2.add(image, noise, dtype=cv2.CV_8U),
        landmarks_px=shapes.landmarks.astype(np.float32),
        regions=region_map(shapes, size) if with_regions else None,
    )


def _mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """`share` of the second colour and the rest of the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _facial_hair(identity: Identity, darkening: float) -> Rgb:
    """The colour of brows or beard: that of the hair, but never lighter than the skin."""
    return _not_above(_mix(identity.hair_rgb, BLACK, darkening), identity.skin_rgb)


def _not_above(colour: Rgb, skin: Rgb) -> Rgb:
    """`colour`, darkened where it is not clearly darker than the skin."""
    excess = max(1.0, sum(colour) / (0.72 * sum(skin)))
    return _mix(colour, BLACK, 1.0 - 1.0 / excess)


def _paint_behind(
    image: np.ndarray, identity: Identity, shapes: FaceShapes, unit_px: float
) -> None:
    """Everything up to the skin of the face."""
    skin = identity.skin_rgb
    fill(image, shapes.hair_behind, _mix(identity.hair_rgb, BLACK, 0.3))
    fill(image, shapes.neck, _mix(skin, BLACK, 0.3))
    fill(image, shapes.clothes, identity.clothes_rgb)
    fill(image, shapes.ears, _mix(skin, BLACK, 0.16))
    for ear in shapes.ears:
        middle = ear.mean(axis=0)
        stroke(image, middle + (ear[14:23] - middle) * 0.6, _mix(skin, BLACK, 0.36), unit_px * 0.03)
    fill(image, shapes.face, skin)
    strength = {"stubble": 0.25, "moustache": 0.75, "full": 0.5}.get(identity.beard, 0.0)
    opacity = strength * (0.5 + 0.5 * sum(skin) / 765)
    fill(image, shapes.beard, _mix(skin, _facial_hair(identity, 0.1), opacity))


def _paint_nostrils(
    image: np.ndarray, identity: Identity, shapes: FaceShapes, unit_px: float
) -> None:
    base = shapes.landmarks[geometry.NOSE_BASE]
    down = (base[2] - base[[0, 4]].mean(axis=0)) * 0.25
    holes = []
    for outer, inner in ((0, 1), (4, 3)):
        centre = base[inner] * 0.72 + base[outer] * 0.28 - down
        holes.append(ellipse((centre[0], centre[1]), (0.06 * unit_px, 0.032 * unit_px)))
    fill(image, holes, _mix(identity.skin_rgb, (24, 8, 8), 0.78))


def _paint_eye(
    image: np.ndarray,
    identity: Identity,
    pose: Pose,
    side: int,
    outline: np.ndarray,
    landmarks: np.ndarray,
    size: int,
) -> None:
    unit_px = pose.scale * size
    first = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 1, 0)
    last = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 2, size)
    if (last <= first).any():
        return
    window = image[first[1] : last[1], first[0] : last[0]]
    patch = np.full_like(window, _mix(SCLERA_RGB, identity.skin_rgb, 0.42))
    gaze = geometry.eye_centre(identity, side) + np.array(pose.gaze) + [0.0, -0.02]
    iris = pose.project(gaze[None], size)[0] - first
    radius = geometry.IRIS_RADIUS * identity.eye_size * unit_px
    centre = (float(iris[0]), float(iris[1]))
    fill(patch, [ellipse(centre, (radius, radius))], _mix(identity.iris_rgb, BLACK, 0.45))
    fill(patch, [ellipse(centre, (radius * 0.8, radius * 0.8))], identity.iris_rgb)
    fill(patch, [ellipse(centre, (radius * 0.45, radius * 0.45))], (12, 10, 10))
    glint = (centre[0] - radius * 0.35, centre[1] - radius * 0.4)
    fill(patch, [ellipse(glint, (radius * 0.2, radius * 0.2))], (250, 250, 250))
    upper = geometry.smooth(landmarks[:4])
    stroke(patch, upper - first + [0.0, 0.03 * unit_px], (120, 104, 98), unit_px * 0.03)
    _blend(window, patch, outline - first)
    lashes = _mix(identity.skin_rgb, (18, 12, 12), 0.88)
    stroke(image, upper, lashes, unit_px * 0.04)


def _blend(window: np.ndarray, patch: np.ndarray, outline: np.ndarray) -> None:
    """Put `patch` into `window` (both (h, w, 3)) inside `outline`, with soft edges."""
    mask = np.zeros(window.shape[:2], np.uint8)
    cv2.fillPoly(mask, [fixed(outline)], 255, cv2.LINE_AA, 4)
    share = mask[:, :, None].astype(np.uint16)
    window[:] = (patch * share + window * (255 - share) + 127) // 255


def _paint_mouth(image: np.ndarray, identity: Identity, shapes: FaceShapes, unit_px: float) -> None:
    fill(image, shapes.upper_lip, _mix(identity.lip_rgb, BLACK, 0.16))
    fill(image, shapes.lower_lip, identity.lip_rgb)
    inner = shapes.landmarks[geometry.INNER_LIPS]
    upper = geometry.smooth(inner[:5])
    gap_px = float(np.linalg.norm(inner[6] - inner[2]))
    if gap_px > 0.03 * unit_px:
        _paint_cavity(image, shapes.mouth[0], inner, gap_px, unit_px)
    stroke(image, upper, _mix(identity.lip_rgb, (30, 8, 8), 0.72), unit_px * 0.035)


def _paint_cavity(
    image: np.ndarray, outline: np.ndarray, inner: np.ndarray, gap_px: float, unit_px: float
) -> None:
    """The opening of the mouth: teeth above, tongue below, dark between."""
    first = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 1, 0)
    last = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 2, image.shape[0])
    if (last <= first).any():
        return
    window = image[first[1] : last[1], first[0] : last[0]]
    patch = np.full_like(window, CAVITY_RGB)
    upper = geometry.smooth(inner[:5]) - first
    down = (inner[6] - inner[2]) / gap_px
    teeth = min(0.5 * gap_px, 0.11 * unit_px)
    fill(patch, [np.concatenate([upper, (upper + down * teeth)[::-1]])], TEETH_RGB)
    if gap_px > 0.2 * unit_px:
        low = inner[6] - first - down * 0.02 * unit_px
        fill(patch, [ellipse((low[0], low[1]), (0.2 * unit_px, 0.09 * unit_px))], TONGUE_RGB)
    _blend(window, patch, outline - first)


def _paint_hair(image: np.ndarray, identity: Identity, shapes: FaceShapes, unit_px: float) -> None:
    fill(image, shapes.hair, identity.hair_rgb)
    tones = _mix(identity.hair_rgb, (255, 236, 210), 0.06), _mix(identity.hair_rgb, BLACK, 0.1)
    for outline in shapes.hair:
        crown, hairline = outline[:HAIR_CROWN_POINTS][::-1], outline[HAIR_CROWN_POINTS:]
        roots = hairline[np.linspace(0, len(hairline) - 1, len(crown)).round().astype(int)]
        middle = crown.mean(axis=0)
        for index in range(4, len(crown) - 4, 2):
            tip, root = crown[index], roots[index]
            bend = (tip + root) / 2 + (tip - middle) * 0.02
            strand = geometry.smooth(np.stack([tip + (root - tip) * 0.15, bend, root]))
            stroke(image, strand, tones[index // 2 % 2], unit_px * 0.035)


def _paint_glasses(image: np.ndarray, identity: Identity, pose: Pose, size: int) -> None:
    width_px = 0.035 * pose.scale * size
    colour = _mix(_not_above(identity.glasses_rgb, identity.skin_rgb), identity.skin_rgb, 0.2)
    lenses = []
    for side in (-1, 1):
        centre = geometry.eye_centre(identity, side) + np.array([0.02 * side, 0.04])
        lens = ellipse((centre[0], centre[1]), (0.31, 0.27))
        if identity.glasses == "square":
            offset = lens - centre
            corner = np.maximum(np.abs(offset[:, :1]) / 0.31, np.abs(offset[:, 1:]) / 0.27)
            lens = centre + offset / np.maximum(corner, 1e-6) * [0.96, 0.88]
        lenses.append(lens)
    bridge = np.array([[-0.1, -0.02], [-0.05, -0.06], [0.05, -0.06], [0.1, -0.02]])
    rim = _mix(colour, identity.skin_rgb, 0.5)
    for lens in lenses:
        outline = pose.project(np.concatenate([lens, lens[:1]]), size, 0.1)
        stroke(image, outline[:13], rim, width_px * 0.6)
        stroke(image, outline[12:], colour, width_px)
    stroke(image, pose.project(bridge, size, 0.15), colour, width_px)
    for side in (-1, 1):
        temple = np.array([[side * 0.73, -0.02], [side * identity.face_width, -0.05]])
        stroke(image, pose.project(temple, size), colour, width_px)
