"""Make the page of `dfer predict --html`: which videos play in it, and from where."""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dfercli.attempts import Crash, attempt
from dfercli.config import PredictConfig
from dfercli.inference.choose_model import ChosenModel
from dfercli.overrides import to_plain
from dfercli.prediction.facts import CHANGED, has_changed
from dfercli.report.page_data import PageRoom, PageVideo, room_for, video_section
from dfercli.report.prediction_page import write_prediction_page
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.probe import VideoFacts, probe_video

MIME_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
}
PLAYABLE_CODECS = ("h264", "vp8", "vp9", "libvpx-vp9", "av1", "libdav1d")
SHOWN_SETTINGS = {
    "window": "window, seconds",
    "stride": "stride, seconds",
    "faces": "faces kept",
    "min_face": "smallest face, pixels",
    "region": "region x, y, w, h, pixels",
    "start": "begin at second",
    "end": "stop at second",
}
BYTES_PER_MB = 1_000_000


def make_sections(
    videos: Sequence[VideoPrediction],
    path: Path,
    config: PredictConfig,
    min_confidence: float,
    with_bug: Callable[[VideoPrediction, Crash], VideoPrediction],
) -> tuple[list[VideoPrediction], list[dict[str, Any]]]:
    """Prepare the sections of the page; each may fail by itself.

    Args:
        videos: The predictions; an annotated video is shown instead of its source.
        path: The HTML file.
        config: The settings.
        min_confidence: Below it a span is marked as uncertain.
        with_bug: Makes a bug in a section the failure of its video.

    Returns:
        The videos with these failures, and their sections.
    """
    budget = config.embed_mb * BYTES_PER_MB
    room = room_for(videos)
    told, sections = [], []
    for video in videos:
        made = attempt(partial(_section, video, path, budget, config.start, min_confidence, room))
        if isinstance(made, Crash):
            video = with_bug(video, made)
            bare = replace(video, predictions=(), moments=(), traces=(), gaps=())
            made = video_section(PageVideo(bare, 0.0, None, ""), min_confidence, room), 0
        section, size = made
        budget -= size
        told.append(video)
        sections.append(section)
    return told, sections


def _section(
    video: VideoPrediction,
    page: Path,
    budget: float,
    start: float,
    min_confidence: float,
    room: PageRoom,
) -> tuple[dict[str, Any], int]:
    """One video's section, and the bytes of video in it."""
    file = Path(os.path.abspath(video.annotated or video.source))
    facts = probe_video(file)
    player, note, size = _player(file, facts, page, budget)
    if video.annotated is None and has_changed(video):
        facts, player, note, size = None, None, f"The video cannot be shown: {CHANGED}.", 0
    length = facts.seconds if facts is not None and facts.seconds else 0.0
    if video.annotated is not None:  # it begins with the first frame that was looked at
        length += start
        shown = PageVideo(video, length, player, note, offset_seconds=start)
    else:
        shown = PageVideo(video, length, player, note)
    return video_section(shown, min_confidence, room), size


def write_page(
    path: Path,
    videos: tuple[VideoPrediction, ...],
    sections: list[dict[str, Any]],
    config: PredictConfig,
    model: ChosenModel,
    min_confidence: float,
    precision: str | None,
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        videos: The predictions.
        sections: From `make_sections`.
        config: The settings.
        model: The model in use.
        min_confidence: Below it a span is marked as uncertain.
        precision: That the model computed in, where it had to.
    """
    plain = to_plain(config)
    settings = [(words, str(plain[name])) for name, words in SHOWN_SETTINGS.items() if plain[name]]
    detectors = sorted({video.detector for video in videos if video.detector})
    settings.append(("face detector", ", ".join(detectors) or config.detector))
    settings.append(("uncertain below", f"{min_confidence:.0%}" if min_confidence else "nothing"))
    if precision is not None:
        settings.append(("precision", precision))
    write_prediction_page(
        path,
        sections,
        label_set=model.label_set,
        card=model.card,
        model_name=model.name,
        settings=settings,
    )


def _player(
    file: Path, facts: VideoFacts | None, page: Path, budget: float
) -> tuple[str | None, str, int]:
    """The URL of a video for the page, the note about it, and its size in bytes."""
    if facts is None:
        return None, "This source has no video to play.", 0
    mime = MIME_TYPES.get(file.suffix.lower())
    is_playable = facts.codec in PLAYABLE_CODECS and facts.pixel_format in ("yuv420p", "yuvj420p")
    if mime is None or not is_playable:
        name = f"{facts.codec} in {file.suffix or 'this container'}"
        return None, f"Browsers do not play {name}; --video makes a copy that they play.", 0
    try:
        size = file.stat().st_size
        content = base64.b64encode(file.read_bytes()).decode() if size <= budget else ""
    except OSError as error:
        return None, f"The video cannot be read any more: {error.strerror or error}.", 0
    if content:
        return f"data:{mime};base64,{content}", "The video is inside this file.", size
    # The bytes, as a name need not be UTF-8.
    link = quote(os.fsencode(os.path.relpath(file, page.absolute().parent)))
    return link, f"The video is not inside this file; the page looks for it at {link}", 0
