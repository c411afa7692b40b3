"""A video's timeline as a figure: a lane per face, drawn without pyplot."""

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from dfercli.report.colours import class_colours
from dfercli.report.drawn_text import shortened
from dfercli.report.pages import clock
from dfercli.report.timeline import Timeline, called, spans_of

if TYPE_CHECKING:
    from dfercli.report.video_prediction import VideoPrediction

MOST_LETTERS = 16  # of a name
MOST_CLASSES = 28  # in the legend
MOST_LANES = 12  # those seen longest
WIDTH_INCHES, LANE_INCHES, FRAME_INCHES = 10.0, 0.75, 1.1
DOTS_PER_INCH = 110
INK, FAINT = "#1f2933", "#d9dee4"
HATCH = (1.0, 1.0, 1.0, 0.6)
SMALL = 9


class TimelineFigure(Figure):
    """A figure that a notebook shows once, whether or not pyplot is in use."""

    def _repr_png_(self) -> bytes:
        return png_of(self)


def plot_timeline(video: "VideoPrediction") -> TimelineFigure:
    """Draw the probabilities of each face over time, stacked; doubtful spans are hatched.

    Args:
        video: The predictions; of many faces, the plot shows those seen longest.
    """
    every = sorted(video.timelines(), key=lambda timeline: -timeline.seen_seconds)
    timelines = sorted(every[:MOST_LANES], key=lambda timeline: timeline.track)
    height = FRAME_INCHES + LANE_INCHES * max(len(timelines), 1)
    figure = TimelineFigure(figsize=(WIDTH_INCHES, height), layout="constrained")
    FigureCanvasAgg(figure)
    lanes = figure.subplots(max(len(timelines), 1), 1, sharex=True, squeeze=False)[:, 0].tolist()
    ends = [float(timeline.edges_seconds[-1]) for timeline in timelines]
    for axes in lanes:
        axes.set_xlim(0, max([video.length_seconds, *ends, 0.1]))
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=SMALL)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    for axes, timeline in zip(lanes, timelines, strict=False):
        _draw_lane(axes, timeline, video)
    if not timelines:
        reason = video.failure.reason if video.failure is not None else "no face was found"
        words = lanes[0].text(0.5, 0.5, shortened(reason, 100), ha="center", va="center")
        words.set(transform=lanes[0].transAxes, color=INK, fontsize=SMALL, parse_math=False)
    more = f" ({len(every) - MOST_LANES} more faces)" if len(every) > MOST_LANES else ""
    title = figure.suptitle(f"{shortened(video.source, 90)}{more}", fontsize=11, color=INK)
    title.set_parse_math(False)  # a $ in a name is not mathematics
    if timelines:
        _add_legend(figure, video)
    return figure


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()


def _draw_lane(axes: Axes, timeline: Timeline, video: "VideoPrediction") -> None:
    edges = timeline.edges_seconds
    below = np.zeros(len(edges))
    for k, colour in enumerate(class_colours(video.label_set)):
        above = below + _at_edges(timeline.probabilities[:, k])
        axes.fill_between(edges, below, above, step="post", color=colour, linewidth=0)
        below = above
    for span in spans_of(timeline):
        if span.probabilities.max() < video.min_confidence:
            axes.axvspan(
                span.start_seconds,
                span.end_seconds,
                facecolor="none",
                edgecolor=HATCH,
                hatch="////",
                linewidth=0,
            )
    name = shortened(called(video.people.get(timeline.track), timeline.track), MOST_LETTERS)
    label = axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL, color=INK)
    label.set_parse_math(False)


def _at_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of intervals for a drawing in steps: the last one holds to the last edge."""
    return np.append(values, values[-1])


def _add_legend(figure: Figure, video: "VideoPrediction") -> None:
    names = zip(video.label_set, class_colours(video.label_set), strict=True)
    patches = [Patch(color=colour, label=shortened(name)) for name, colour in names]
    legend = figure.legend(
        handles=patches[:MOST_CLASSES],
        loc="outside lower center",
        ncols=7,
        frameon=False,
        fontsize=SMALL,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
