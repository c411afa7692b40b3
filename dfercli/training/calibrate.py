"""After training: make probabilities honest on clips that were held out, and write it down."""

from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.evaluation import Evaluation
from dfercli.artifacts.model_card import CARD_NAME, read_card
from dfercli.config import TrainConfig
from dfercli.inference.predict_logits import predict_logits
from dfercli.inference.probabilities import softmax
from dfercli.inference.restore import restore_model
from dfercli.metrics import choose_threshold, evaluate, fit_temperature
from dfercli.progress import Progress
from dfercli.training.fold_data import FoldData

THRESHOLD_RULE = "parts right from wrong best on the same clips"


def calibrate(
    checkpoint: Path, data: FoldData, fabric: Fabric, config: TrainConfig, progress: Progress
) -> None:
    """Fit a temperature and choose a threshold on the validation clips; both go to model.json.

    Without validation clips nothing is done: on test clips it would be no calibration.

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
    label_set = model.card.label_set
    temperature = fit_temperature(logits, targets)
    before, after = (
        evaluate(softmax(logits, value), targets, label_set, bootstrap_samples=1).ece
        for value in (1.0, temperature)
    )
    calibration = {
        "temperature": temperature,
        "fitted_on": data.held_out_name,
        "num_clips": len(targets),
        "ece_before": before,
        "ece_after": after,
        "min_confidence": choose_threshold(softmax(logits, temperature), targets),
        "min_confidence_rule": THRESHOLD_RULE,
    }
    progress.info(
        f"calibrated on {len(targets)} validation clips: temperature {temperature:.3f}, "
        f"ECE {before:.3f} -> {after:.3f}"
    )
    if fabric.is_global_zero:
        _write_entry(checkpoint, "calibration", calibration)
    fabric.barrier()


def record_results(
    checkpoint: Path, evaluation: Evaluation, measured_on: str, fabric: Fabric
) -> None:
    """Write what a checkpoint is worth into its own model.json."""
    results = {
        "measured_on": measured_on,
        "num_clips": evaluation.num_clips,
        "war": evaluation.war,
        "war_interval": list(evaluation.war_interval),
        "uar": evaluation.uar,
        "uar_interval": list(evaluation.uar_interval),
        "ece": evaluation.ece,
    }
    if fabric.is_global_zero:
        _write_entry(checkpoint, "results", results)
    fabric.barrier()


def _write_entry(checkpoint: Path, name: str, value: dict[str, object]) -> None:
    write_json(checkpoint / CARD_NAME, {**read_card(checkpoint), name: value})
