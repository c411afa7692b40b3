"""Pictures of an evaluation, drawn without pyplot so that no state is shared."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from dfercli.artifacts.atomic import atomic_path
from dfercli.artifacts.evaluation import Evaluation
from dfercli.report.drawn_text import shortened

DOTS_PER_INCH = 150
INK = "#1f2933"
FAINT = "#d9dee4"
BLUE = "#2f6db5"
ORANGE = "#d9822b"
MOST_CLASSES_WITH_NUMBERS = 15


def plot_confusion(evaluation: Evaluation, path: Path, title: str) -> None:
    """Write the confusion matrix as a PNG: each row in per cent of its true class.

    Args:
        evaluation: The result.
        path: The PNG file.
        title: First line above the picture.
    """
    names = tuple(map(shortened, evaluation.label_set))
    totals = evaluation.confusion.sum(axis=1)
    shares = evaluation.confusion / np.maximum(totals, 1)[:, None]
    side = 2.6 + 0.62 * min(len(names), MOST_CLASSES_WITH_NUMBERS)  # a picture has side**2 pixels
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    small = 9 if len(names) <= MOST_CLASSES_WITH_NUMBERS else 6
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(names)), [f"{name} ({total})" for name, total in zip(names, totals, strict=True)]
    )
    axes.tick_params(labelsize=small, length=0, colors=INK)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true (clips)", color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) <= MOST_CLASSES_WITH_NUMBERS:
        _write_shares(axes, evaluation, shares)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30)
    bar.set_label("% of the true class", color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=small)
    _title(figure, evaluation, title)
    _save(figure, path)


def plot_reliability(evaluation: Evaluation, path: Path, title: str) -> None:
    """Write the reliability diagram as a PNG: accuracy against confidence, clips per bin below.

    Args:
        evaluation: The result.
        path: The PNG file.
        title: First line above the picture.
    """
    figure = Figure(figsize=(5.6, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    filled = [entry for entry in evaluation.bins if entry.num_clips]
    centres = [(entry.lower + entry.upper) / 2 for entry in filled]
    width = evaluation.bins[0].upper - evaluation.bins[0].lower
    accuracy = np.array([entry.accuracy for entry in filled])
    confidence = np.array([entry.confidence for entry in filled])
    upper.bar(centres, accuracy, width * 0.92, color=BLUE, label="accuracy")
    upper.bar(
        centres,
        confidence - accuracy,
        width * 0.92,
        bottom=accuracy,
        color="none",
        edgecolor=ORANGE,
        hatch="////",
        linewidth=1,
        label="gap to confidence",
    )
    upper.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color=INK, label="perfect")
    upper.set_ylim(0, 1)
    upper.set_ylabel("accuracy", color=INK)
    upper.legend(loc="upper left", frameon=False, fontsize=9)
    lower.bar(centres, [entry.num_clips for entry in filled], width * 0.92, color=INK, alpha=0.55)
    lower.set_ylabel("clips", color=INK)
    lower.set_xlabel("confidence of the predicted class", color=INK)
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.grid(axis="y", color=FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(colors=INK, labelsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    error = "no ECE" if evaluation.ece is None else f"ECE {100 * evaluation.ece:.2f} %"
    _title(figure, evaluation, title, error)
    _save(figure, path)


def _write_shares(axes: Axes, evaluation: Evaluation, shares: np.ndarray) -> None:
    """Write each share into its cell; leave empty cells empty."""
    for row, counts in enumerate(evaluation.confusion):
        for column, count in enumerate(counts):
            if count:
                share = shares[row, column]
                axes.text(
                    column,
                    row,
                    f"{100 * share:.1f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    fontweight="bold" if row == column else "normal",
                    color="white" if share > 0.55 else INK,
                )


def _title(figure: Figure, evaluation: Evaluation, title: str, more: str = "") -> None:
    facts = (
        f"UAR {100 * evaluation.uar:.2f} %, WAR {100 * evaluation.war:.2f} %, "
        f"{evaluation.num_clips} clips"
    )
    figure.suptitle(
        f"{shortened(title, 100)}\n{facts}{', ' + more if more else ''}", fontsize=11, color=INK
    )


def _save(figure: Figure, path: Path) -> None:
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a $ in a user's name is not mathematics
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format="png")
