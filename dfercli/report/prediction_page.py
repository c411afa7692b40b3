"""The page of `dfer predict --html`: a tool to watch videos with their expressions."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import write_text
from dfercli.artifacts.model_card import ModelCard
from dfercli.report.card import card_rows
from dfercli.report.colours import class_colours
from dfercli.report.pages import render


def write_prediction_page(
    path: Path,
    videos: Sequence[dict[str, Any]],
    *,
    label_set: Sequence[str],
    card: ModelCard,
    model_name: str,
    settings: Sequence[tuple[str, str]],
) -> None:
    """Write the page atomically.

    The start view needs only the summaries; the data of each video is a separate script, which is
    read when that video is opened.

    Args:
        path: The HTML file.
        videos: From `video_section`, in the order to show them.
        label_set: The K class names.
        card: Of the model.
        model_name: The origin of the model.
        settings: (name, value) rows to show.
    """
    names = [video["name"] for video in videos]
    overview = {
        "key": hashlib.sha256(json.dumps([model_name, names]).encode()).hexdigest()[:16],
        "labels": list(label_set),
        "colours": class_colours(label_set),
        "videos": [video["summary"] for video in videos],
    }
    one = Path(names[0]).name if len(names) == 1 else ""
    html = render(
        "predictions.html",
        one or f"Expressions in {len(names)} videos",
        overview=overview,
        videos=[_without(video, "summary", "player") for video in videos],
        players=[video["player"] for video in videos],
        label_set=label_set,
        model_name=model_name,
        settings=settings,
        card=card_rows(card),
    )
    write_text(path, html)


def _without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}
