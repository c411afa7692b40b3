"""Measure a checkpoint on a list of clips, and write the results."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from dfercli.artifacts.atomic import files_together, write_json, write_text
from dfercli.artifacts.clip_predictions import CLIP_PREDICTION_SCHEMA
from dfercli.artifacts.evaluation import METRICS_NAME, Evaluation, GroupRates
from dfercli.artifacts.jsonl import write_rows
from dfercli.config import EvalConfig
from dfercli.data.clips import Clip, has_one_class
from dfercli.data.loading import ClipDataset
from dfercli.data.sampling import sampling_of
from dfercli.errors import ConfigError, DataError
from dfercli.evaluation.clip_streams import (
    how_made,
    stream_reader,
    tell_of_other_making,
)
from dfercli.evaluation.mistakes import worst_mistakes
from dfercli.inference.devices import keep_encoder_in_bfloat16, resolve_precision, rounds_weights
from dfercli.inference.loaded_model import look_at
from dfercli.inference.predict_logits import predict_logits
from dfercli.inference.probabilities import softmax
from dfercli.inference.restore import RestoredModel, restore_model
from dfercli.metrics.groups import rates_per_group
from dfercli.metrics.rates import evaluate
from dfercli.progress import Progress
from dfercli.report.evaluation_page import BENCHMARKS, write_evaluation_page
from dfercli.report.plots import plot_confusion, plot_reliability
from dfercli.report.tables import group_table, to_csv, write_confusion_csv


@dataclass(frozen=True)
class Measured:
    """One checkpoint measured on one list of clips.

    Attributes:
        checkpoint: The checkpoint folder or file.
        selected_on: How the checkpoint was chosen, as text.
        measured_on: Which clips these were, as text.
        folder: The folder of the results.
        evaluation: The metrics.
        class_texts: The texts of the classes.
        streams: The streams of the clips that the model used.
        missing: How many clips lack each further stream; they are judged by the others.
        made: How these streams of the clips were made, if recorded.
        classes: Which classes these are, as text, if they are not the model's.
        groups: The same rates of groups of clips, if groups are known.
        precision: That the model computed in.
    """

    checkpoint: Path
    selected_on: str
    measured_on: str
    folder: Path
    evaluation: Evaluation
    class_texts: tuple[str, ...]
    streams: tuple[str, ...] = ("frames",)
    missing: dict[str, int] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    classes: str = "the model's own"
    groups: tuple[GroupRates, ...] = ()
    precision: str = "32"

    def to_json(self) -> dict[str, Any]:
        """The output of `dfer eval --json`."""
        return {
            "checkpoint": str(self.checkpoint),
            "selected_on": self.selected_on,
            "measured_on": self.measured_on,
            "folder": str(self.folder),
            "class_texts": list(self.class_texts),
            "streams": list(self.streams),
            "clips_without_stream": self.missing,
            "streams_made": self.made,
            "classes": self.classes,
            "precision": self.precision,
            **({"groups": [group.to_json() for group in self.groups]} if self.groups else {}),
            **self.evaluation.to_json(),
        }


@dataclass(frozen=True)
class Classes:
    """The classes of an evaluation.

    Attributes:
        label_set: Their names.
        from_texts: Whether the model has to encode their texts, as they are not its own classes.
        note: The note for the user; None if they are the model's own.
    """

    label_set: tuple[str, ...]
    from_texts: bool = False
    note: str | None = None


def evaluate_checkpoint(
    checkpoint: Path,
    clips: Sequence[Clip],
    *,
    measured_on: str,
    out: Path,
    fabric: Fabric,
    config: EvalConfig,
    progress: Progress,
    label_set: tuple[str, ...] | None = None,
    selected: bool = False,
    calibrated_on_these: bool = False,
    others: Sequence[Path] = (),
) -> Measured:
    """Measure one checkpoint on one list of clips and write the results to `out`.

    Args:
        checkpoint: A checkpoint folder or a published file.
        clips: The clips.
        measured_on: Which clips these are, as text.
        out: Folder of the results.
        fabric: The engine.
        config: The settings.
        progress: Where to report.
        label_set: Classes of the clips, if they may differ from the model's.
        selected: Whether these clips chose the checkpoint; then there is no interval.
        calibrated_on_these: Whether they fitted its temperature; then there is no ECE.
        others: Further checkpoints of the same classes, whose probabilities are averaged with its.

    Raises:
        ConfigError: a further checkpoint has other classes.
    """
    model, classes = _restore(checkpoint, label_set, config, progress)
    _warn_if_trained_on(model, measured_on, progress)
    clips = _clips_of(clips, classes, progress)
    made = how_made(model.module.streams, clips, config.streams_from)
    tell_of_other_making(model.card.streams_made, made, progress.note)
    dataset = _dataset(model, clips, config, progress)
    logits = _predict(model, dataset, config, fabric, progress)
    columns = [model.card.label_set.index(name) for name in classes.label_set]
    probabilities = softmax(logits[:, columns], model.card.calibration["temperature"])
    targets = np.array([columns.index(label) for label in dataset.labels])
    rows = [probabilities]
    selected_on = [model.card.selected_on]
    for place in others:
        other, _ = _restore(place, label_set, config, progress)
        _warn_if_trained_on(other, measured_on, progress)
        if set(other.card.label_set) != set(model.card.label_set):
            raise ConfigError(
                f"{checkpoint} knows {', '.join(model.card.label_set)}; {place} knows "
                f"{', '.join(other.card.label_set)}: "
                "only models with the same classes can be averaged"
            )
        own = [other.card.label_set.index(name) for name in classes.label_set]
        own_clips = _dataset(other, clips, config, progress)
        own_logits = _predict(other, own_clips, config, fabric, progress)
        rows.append(softmax(own_logits[:, own], other.card.calibration["temperature"]))
        selected_on.append(other.card.selected_on)
    probabilities = np.mean(rows, axis=0)
    evaluation = evaluate(
        probabilities,
        targets,
        classes.label_set,
        subjects=[clip.subject for clip in clips],
        selected=selected,
        calibrated_on_these=calibrated_on_these,
        bootstrap_samples=config.bootstrap_samples,
    )
    if evaluation.classes_without_clips:
        absent = ", ".join(evaluation.classes_without_clips)
        progress.note(f"no clips of {absent}: UAR is over the other classes")
    measured = Measured(
        checkpoint if not others else Path(",".join(map(str, (checkpoint, *others)))),
        "; ".join(dict.fromkeys(selected_on)),
        measured_on,
        out,
        evaluation,
        tuple(model.card.class_texts[column] for column in columns),
        streams=model.module.streams,
        missing=dataset.streams.missing(clips),
        made=made,
        classes=classes.note or Measured.classes,
        groups=rates_per_group(
            probabilities, targets, classes.label_set, [clip.groups for clip in clips]
        ),
        precision=resolve_precision(config.precision, fabric.device.type),
    )
    if fabric.is_global_zero:
        with files_together(out, last=METRICS_NAME) as temporary:
            write_evaluation(temporary, measured, clips, probabilities)
            _write_page(temporary / "report.html", measured, model, clips, probabilities)
    fabric.barrier()
    return measured


def _restore(
    checkpoint: Path, label_set: tuple[str, ...] | None, config: EvalConfig, progress: Progress
) -> tuple[RestoredModel, Classes]:
    """Restore the model for the classes and the streams that it is to be measured on."""
    model = restore_model(checkpoint, clip_weights=config.clip_weights)
    classes = choose_classes(model.card.label_set, label_set, config.classes)
    if classes.from_texts:
        model = restore_model(
            checkpoint,
            clip_weights=config.clip_weights,
            label_set=classes.label_set,
            descriptions=config.descriptions,
        )
    look_at(model.module, config.streams)
    card = model.card.looking_at(model.module.streams)
    if card is not model.card:
        fitted, now = model.card.calibrated_streams, model.module.streams
        progress.note(
            f"no calibration: it was fitted with {', '.join(fitted)}, not with {', '.join(now)}"
        )
    return replace(model, card=card), classes


def _clips_of(clips: Sequence[Clip], classes: Classes, progress: Progress) -> Sequence[Clip]:
    """The clips of the chosen classes.

    Raises:
        DataError: a clip has no label.
    """
    if classes.note:
        progress.note(classes.note)
        total = len(clips)
        clips = [clip for clip in clips if clip.label in (None, *classes.label_set)]
        if len(clips) < total:
            progress.note(f"{total - len(clips)} of {total} clips are of other classes: left out")
    judged = [clip for clip in clips if has_one_class(clip)]
    if len(judged) < len(clips):
        progress.note(
            f"{len(clips) - len(judged)} of {len(clips)} clips have no single class: left out"
        )
        clips = judged
    unlabelled = [clip.clip_id for clip in clips if clip.label is None]
    if unlabelled:
        raise DataError(f"{len(unlabelled)} clips have no label, the first is {unlabelled[0]}")
    return clips


def _dataset(
    model: RestoredModel, clips: Sequence[Clip], config: EvalConfig, progress: Progress
) -> ClipDataset:
    """The clips as the model takes them, with its streams."""
    streams = stream_reader(
        model.module, clips, model.card.label_set, config.streams_from, progress
    )
    missing = streams.missing(clips)
    if lacking := [f"{count} lack {name}" for name, count in missing.items() if count]:
        progress.note(f"of {len(clips)} clips {', '.join(lacking)}: judged by the other streams")
    return ClipDataset(
        clips,
        model.card.label_set,
        num_frames=model.config.num_frames,
        image_size=model.card.image_size,
        streams=streams,
        sampling=sampling_of(model.card.sampling),
    )


def _predict(
    model: RestoredModel,
    dataset: ClipDataset,
    config: EvalConfig,
    fabric: Fabric,
    progress: Progress,
) -> NDArray[np.float32]:
    """Logits (N, K) of all clips, K the model's classes."""
    resolved = resolve_precision(config.precision, fabric.device.type)
    if rounds_weights(config.precision, resolved, fabric.device):
        keep_encoder_in_bfloat16(model.module.clip.visual)
    return predict_logits(
        fabric,
        fabric.setup_module(model.module),
        dataset,
        progress,
        batch_size=config.batch_size,
        workers=config.workers,
    )


def _write_page(
    path: Path,
    measured: Measured,
    model: RestoredModel,
    clips: Sequence[Clip],
    probabilities: NDArray[np.float64],
) -> None:
    """Write the page of one evaluation."""
    write_evaluation_page(
        path,
        measured.evaluation,
        benchmark=next((name for name in BENCHMARKS if f" {name} " in measured.measured_on), None),
        measured_on=measured.measured_on,
        checkpoint=str(measured.checkpoint),
        selected_on=measured.selected_on,
        class_texts=measured.class_texts,
        mistakes=worst_mistakes(
            clips,
            probabilities,
            measured.evaluation.label_set,
            num_frames=model.config.num_frames,
        ),
        card=model.card,
    )


def choose_classes(
    known: tuple[str, ...], asked: tuple[str, ...] | None, how: Literal["auto", "common", "open"]
) -> Classes:
    """Choose the classes to measure a model on.

    Args:
        known: The model's.
        asked: The data set's classes; None if they are the model's.
        how: See `EvalConfig.classes`.

    Raises:
        DataError: fewer than two classes are present in both.
    """
    if asked is None or set(asked) == set(known) or (how == "auto" and set(asked) < set(known)):
        return Classes(known)
    if how == "open":
        return Classes(
            asked, True, f"classes of the data set, from their texts: {', '.join(asked)}"
        )
    common = tuple(name for name in known if name in asked)
    if len(common) < 2:
        raise DataError(
            f"the model knows {', '.join(known)}; the data set has {', '.join(asked)}: "
            f"{len(common)} in both",
            hint="take the classes from the texts of the data set: --classes open",
        )
    return Classes(common, note=f"classes present in both: {', '.join(common)}")


def write_evaluation(
    folder: Path, measured: Measured, clips: Sequence[Clip], probabilities: NDArray[np.float64]
) -> None:
    """Write metrics, predictions, confusion matrix and plots of one evaluation into `folder`."""
    evaluation = measured.evaluation
    rows = [
        {
            "schema": CLIP_PREDICTION_SCHEMA,
            "clip_id": clip.clip_id,
            "label": clip.label,
            "subject": clip.subject,
            "probabilities": dict(zip(evaluation.label_set, map(float, row), strict=True)),
        }
        for clip, row in zip(clips, probabilities, strict=True)
    ]
    write_rows(folder / "predictions.jsonl", rows)
    if measured.groups:
        table = group_table(measured.groups, evaluation.label_set)
        write_text(folder / "groups.csv", to_csv(table))
    write_confusion_csv(evaluation, folder / "confusion.csv")
    plot_confusion(evaluation, folder / "confusion.png", measured.measured_on)
    plot_reliability(evaluation, folder / "reliability.png", measured.measured_on)
    write_json(folder / METRICS_NAME, measured.to_json())


def _warn_if_trained_on(model: RestoredModel, measured_on: str, progress: Progress) -> None:
    trained_on = model.card.trained_on.get("dataset")
    if trained_on is not None and measured_on.startswith(f"all clips of {trained_on} "):
        progress.note(
            f"these clips hold the ones that the model was trained on ({trained_on}): "
            "the result says nothing about new clips"
        )
    fold = model.card.trained_on.get("fold")
    asked = re.match(rf"test clips of {re.escape(str(trained_on))} fold (\d+)", measured_on)
    if model.card.trained_on.get("official_split") and asked and int(asked[1]) != fold:
        progress.note(
            f"the model was trained on fold {fold} of {trained_on}, whose training clips hold test "
            f"clips of fold {asked[1]}: the result says nothing about new clips"
        )
