"""After training: calibrate the probabilities on held-out clips, and record how."""

from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.evaluation import Evaluation, as_list
from dfercli.artifacts.model_card import CARD_NAME, read_card
from dfercli.config import TrainConfig
from dfercli.data.clips import group_of
from dfercli.inference.predict_logits import predict_logits
from dfercli.inference.probabilities import softmax
from dfercli.inference.restore import restore_model
from dfercli.metrics.calibration import (
    calibration_error,
    choose_threshold,
    cross_fitted,
    fit_temperature,
)
from dfercli.progress import Progress
from dfercli.training.fold_data import FoldData

THRESHOLD_RULE = "best separates right from wrong on the same clips"


def calibrate(
    checkpoint: Path, data: FoldData, fabric: Fabric, config: TrainConfig, progress: Progress
) -> None:
    """Fit a temperature and choose a threshold on the validation clips; both go to model.json.

    Without validation clips nothing is done; test clips must not be used for it.

    Args:
        checkpoint: The selected checkpoint.
        data: The clips of the fold.
        fabric: The engine.
        config: The settings of the training.
        progress: Where to report.
    """
    if data.held_out is None or data.held_out_name != "validation":
        progress.note("no validation clips: probabilities are not calibrated")
        return
    model = restore_model(checkpoint, clip_weights=config.model.clip_weights)
    logits = predict_logits(
        fabric,
        fabric.setup_module(model.module),
        data.held_out,
        progress,
        batch_size=config.optim.batch_size,
        workers=config.data.workers,
        description="calibrating",
    )
    targets = np.array(data.held_out.labels)
    temperature = fit_temperature(logits, targets)
    before = calibration_error(softmax(logits), targets)
    fitted_by_others = cross_fitted(
        logits, targets, [group_of(clip) for clip in data.held_out.clips]
    )
    after = None if fitted_by_others is None else calibration_error(fitted_by_others, targets)
    calibration = {
        "temperature": temperature,
        "fitted_on": data.held_out_name,
        "num_clips": len(targets),
        "ece_before": before,
        "ece_after": after,
        "ece_rule": "cross-fitted: each clip by a temperature that others fitted",
        "streams": list(model.module.streams),
        "min_confidence": choose_threshold(softmax(logits, temperature), targets),
        "min_confidence_rule": THRESHOLD_RULE,
    }
    progress.info(
        f"calibrated on {len(targets)} validation clips: temperature {temperature:.3f}, "
        f"ECE {before:.3f} -> "
        + ("not measured" if after is None else f"{after:.3f} (cross-fitted)")
    )
    if fabric.is_global_zero:
        _write_entry(checkpoint, "calibration", calibration)
    fabric.barrier()


def record_results(
    checkpoint: Path, evaluation: Evaluation, measured_on: str, fabric: Fabric
) -> None:
    """Record the results of a checkpoint in its model.json."""
    results = {
        "measured_on": measured_on,
        "num_clips": evaluation.num_clips,
        "war": evaluation.war,
        "war_interval": as_list(evaluation.war_interval),
        "war_method": evaluation.war_method,
        "uar": evaluation.uar,
        "uar_interval": as_list(evaluation.uar_interval),
        "uar_method": evaluation.uar_method,
        "ece": evaluation.ece,
    }
    if fabric.is_global_zero:
        _write_entry(checkpoint, "results", results)
    fabric.barrier()


def _write_entry(checkpoint: Path, name: str, value: dict[str, object]) -> None:
    write_json(checkpoint / CARD_NAME, {**read_card(checkpoint), name: value})
