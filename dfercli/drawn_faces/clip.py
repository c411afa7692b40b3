"""Labelled clips of drawn faces: expressions, and pairs that differ only in frame order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfercli.drawn_faces.action_units import ACTION_UNITS, expression_curves, opening_curves
from dfercli.drawn_faces.drawing import draw_face
from dfercli.drawn_faces.geometry import Pose
from dfercli.drawn_faces.identity import Identity
from dfercli.drawn_faces.scene import random_scene

ORDER_LABELS = ("opening", "closing")
"""The classes of `render_order_pair`, in its order."""


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """One labelled clip.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        label: Class name.
        fps: Frames per second.
        landmarks_px: (T, 68, 2) float32, in the order of iBUG 300-W.
        regions: (T, H, W) uint8 indices into `face_parts.REGIONS` (`mouth` is the
            opening; glasses count as what they cover); None unless asked for.
        action_units: (T, len(ACTION_UNITS)) float32, 0 to 1.
    """

    frames: np.ndarray
    label: str
    fps: float
    landmarks_px: np.ndarray
    regions: np.ndarray | None
    action_units: np.ndarray


def render_clip(
    identity: Identity,
    expression: str,
    rng: np.random.Generator,
    *,
    num_frames: int = 28,
    fps: float = 14.0,
    size: int = 240,
    with_regions: bool = False,
) -> DrawnClip:
    """Render one expression of one person; the same state of `rng` gives the same clip.

    Args:
        identity: Who.
        expression: One of `dfercli.labels.SEVEN`; also the label.
        rng: Source of intensity, timing, blinks, head motion, light and background.
        num_frames: T.
        fps: Frames per second.
        size: Width and height of a frame in pixels.
        with_regions: Whether to make the region maps.

    Raises:
        KeyError: `expression` is not one of the seven.
    """
    curves = expression_curves(expression, rng, num_frames, fps)
    return _render(identity, expression, curves, rng, fps, size, with_regions)


def render_sequence(
    identity: Identity,
    expressions: Sequence[str],
    rng: np.random.Generator,
    *,
    frames_each: int = 56,
    fps: float = 14.0,
    size: int = 240,
) -> DrawnClip:
    """Render a person who shows one expression after the other, without a cut.

    Args:
        identity: Who.
        expressions: Of `dfercli.labels.SEVEN`, in order; the label joins them.
        rng: As for `render_clip`.
        frames_each: Frames of each expression.
        fps: Frames per second.
        size: Width and height of a frame in pixels.

    Raises:
        KeyError: an expression that is not one of the seven.
    """
    parts = [expression_curves(name, rng, frames_each, fps) for name in expressions]
    curves = np.concatenate(parts)
    return _render(identity, " ".join(expressions), curves, rng, fps, size, with_regions=False)


def render_order_pair(
    identity: Identity,
    rng: np.random.Generator,
    *,
    num_frames: int = 28,
    fps: float = 14.0,
    size: int = 240,
) -> tuple[DrawnClip, DrawnClip]:
    """Render a mouth that opens, and the same frames in reverse, in which it closes.

    Nothing but the order of time tells the two apart.
    """
    curves = opening_curves(rng, num_frames)
    opening = _render(identity, ORDER_LABELS[0], curves, rng, fps, size, with_regions=False)
    closing = replace(
        opening,
        label=ORDER_LABELS[1],
        frames=opening.frames[::-1].copy(),
        landmarks_px=opening.landmarks_px[::-1].copy(),
        action_units=opening.action_units[::-1].copy(),
    )
    return opening, closing


def _render(
    identity: Identity,
    label: str,
    curves: np.ndarray,
    rng: np.random.Generator,
    fps: float,
    size: int,
    with_regions: bool,
) -> DrawnClip:
    scene = random_scene(rng, size)
    poses = _head_motion(rng, len(curves))
    drawn = [
        draw_face(
            identity,
            dict(zip(ACTION_UNITS, intensities.tolist(), strict=True)),
            pose,
            scene,
            size,
            frame_index=index,
            with_regions=with_regions,
        )
        for index, (intensities, pose) in enumerate(zip(curves, poses, strict=True))
    ]
    return DrawnClip(
        frames=np.stack([frame.image for frame in drawn]),
        label=label,
        fps=fps,
        landmarks_px=np.stack([frame.landmarks_px for frame in drawn]),
        regions=np.stack([frame.regions for frame in drawn if frame.regions is not None])
        if with_regions
        else None,
        action_units=curves,
    )


def _head_motion(rng: np.random.Generator, num_frames: int) -> list[Pose]:
    """A slow, small sway around a place and an angle of the clip's own."""
    moments = np.linspace(0.0, 1.0, num_frames)

    def sway(middle: float, amplitude: float) -> np.ndarray:
        speed, phase = rng.uniform(0.3, 1.2), rng.uniform(0.0, 2 * np.pi)
        reach = rng.uniform(0.2, 1.0) * amplitude
        return middle + reach * np.sin(2 * np.pi * (speed * moments + phase))

    across = sway(0.5 + rng.uniform(-0.05, 0.05), 0.03)
    down = sway(0.47 + rng.uniform(-0.03, 0.03), 0.02)
    scale = sway(rng.uniform(0.235, 0.275), 0.008)
    roll = sway(rng.uniform(-0.06, 0.06), 0.04)
    yaw = sway(rng.uniform(-0.12, 0.12), 0.07)
    pitch = sway(rng.uniform(-0.06, 0.06), 0.04)
    gaze_x = sway(rng.uniform(-0.03, 0.03), 0.02)
    gaze_y = sway(rng.uniform(-0.01, 0.01), 0.008)
    return [
        Pose((across[t], down[t]), scale[t], roll[t], yaw[t], pitch[t], (gaze_x[t], gaze_y[t]))
        for t in range(num_frames)
    ]
