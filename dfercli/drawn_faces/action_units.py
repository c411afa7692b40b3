"""Facial action units (FACS) over time: what each expression moves, how much, and when.

Source: P. Ekman, W. V. Friesen, J. C. Hager, Facial Action Coding System, 2002; the combinations
are its prototypes, reduced to the units that `geometry` can show.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 25, 26, 43)
"""The units drawn, in the order of the columns of every curve. 43 is the closing of the eyes."""

BLINK_SECONDS = 0.3


@dataclass(frozen=True)
class Prototype:
    """The action units of one expression with their typical intensities (0 to 1).

    Attributes:
        core: Units that are always there.
        optional: Units that some people add.
    """

    core: MappingProxyType[int, float]
    optional: MappingProxyType[int, float]


def _prototype(core: dict[int, float], optional: dict[int, float] | None = None) -> Prototype:
    return Prototype(MappingProxyType(core), MappingProxyType(optional or {}))


EXPRESSIONS = MappingProxyType(
    {
        "happiness": _prototype({6: 0.9, 12: 1.0}, {25: 0.9}),
        "sadness": _prototype({1: 1.0, 4: 0.7, 15: 1.0}, {17: 0.6, 43: 0.25}),
        "neutral": _prototype({}),
        "anger": _prototype({4: 1.0, 5: 0.5, 7: 0.8, 23: 1.0}, {17: 0.3}),
        "surprise": _prototype({1: 1.0, 2: 1.0, 5: 0.9, 25: 0.6, 26: 1.0}),
        "disgust": _prototype({9: 1.0, 10: 1.0, 17: 0.5}, {4: 0.3, 7: 0.4}),
        "fear": _prototype({1: 1.0, 2: 0.7, 4: 0.6, 5: 1.0, 20: 1.0, 25: 0.8}, {26: 0.2}),
    }
)
"""Class name (`dfercli.labels.SEVEN`) -> its prototype."""


def expression_curves(
    expression: str, rng: np.random.Generator, num_frames: int, fps: float
) -> np.ndarray:
    """Make the intensities of one clip: almost neutral, onset, apex, offset, and blinks.

    Intensity (0.7 to 1.0 of the prototype), the optional units, and the moment at which each unit
    sets in vary from clip to clip.

    Args:
        expression: One of `dfercli.labels.SEVEN`.
        rng: Source of the variation.
        num_frames: T.
        fps: Frames per second, for the duration of blinks.

    Returns:
        (T, len(ACTION_UNITS)) float32, 0 to 1.

    Raises:
        KeyError: `expression` is not one of the seven.
    """
    prototype = EXPRESSIONS[expression]
    moments = np.linspace(0.0, 1.0, num_frames)
    onset_start, onset_length = rng.uniform(0.05, 0.18), rng.uniform(0.14, 0.26)
    offset_start, offset_length = rng.uniform(0.78, 0.9), rng.uniform(0.15, 0.3)
    overall = rng.uniform(0.7, 1.0)
    peaks = dict(prototype.core)
    peaks.update({unit: value for unit, value in prototype.optional.items() if rng.random() < 0.6})

    curves = np.zeros((num_frames, len(ACTION_UNITS)))
    for unit, peak in peaks.items():
        lag = rng.uniform(-0.03, 0.03)
        rise = _ease((moments - onset_start - lag) / onset_length)
        fall = _ease((moments - offset_start - lag) / offset_length)
        curves[:, ACTION_UNITS.index(unit)] = peak * overall * rng.uniform(0.9, 1.0) * (rise - fall)
    curves += _restlessness(rng, moments)
    eyes = ACTION_UNITS.index(43)
    curves[:, eyes] = np.maximum(curves[:, eyes], _blinks(rng, num_frames, fps))
    return np.clip(curves, 0.0, 1.0).astype(np.float32)


def opening_curves(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Make the intensities of a mouth that opens from closed to wide, and nothing else.

    Returns:
        (T, len(ACTION_UNITS)) float32, 0 to 1.
    """
    moments = np.linspace(0.0, 1.0, num_frames)
    rise = _ease((moments - rng.uniform(0.0, 0.2)) / rng.uniform(0.6, 0.8))
    curves = np.zeros((num_frames, len(ACTION_UNITS)), dtype=np.float32)
    curves[:, ACTION_UNITS.index(25)] = 0.6 * rise
    curves[:, ACTION_UNITS.index(26)] = rng.uniform(0.8, 1.0) * rise
    return curves


def _ease(position: np.ndarray) -> np.ndarray:
    """From 0 at position 0 to 1 at position 1, with no jump in speed."""
    clipped: np.ndarray = np.clip(position, 0.0, 1.0)
    eased: np.ndarray = clipped * clipped * (3.0 - 2.0 * clipped)
    return eased


def _restlessness(rng: np.random.Generator, moments: np.ndarray) -> np.ndarray:
    """Faint movement (at most 0.04) in every unit: no face is quite still."""
    phases = rng.uniform(0, 2 * np.pi, len(ACTION_UNITS))
    speeds = rng.uniform(0.5, 2.0, len(ACTION_UNITS))
    return 0.02 + 0.02 * np.sin(2 * np.pi * moments[:, None] * speeds + phases)


def _blinks(rng: np.random.Generator, num_frames: int, fps: float) -> np.ndarray:
    """Closing of the eyes (T,), 0 to 1: one blink or two at random moments."""
    seconds = np.arange(num_frames) / fps
    closing = np.zeros(num_frames)
    for _ in range(rng.integers(1, 3)):
        centre = rng.uniform(0.0, seconds[-1])
        closing = np.maximum(closing, 1.0 - (np.abs(seconds - centre) / (BLINK_SECONDS / 2)) ** 2)
    return closing
