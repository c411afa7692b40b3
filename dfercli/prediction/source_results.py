"""The work for each source and its result: gaps, moments, annotated copy."""

import threading
from dataclasses import dataclass, replace
from functools import partial

from dfercli.artifacts.bug_log import BUG_STAGE, BugLog
from dfercli.artifacts.face_store import FailureRow
from dfercli.attempts import Crash, attempt
from dfercli.config import PredictConfig, PreprocessConfig
from dfercli.errors import ArtifactError, DataError
from dfercli.inference.choose_model import ChosenModel
from dfercli.prediction.facts import CHANGED, has_changed, length_seconds, with_facts
from dfercli.prediction.journal import Journal
from dfercli.prediction.moments import face_traces, strongest_moments
from dfercli.prediction.outputs import annotated_path
from dfercli.prediction.streams import StreamPlan
from dfercli.prediction.tracked_source import RecognisedSource, TrackedSource, WindowSettings
from dfercli.preprocessing.people import Known
from dfercli.report.summary import Event
from dfercli.report.timeline import gaps_of
from dfercli.report.video_prediction import VideoPrediction


@dataclass(frozen=True)
class Plan:
    """What to do with each source.

    Attributes:
        config: The settings.
        model: The model, to be loaded while faces are found.
        windows: How tracks are cut.
        crop: Settings of the preprocess stage.
        journal: Records finished sources, if there will be a table.
        bugs: Takes the tracebacks of sources with a bug.
        events: Of the experiment.
        with_pictures: Whether pictures of faces are kept in the result.
        known: Portraits of people who have a name.
        streams: The streams for the model, and how they are made.
    """

    config: PredictConfig
    model: ChosenModel
    windows: WindowSettings
    crop: PreprocessConfig
    journal: Journal | None
    bugs: BugLog
    events: tuple[Event, ...]
    with_pictures: bool
    known: Known
    streams: StreamPlan


def finish_source(plan: Plan, done: RecognisedSource, stop: threading.Event) -> VideoPrediction:
    """Collect the results of a source, and write its annotated video if asked for."""
    source = done.source
    video = VideoPrediction(
        source.name,
        plan.model.label_set,
        done.predictions,
        failure=done.failure,
        detector=source.clips[0].detector if source.clips else None,
        portraits=source.portraits,
        signature=source.signature,
    )
    if source.record is not None and source.record.is_other():
        # Some of the crops may be of before, and some of after.
        failure = FailureRow(source.name, "changed", "its faces were made again meanwhile")
        return replace(video, predictions=(), failure=failure)
    for step in (_with_gaps, _with_moments, _with_annotated):
        try:
            outcome = attempt(partial(step, plan, source, video, stop))
        except (DataError, ArtifactError) as error:
            if stop.is_set():
                raise  # abandoned, not failed
            video = _failed(video, "annotate", error.message)
            continue
        video = with_bug(plan, video, outcome) if isinstance(outcome, Crash) else outcome
    return video


def _failed(video: VideoPrediction, stage: str, reason: str) -> VideoPrediction:
    """The video with one more reason why a part of it is missing."""
    if video.failure is not None:
        reason = f"{video.failure.reason}; {reason}"
    return replace(video, failure=FailureRow(video.source, stage, reason))


def with_bug(plan: Plan, video: VideoPrediction, crash: Crash) -> VideoPrediction:
    """The video with a bug of dfer as one more reason why a part of it is missing."""
    return _failed(video, BUG_STAGE, plan.bugs.add(video.source, crash))


def checked_facts(plan: Plan, video: VideoPrediction) -> VideoPrediction:
    """The video with the facts of its file; a bug in finding them is a reason as any other.

    A file that is another one by now has none, and that is the video's failure.
    """
    made = attempt(partial(with_facts, video, plan.windows.min_confidence))
    told = video.failure is not None and "it changed" in video.failure.reason
    has_faces = video.failure is None or bool(video.predictions)
    if has_faces and not told and has_changed(video):
        made = made if isinstance(made, Crash) else _failed(made, "changed", CHANGED)
    return with_bug(plan, video, made) if isinstance(made, Crash) else made


def _with_gaps(
    plan: Plan, source: TrackedSource, video: VideoPrediction, _: threading.Event
) -> VideoPrediction:
    length = length_seconds(video)
    end = length if plan.config.end is None else min(plan.config.end, length)
    gaps = tuple(gaps_of(video.predictions, plan.config.start, end))
    reasons = tuple(source.reason_of(*gap) for gap in gaps)
    return replace(video, gaps=gaps, gap_reasons=reasons, remarks=source.remarks)


def _with_moments(
    plan: Plan, source: TrackedSource, video: VideoPrediction, _: threading.Event
) -> VideoPrediction:
    if not plan.with_pictures:
        return video
    moments = strongest_moments(source, video.predictions)
    return replace(video, moments=moments, traces=face_traces(source, video.predictions))


def _with_annotated(
    plan: Plan, source: TrackedSource, video: VideoPrediction, stop: threading.Event
) -> VideoPrediction:
    if plan.config.video is None:
        return video
    from dfercli.prediction.annotate import annotate

    out = annotated_path(plan.config.video, source)
    annotate(
        source,
        video,
        out,
        length_seconds=length_seconds(video),
        min_confidence=plan.windows.min_confidence,
        stop=stop,
        start=plan.config.start,
        end=plan.config.end,
        max_pixels=plan.config.max_pixels,
    )
    return replace(video, annotated=str(out))
