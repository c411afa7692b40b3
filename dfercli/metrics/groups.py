"""WAR, UAR and recalls by group: of men and of women, of each intensity."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.evaluation import GroupRates
from dfercli.metrics.intervals import wilson

MOST_VALUES = 24


def rates_per_group(
    probabilities: NDArray[np.floating],
    targets: NDArray[np.integer],
    label_set: Sequence[str],
    groups: Sequence[Mapping[str, str]],
) -> tuple[GroupRates, ...]:
    """Measure each group of clips.

    Args:
        probabilities: (N, K).
        targets: (N,), the index of each clip's class.
        label_set: The K classes.
        groups: For each clip, the name of a group -> its value.

    Returns:
        Sorted by group and value. Groups with a single value, or with more than `MOST_VALUES`
        (a clip's number, say), are omitted.
    """
    is_right = np.asarray(probabilities).argmax(axis=1) == targets
    found = []
    for group in sorted({name for clip in groups for name in clip}):
        values = np.array([clip.get(group, "unknown") for clip in groups])
        there = sorted(set(values.tolist()))
        if not 1 < len(there) <= MOST_VALUES:
            continue
        for value in there:
            mask = values == value
            recalls = {
                name: _mean(is_right[mask & (targets == number)])
                for number, name in enumerate(label_set)
            }
            known = [recall for recall in recalls.values() if recall is not None]
            war, count = float(is_right[mask].mean()), int(mask.sum())
            found.append(
                GroupRates(
                    group, value, count, war, wilson(war, count), float(np.mean(known)), recalls
                )
            )
    return tuple(found)


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None
