"""What an evaluation found: the values of `metrics.json`, of k folds and of a paired test."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.atomic import read_json
from dfercli.errors import ArtifactError
from dfercli.typed import Range, shown, typed

EVALUATION_SCHEMA = "dfer.evaluation/1"
METRICS_NAME = "metrics.json"  # written last: the other files of the evaluation are there
INTERVAL_PERCENT = 95
NO_INTERVAL = "none: selected and measured on the same clips"
OLD_METHOD = "bootstrap over clips"  # of files that do not say

Interval = tuple[float, float]
Rate = Annotated[float, Range(0, 1 + 1e-9)]  # a mean of ones may be a little above one


@dataclass(frozen=True)
class ReliabilityBin:
    """The clips whose confidence lies in [lower, upper); the last bin holds 1 as well.

    Attributes:
        lower: Lower edge of the confidence.
        upper: Upper edge of the confidence.
        num_clips: How many clips fall into it.
        confidence: Their mean confidence, 0 where there is none.
        accuracy: The part of them that was recognised, 0 where there is none.
    """

    lower: float
    upper: float
    num_clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """What the predictions on one list of clips are worth; rates lie in [0, 1].

    Attributes:
        label_set: Class names; the order of rows and columns of `confusion`.
        num_clips: Number of clips.
        war: Accuracy.
        uar: Mean recall over the classes that have clips.
        recalls: Recall of each class; None where the class has no clip.
        confusion: (K, K) int64; a row is a true class, a column a predicted one.
        war_interval: 95 % interval of `war`; None where the clips also chose the checkpoint.
        uar_interval: 95 % interval of `uar`, as `war_interval`.
        war_method: How `war_interval` was made, as text; or why there is none.
        uar_method: As `war_method`.
        ece: Expected calibration error over 15 equal bins of the highest probability; None where
            the clips also fitted the temperature.
        bins: The bins behind `ece`, for the reliability plot.
    """

    label_set: tuple[str, ...]
    num_clips: int
    war: float
    uar: float
    recalls: dict[str, float | None]
    confusion: NDArray[np.int64]
    war_interval: Interval | None
    uar_interval: Interval | None
    war_method: str
    uar_method: str
    ece: float | None
    bins: tuple[ReliabilityBin, ...]

    @property
    def classes_without_clips(self) -> tuple[str, ...]:
        """The classes that `uar` does not count, because no clip is of them."""
        return tuple(name for name, recall in self.recalls.items() if recall is None)

    @property
    def macro_f1(self) -> float:
        """Mean over the classes with clips of F1, the harmonic mean of precision and recall."""
        right = np.diag(self.confusion)
        clips, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        f1 = 2 * right / np.maximum(clips + predicted, 1)
        return float(f1[clips > 0].mean())

    def to_json(self) -> dict[str, Any]:
        """The values as they are written to `metrics.json`."""
        return {
            "schema": EVALUATION_SCHEMA,
            "label_set": list(self.label_set),
            "num_clips": self.num_clips,
            "war": self.war,
            "war_interval": as_list(self.war_interval),
            "war_method": self.war_method,
            "uar": self.uar,
            "uar_interval": as_list(self.uar_interval),
            "uar_method": self.uar_method,
            "interval_percent": INTERVAL_PERCENT,
            "macro_f1": self.macro_f1,
            "classes_without_clips": list(self.classes_without_clips),
            "recalls": self.recalls,
            "confusion": self.confusion.tolist(),
            "ece": self.ece,
            "reliability": [asdict(entry) for entry in self.bins],
        }


@dataclass(frozen=True)
class GroupRates:
    """How well the clips of one group are recognised.

    Attributes:
        group: What the clips are parted by, such as `sex`.
        value: What these have in common, such as `female`.
        num_clips: How many they are.
        war: Share of them that is recognised.
        war_interval: Its 95 % interval by Wilson's formula, which takes clips as independent.
        uar: Mean of the recalls over the classes that they have.
        recalls: Class -> recall; None where they have no clip of it.
    """

    group: str
    value: str
    num_clips: int
    war: float
    war_interval: Interval
    uar: float
    recalls: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """As it stands in `metrics.json`."""
        return {**asdict(self), "war_interval": list(self.war_interval)}


def as_list(interval: Interval | None) -> list[float] | None:
    """An interval as JSON."""
    return None if interval is None else list(interval)


class _Metrics(TypedDict):
    """The entries of `metrics.json` that an evaluation is made of."""

    label_set: tuple[str, ...]
    num_clips: Annotated[int, Range(0)]
    war: Rate
    uar: Rate
    recalls: dict[str, Rate | None]
    confusion: tuple[tuple[Annotated[int, Range(0)], ...], ...]
    war_interval: tuple[Rate, Rate] | None
    uar_interval: tuple[Rate, Rate] | None
    war_method: str
    uar_method: str
    ece: Rate | None
    reliability: tuple[ReliabilityBin, ...]


def evaluation_from_json(values: Any, where: str = "metrics") -> Evaluation:
    """Read back what `Evaluation.to_json` gave; other keys are passed over.

    Args:
        values: The content.
        where: The file, for the message.

    Raises:
        ArtifactError: another schema, or values that are missing or of the wrong type.
    """
    if isinstance(values, dict):
        values = {"war_method": OLD_METHOD, "uar_method": OLD_METHOD, **values}
    found: _Metrics = typed(_Metrics, values, where, schema=EVALUATION_SCHEMA)
    size = len(found["label_set"])
    if [len(row) for row in found["confusion"]] != [size] * size:
        raise ArtifactError(f"{where}: confusion: expected {size} rows of {size}")
    if different := set(found["recalls"]) ^ set(found["label_set"]):
        names = shown(sorted(different))
        raise ArtifactError(f"{where}: recalls and label_set: expected equal classes, not {names}")
    return Evaluation(
        label_set=found["label_set"],
        num_clips=found["num_clips"],
        war=found["war"],
        uar=found["uar"],
        recalls=found["recalls"],
        confusion=np.array(found["confusion"], dtype=np.int64).reshape(size, size),
        war_interval=found["war_interval"],
        uar_interval=found["uar_interval"],
        war_method=found["war_method"],
        uar_method=found["uar_method"],
        ece=found["ece"],
        bins=found["reliability"],
    )


def read_metrics(path: Path) -> Evaluation:
    """Read `metrics.json` of an evaluation.

    Raises:
        ArtifactError: missing, of another schema or broken.
    """
    return evaluation_from_json(read_json(path), str(path))


@dataclass(frozen=True)
class FoldSummary:
    """Results over k folds, both ways that papers report them.

    Attributes:
        folds: One evaluation per fold.
        mean_war: Mean of the folds' WAR, each fold counting the same.
        std_war: Sample standard deviation over the folds (n - 1); None for a single fold.
        mean_war_interval: 95 % interval of `mean_war`, redrawn within each fold; None where a fold
            has none.
        mean_uar: As `mean_war`.
        std_uar: As `std_war`.
        mean_uar_interval: As `mean_war_interval`.
        mean_war_method: How `mean_war_interval` was made, or why there is none.
        mean_uar_method: As `mean_war_method`.
        pooled: All clips of all folds as one list.
    """

    folds: tuple[Evaluation, ...]
    mean_war: float
    std_war: float | None
    mean_war_interval: Interval | None
    mean_uar: float
    std_uar: float | None
    mean_uar_interval: Interval | None
    mean_war_method: str
    mean_uar_method: str
    pooled: Evaluation

    def to_json(self) -> dict[str, Any]:
        """The values as JSON, without the folds' own."""
        return {
            "num_folds": len(self.folds),
            "mean": {
                "war": self.mean_war,
                "war_std": self.std_war,
                "war_interval": as_list(self.mean_war_interval),
                "war_method": self.mean_war_method,
                "uar": self.mean_uar,
                "uar_std": self.std_uar,
                "uar_interval": as_list(self.mean_uar_interval),
                "uar_method": self.mean_uar_method,
            },
            "pooled": self.pooled.to_json(),
        }


@dataclass(frozen=True)
class PairedTest:
    """Run A against run B on the same clips; differences are A minus B.

    Attributes:
        num_clips: Number of clips that both predicted.
        only_a_right: Clips that only A recognised.
        only_b_right: Clips that only B recognised.
        mcnemar_p: Two-sided exact McNemar test of equal accuracy.
        war_difference: Difference of WAR.
        war_interval: Its 95 % bootstrap interval, over subjects where these are known.
        uar_difference: Difference of UAR.
        uar_interval: As `war_interval`.
    """

    num_clips: int
    only_a_right: int
    only_b_right: int
    mcnemar_p: float
    war_difference: float
    war_interval: Interval
    uar_difference: float
    uar_interval: Interval

    def to_json(self) -> dict[str, Any]:
        """The values as JSON."""
        return {
            **asdict(self),
            "war_interval": list(self.war_interval),
            "uar_interval": list(self.uar_interval),
        }
