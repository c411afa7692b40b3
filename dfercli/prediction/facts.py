"""Facts that the file of a source states, besides its predictions."""

import os
from dataclasses import replace
from pathlib import Path

from dfercli.report.video_prediction import VideoPrediction
from dfercli.video.probe import VideoFacts, probe_video
from dfercli.video.sources import source_signature

CHANGED = "it changed after its faces were found"


def length_seconds(video: VideoPrediction) -> float:
    """Length of a source; if it does not say, the end of its last window."""
    return _length(_facts(video), video)


def with_facts(video: VideoPrediction, min_confidence: float) -> VideoPrediction:
    """The video with its length, frame rate and time, and the threshold of its predictions."""
    facts = _facts(video)
    return replace(
        video,
        min_confidence=min_confidence,
        length_seconds=_length(facts, video),
        length_is_known=facts is not None and facts.seconds is not None,
        fps=None if facts is None else facts.fps,
        recorded_at=None if facts is None else facts.recorded_at,
    )


def has_changed(video: VideoPrediction) -> bool:
    """Whether the source's file has changed since its faces were found."""
    return video.signature not in (None, source_signature(Path(os.path.abspath(video.source))))


def _facts(video: VideoPrediction) -> VideoFacts | None:
    facts = probe_video(Path(os.path.abspath(video.source)))
    return None if has_changed(video) else facts


def _length(facts: VideoFacts | None, video: VideoPrediction) -> float:
    last = max((window.end_seconds for window in video.predictions), default=0.0)
    return last if facts is None else max(last, facts.seconds or 0.0)
