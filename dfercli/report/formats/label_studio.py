"""Label Studio: predictions on the timeline of videos, and the labelling interface for them."""

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from dfercli.documents import dump_json
from dfercli.report.colours import class_colours
from dfercli.report.formats.tiers import Mark, Tier, TieredVideo

VIDEO = "video"


def label_studio_tasks(videos: Sequence[TieredVideo]) -> str:
    """A task per video, to import; frames count from 1."""
    return dump_json([_task(video) for video in videos], indent=2) + "\n"


def label_studio_config(videos: Sequence[TieredVideo]) -> str:
    """The labelling interface: a row of labels per person, with every class to choose from."""
    marked = sorted({mark.label for one in videos for tier in one.tiers for mark in tier.marks})
    labels = list(dict.fromkeys([*(name for one in videos for name in one.label_set), *marked]))
    persons = max((len(video.tiers) for video in videos), default=1)
    root = ElementTree.Element("View")
    for number in range(persons):
        control = ElementTree.SubElement(
            root, "TimelineLabels", {"name": _control(number), "toName": VIDEO}
        )
        for label, colour in zip(labels, class_colours(labels), strict=True):
            ElementTree.SubElement(control, "Label", {"value": label, "background": colour})
    ElementTree.SubElement(
        root, "Video", {"name": VIDEO, "value": "$video", "frameRate": "$fps", "height": "480"}
    )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _task(video: TieredVideo) -> dict[str, Any]:
    marks = [mark for tier in video.tiers for mark in tier.marks]
    lengths = [mark.end_seconds - mark.start_seconds for mark in marks]
    weighted = sum(
        mark.confidence * length for mark, length in zip(marks, lengths, strict=True)
    ) / sum(lengths)
    return {
        "data": {
            # Local files, as Label Studio serves them: relative to its document root.
            "video": f"/data/local-files/?d={quote(os.fsencode(video.source.lstrip('/')))}",
            "fps": video.frames_per_second,
            "source": video.source,
        },
        "predictions": [
            {
                "model_version": f"dfer, {video.model}",
                "score": weighted,
                "result": [
                    _region(video, number, tier, place, mark)
                    for number, tier in enumerate(video.tiers)
                    for place, mark in enumerate(tier.marks)
                ],
            }
        ],
    }


def _region(video: TieredVideo, number: int, tier: Tier, place: int, mark: Mark) -> dict[str, Any]:
    first = int(mark.start_seconds * video.frames_per_second + 0.5) + 1
    last = max(int(mark.end_seconds * video.frames_per_second + 0.5), first)
    return {
        "id": f"{number}-{place}",
        "from_name": _control(number),
        "to_name": VIDEO,
        "type": "timelinelabels",
        "origin": "prediction",
        "score": mark.confidence,
        "meta": {"text": [tier.name, *(["uncertain"] if mark.uncertain else [])]},
        "value": {
            "ranges": [{"start": first, "end": last}],
            "timelinelabels": [mark.label],
        },
    }


def _control(number: int) -> str:
    return f"person-{number}"
