"""The page of `dfer eval`: confusion, classes, reliability, mistakes, published numbers."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import write_text
from dfercli.artifacts.evaluation import Evaluation, Interval
from dfercli.artifacts.model_card import ModelCard
from dfercli.report.card import card_rows
from dfercli.report.pages import render
from dfercli.report.published_results import SELECTION, published_for
from dfercli.report.tables import NO_ECE, NO_VALUE, per_class_table, percent, percent_interval

BENCHMARKS = ("dfew", "ferv39k", "mafw")  # with published results to compare with
PLOT_LEFT, PLOT_BOTTOM = 40, 260
PLOT_WIDTH, PLOT_HEIGHT = 290, 250
MOST_TINT = 45  # per cent of the accent: text on it stays readable in light and dark


@dataclass(frozen=True)
class Mistake:
    """A clip that was not recognised.

    Attributes:
        clip_id: The clip.
        label: Its class.
        predicted: The predicted class.
        confidence: The probability of that class.
        jpeg: A frame of it; empty if none can be read.
    """

    clip_id: str
    label: str
    predicted: str
    confidence: float
    jpeg: bytes


def write_evaluation_page(
    path: Path,
    evaluation: Evaluation,
    *,
    benchmark: str | None,
    measured_on: str,
    checkpoint: str,
    selected_on: str,
    class_texts: Sequence[str],
    mistakes: Sequence[Mistake],
    card: ModelCard,
) -> None:
    """Write the page atomically.

    Args:
        path: The HTML file.
        evaluation: The measurements.
        benchmark: The data set, if it is one of `BENCHMARKS`.
        measured_on: The clips, as text.
        checkpoint: The origin of the model.
        selected_on: How it was chosen, as text.
        class_texts: The texts of the classes.
        mistakes: The most confident ones, strongest first.
        card: Of the model.
    """
    html = render(
        "evaluation.html",
        "Evaluation",
        measured_on=measured_on,
        checkpoint=checkpoint,
        selected_on=selected_on,
        label_set=evaluation.label_set,
        tiles=_tiles(evaluation),
        confusion=_confusion(evaluation),
        per_class=per_class_table(evaluation),
        ece=NO_ECE if evaluation.ece is None else f"{percent(evaluation.ece)} %",
        bars=_bars(evaluation),
        mistakes=[
            {**vars(mistake), "image": base64.b64encode(mistake.jpeg).decode()}
            for mistake in mistakes
        ],
        published=_published(evaluation, benchmark),
        published_selection=SELECTION,
        card=card_rows(card),
        class_texts=list(zip(evaluation.label_set, class_texts, strict=True)),
    )
    write_text(path, html)


def _tiles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    chance = 1 / (len(evaluation.label_set) - len(evaluation.classes_without_clips))
    return [
        (
            "UAR",
            f"{percent(evaluation.uar)} %",
            _interval(evaluation.uar_interval, evaluation.uar_method),
        ),
        (
            "WAR",
            f"{percent(evaluation.war)} %",
            _interval(evaluation.war_interval, evaluation.war_method),
        ),
        ("Macro F1", f"{percent(evaluation.macro_f1)} %", "mean over classes"),
        ("UAR of chance", f"{percent(chance)} %", f"{len(evaluation.label_set)} classes"),
        _calibration_tile(evaluation.ece),
        ("Clips", str(evaluation.num_clips), "intervals are 95 %"),
    ]


def _interval(interval: Interval | None, method: str) -> str:
    return method if interval is None else f"{percent_interval(interval)} ({method})"


def _calibration_tile(ece: float | None) -> tuple[str, str, str]:
    if ece is None:
        return "Calibration error", NO_VALUE, NO_ECE
    return "Calibration error", f"{percent(ece)} %", "ECE, 15 bins"


def _confusion(evaluation: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for name, counts in zip(evaluation.label_set, evaluation.confusion.tolist(), strict=True):
        total = max(1, sum(counts))
        cells = [
            {
                "share": f"{100 * count / total:.0f}",
                "count": count,
                "strength": round(MOST_TINT * count / total),
            }
            for count in counts
        ]
        rows.append({"name": name, "cells": cells})
    return rows


def _bars(evaluation: Evaluation) -> list[dict[str, Any]]:
    most = max(1, *(one.num_clips for one in evaluation.bins))
    return [
        {
            "x": round(PLOT_LEFT + PLOT_WIDTH * one.lower + 1, 1),
            "y": round(PLOT_BOTTOM - PLOT_HEIGHT * one.accuracy, 1),
            "width": round(PLOT_WIDTH * (one.upper - one.lower) - 2, 1),
            "height": round(PLOT_HEIGHT * one.accuracy, 1),
            "opacity": round(0.35 + 0.65 * one.num_clips / most, 2),
            "text": f"{one.num_clips} clips: confidence {one.confidence:.0%}, "
            f"{one.accuracy:.0%} right",
        }
        for one in evaluation.bins
        if one.num_clips
    ]


def _published(evaluation: Evaluation, benchmark: str | None) -> list[dict[str, Any]]:
    if benchmark is None:
        return []
    found = [
        {
            "method": result.method,
            "modality": result.modality,
            "uar": _number(result.results[benchmark][0]),
            "war": _number(result.results[benchmark][1]),
            "mine": False,
        }
        for result in published_for(benchmark)
    ]
    own = {"uar": percent(evaluation.uar), "war": percent(evaluation.war)}
    return [*found, {"method": "this checkpoint", "modality": "", **own, "mine": True}]


def _number(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.2f}"
