"""Describe the movements of a face only from its action units, without naming a class."""

from types import MappingProxyType

import numpy as np

from dfercli.drawn_faces.action_units import ACTION_UNITS

MOVEMENTS = MappingProxyType(
    {
        1: "the inner brows rise",
        2: "the outer brows rise",
        4: "the brows are drawn down and together",
        5: "the upper lids rise and the eyes widen",
        6: "the cheeks rise",
        7: "the lids tighten",
        9: "the nose wrinkles",
        10: "the upper lip rises",
        12: "the lip corners are pulled up",
        15: "the lip corners are pulled down",
        17: "the chin is pushed up",
        20: "the lips are stretched sideways",
        23: "the lips tighten and narrow",
        25: "the lips part",
        26: "the jaw drops",
        43: "the lids droop",
    }
)
"""Unit -> its movement in plain words."""

NOTICEABLE = 0.2


def describe_changes(action_units: np.ndarray) -> str:
    """Describe the movements of a clip in one or two sentences.

    Args:
        action_units: (T, len(ACTION_UNITS)), 0 to 1.

    Returns:
        A caption, such as "The cheeks rise strongly and the lip corners are pulled up strongly,
        and then relax. The eyes blink once.".
    """
    eyes = ACTION_UNITS.index(43)
    blinks = _count_blinks(action_units[:, eyes])
    changes = action_units.max(axis=0) - action_units[0]
    changes[eyes] = np.median(action_units[:, eyes]) - action_units[0, eyes]
    phrases = [
        MOVEMENTS[unit] + _degree(change)
        for unit, change in zip(ACTION_UNITS, changes, strict=True)
        if change >= NOTICEABLE
    ]
    if phrases:
        sentence = " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)
        sentence = sentence[0].upper() + sentence[1:]
        left = np.delete(action_units[-1] - action_units[0], eyes).max()
        sentence += ", and then relax." if left < 0.6 * changes.max() else "."
    else:
        sentence = "The face hardly moves."
    times = {0: "", 1: " The eyes blink once.", 2: " The eyes blink twice."}
    return sentence + times.get(blinks, f" The eyes blink {blinks} times.")


def _degree(change: float) -> str:
    if change < 0.45:
        return " slightly"
    return " strongly" if change > 0.75 else ""


def _count_blinks(closing: np.ndarray) -> int:
    """The number of times that the lids close beyond where they rest, and open."""
    closed = closing > 0.5 + 0.5 * np.median(closing)
    return int(closed[0]) + int(np.count_nonzero(closed[1:] & ~closed[:-1]))
