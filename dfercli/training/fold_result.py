"""How a fold of a training ended: its selected checkpoint, measured."""

from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from dfercli.artifacts.evaluation import METRICS_NAME, Evaluation, read_metrics
from dfercli.artifacts.run_config import dataset_name
from dfercli.artifacts.run_folder import FoldFolder, count_finished
from dfercli.artifacts.run_result import RunResult, read_run_result, write_run_result
from dfercli.config import EvalConfig, TrainConfig
from dfercli.data.fold_clips import FoldClips
from dfercli.evaluation.measure import evaluate_checkpoint
from dfercli.progress import Progress
from dfercli.training.calibrate import record_results
from dfercli.training.run_records import selection_rule


@dataclass(frozen=True)
class FoldResult:
    """How one fold ended.

    Attributes:
        fold: 1-based.
        checkpoint: The selected checkpoint.
        selected_on: How it was selected, as text.
        measured_on: The clips of `evaluation`, as text.
        evaluation: Its metrics; None if there was nothing to measure on.
    """

    fold: int
    checkpoint: Path
    selected_on: str
    measured_on: str
    evaluation: Evaluation | None


def finish_fold(
    config: TrainConfig, folder: FoldFolder, clips: FoldClips, fabric: Fabric, progress: Progress
) -> FoldResult:
    """Measure the selected checkpoint, and write the result that ends the fold."""
    checkpoint = folder.selected
    evaluation, name = None, None
    if clips.test:
        name = dataset_name(config.data.test or config.dataset)
        evaluation = evaluate_checkpoint(
            checkpoint,
            clips.test,
            measured_on=clips.test_name,
            selected=clips.selected,
            calibrated_on_these=clips.calibrated,
            out=folder.evaluation(name),
            fabric=fabric,
            config=EvalConfig(
                batch_size=config.optim.batch_size,
                workers=config.data.workers,
                streams_from=config.data.streams_from if config.data.test is None else None,
            ),
            progress=progress,
        ).evaluation
        record_results(checkpoint, evaluation, clips.test_name, fabric)
    result = RunResult(
        dataset=config.dataset,
        method=config.model.method,
        fold=clips.fold.fold,
        official_split=clips.fold.official,
        seed=config.seed,
        checkpoint=checkpoint.name,
        selected_on=selection_rule(config),
        measured_on=clips.test_name if clips.test else "nothing: no clips to measure on",
        evaluation=name,
        war=evaluation.war if evaluation else None,
        uar=evaluation.uar if evaluation else None,
        benchmark=clips.fold.benchmark,
    )
    if fabric.is_global_zero:
        number = count_finished(folder.path.parent.parent) + 1
        write_run_result(folder.result, replace(result, finished_as=number))
    fabric.barrier()
    return _fold_result(folder, clips.fold.fold, result, evaluation)


def read_result(folder: FoldFolder, number: int) -> FoldResult:
    """Read how a finished fold ended.

    Raises:
        ArtifactError: its result or its metrics are missing or broken.
    """
    result = read_run_result(folder.result)
    evaluation = None
    if result.evaluation is not None:
        evaluation = read_metrics(folder.evaluation(result.evaluation) / METRICS_NAME)
    return _fold_result(folder, number, result, evaluation)


def _fold_result(
    folder: FoldFolder, number: int, result: RunResult, evaluation: Evaluation | None
) -> FoldResult:
    return FoldResult(
        fold=number,
        checkpoint=folder.checkpoints / result.checkpoint,
        selected_on=result.selected_on,
        measured_on=result.measured_on,
        evaluation=evaluation,
    )
