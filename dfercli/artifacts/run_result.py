"""`result.json` of a fold: how its training ended. It is written last."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.names import PlainName
from dfercli.typed import Range, typed

RESULT_SCHEMA = "dfer.result/1"


@dataclass(frozen=True)
class RunResult:
    """How a fold ended.

    Attributes:
        dataset: What it was trained on.
        method: The method.
        fold: 1-based.
        official_split: Whether the clips are those of the published split.
        seed: Of the training.
        checkpoint: Name of the selected checkpoint's folder.
        selected_on: How it was selected, as text.
        measured_on: What it was measured on, as text.
        evaluation: Name of the folder of that evaluation; None where there was nothing to measure
            on.
        war: Its accuracy.
        uar: Its mean recall.
        benchmark: Of lists that were known by their counts, the benchmark they are of.
        finished_as: Counts the folds of all runs in a folder as they end, from 1: unlike times, it
            stands copies and a clock that is set back. 0 where nobody counted.
    """

    dataset: str
    method: str
    fold: Annotated[int, Range(1)]
    official_split: bool
    seed: int
    checkpoint: Annotated[str, PlainName()]
    selected_on: str
    measured_on: str
    evaluation: Annotated[str, PlainName()] | None
    war: float | None = None
    uar: float | None = None
    benchmark: str | None = None
    finished_as: Annotated[int, Range(0, 2**31 - 1)] = 0


def write_run_result(path: Path, result: RunResult) -> None:
    """Write `result.json` atomically."""
    write_json(path, {"schema": RESULT_SCHEMA, **asdict(result)})


def read_run_result(path: Path) -> RunResult:
    """Read `result.json`.

    Raises:
        ArtifactError: missing, of another schema or broken.
    """
    result: RunResult = typed(RunResult, read_json(path), str(path), schema=RESULT_SCHEMA)
    return result
