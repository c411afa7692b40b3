"""After training: calibrate the probabilities on held-out clips, and record how."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

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
from dfercli.models.finecliper import FineCliper
from dfercli.progress import Progress
from dfercli.training.fold_data import FoldData

THRESHOLD_RULE = "best separates right from wrong on the same clips"


def calibrate(
    checkpoint: Path, data: FoldData, fabric: Fabric, config: TrainConfig, progress: Progress
) -> None:
    """Fit a temperature and choose a threshold on the validation clips; both go to model.json.

    A model of several streams gets one of each for every set of them, since predictions may have to
    do without some. The clips are encoded once. Without validation clips nothing is done; test
    clips must not be used for it.

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
    model = restore_model(checkpoint, clip_weights=config.model.clip_weights).module
    targets = np.array(data.held_out.labels)
    groups = [group_of(clip) for clip in data.held_out.clips]
    rows = partial(
        predict_logits,
        fabric,
        dataset=data.held_out,
        progress=progress,
        batch_size=config.optim.batch_size,
        workers=config.data.workers,
        description="calibrating",
        one_view=True,  # as predictions look at a face
    )
    if isinstance(model, FineCliper) and len(model.streams) > 1:
        sets = _of_all_sets(model, fabric, rows, targets, groups)
        if not sets:
            progress.note("no validation clip has a stream of the model: it is not calibrated")
            return
        own = next(one for one in sets if one["streams"] == list(model.streams))
    else:
        logits = rows(fabric.setup_module(model))
        own, sets = _fitted(logits, targets, groups, model.streams), []
    calibration: dict[str, Any] = {
        **{name: value for name, value in own.items() if name not in ("war", "uar")},
        "fitted_on": data.held_out_name,
        "ece_rule": "cross-fitted: each clip by a temperature that others fitted",
        "min_confidence_rule": THRESHOLD_RULE,
    }
    if sets:
        calibration["sets"] = sets
    after = own["ece_after"]
    progress.info(
        f"calibrated on {len(targets)} validation clips: temperature {own['temperature']:.3f}, "
        f"ECE {own['ece_before']:.3f} -> "
        + ("not measured" if after is None else f"{after:.3f} (cross-fitted)")
    )
    for one in sets:
        progress.info(
            f"with {' + '.join(one['streams'])}: WAR {one['war']:.1%}, UAR {one['uar']:.1%} on "
            f"{one['num_clips']} validation clips"
        )
    if fabric.is_global_zero:
        _write_entry(checkpoint, "calibration", calibration)
    fabric.barrier()


class _Parts(nn.Module):
    """A model that gives the features of each stream, and last in each row whether it is there."""

    def __init__(self, method: FineCliper) -> None:
        super().__init__()
        self.method = method

    def forward(self, **inputs: Any) -> Tensor:
        features, present = self.method.stream_features(**inputs)
        return torch.cat([features.float(), present.unsqueeze(-1).float()], dim=-1)


def _of_all_sets(
    model: FineCliper,
    fabric: Fabric,
    rows: Callable[[nn.Module], NDArray[np.float32]],
    targets: NDArray[np.int64],
    groups: Sequence[str],
) -> list[dict[str, Any]]:
    """The calibration of every set of streams that clips have, from one pass over the clips."""
    judge = deepcopy(model).eval()  # whole and on the CPU, wherever the other one goes
    parts = torch.from_numpy(rows(fabric.setup_module(_Parts(model))))  # (N, M, D + 1)
    features, there = parts[..., :-1], parts[..., -1] > 0.5
    names, found = judge.fusion.streams, []
    with torch.no_grad():
        texts = judge.text_features()
        for count in range(1, len(names) + 1):
            for chosen in combinations(range(len(names)), count):
                present = torch.zeros_like(there)
                present[:, list(chosen)] = there[:, list(chosen)]
                able = present.any(dim=1)
                if not able.any():
                    continue
                video = judge.fuse(features[able], present[able])
                logits = judge.logits(judge.compare(video, texts)).numpy()
                kept = [groups[row] for row in able.nonzero().flatten().tolist()]
                streams = [names[column] for column in chosen]
                found.append(_fitted(logits, targets[able.numpy()], kept, streams))
    return found


def _fitted(
    logits: NDArray[np.float32],
    targets: NDArray[np.int64],
    groups: Sequence[str],
    streams: Sequence[str],
) -> dict[str, Any]:
    """Fit the temperature and the threshold on clips, and measure their effect there."""
    temperature = fit_temperature(logits, targets)
    probabilities = softmax(logits, temperature)
    by_others = cross_fitted(logits, targets, groups)
    guesses = logits.argmax(axis=1)
    recalls = [float((guesses[targets == label] == label).mean()) for label in np.unique(targets)]
    return {
        "streams": list(streams),
        "num_clips": len(targets),
        "temperature": temperature,
        "ece_before": calibration_error(softmax(logits), targets),
        "ece_after": None if by_others is None else calibration_error(by_others, targets),
        "min_confidence": choose_threshold(probabilities, targets),
        "war": float((guesses == targets).mean()),
        "uar": float(np.mean(recalls)),
    }


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
