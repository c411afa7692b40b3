"""A source with its face tracks, before and after the model has seen it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dfercli.artifacts.face_store import ClipRow, FailureRow, GapRow
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.faces.absence import NO_FACE, in_words
from dfercli.prediction.clip_faces import ClipFaces
from dfercli.video.sources import SourceState


@dataclass(frozen=True)
class WindowSettings:
    """How tracks are cut into windows, and the threshold of confidence.

    Attributes:
        window: Seconds that a window lasts.
        stride: Seconds from one window to the next.
        batch_size: Windows per forward pass.
        min_confidence: Below it a prediction is uncertain, where nothing of it is missing.
        asked_confidence: The same where the user asks for it; then it holds for every prediction.
    """

    window: float
    stride: float
    batch_size: int
    min_confidence: float
    asked_confidence: float | None = None


@dataclass(frozen=True)
class TrackedSource:
    """A source whose faces were found.

    Attributes:
        name: Its name in predictions.
        faces: Their crops and boxes.
        clips: Its tracks.
        gaps: When no face is seen, and why, as far as is known.
        remarks: Damage, faces that were left out, and doubts about who is who.
        portraits: By track what tells its face from others, where that was asked for.
        record: Of a face store, the source's record before its clips were read.
        signature: See `source_signature`, of when its faces were found; None where it is not read.
    """

    name: str
    faces: ClipFaces
    clips: tuple[ClipRow, ...]
    signature: tuple[int, int] | None = None
    gaps: tuple[GapRow, ...] = ()
    remarks: tuple[str, ...] = ()
    portraits: Mapping[int, Sequence[float]] = field(default_factory=dict)
    record: SourceState | None = None

    def reason_of(self, start_seconds: float, end_seconds: float) -> str:
        """Why no face is seen then: the reason that holds for most of the time."""
        shared = {
            min(gap.end_seconds, end_seconds) - max(gap.start_seconds, start_seconds): gap.reason
            for gap in self.gaps
        }
        longest = max(shared, default=0.0)
        return in_words(shared[longest]) if longest > 0 else NO_FACE


@dataclass(frozen=True)
class RecognisedSource:
    """A source with a prediction for every window.

    Attributes:
        source: What it is.
        predictions: By track, then by time.
        failure: Why a part is missing, else None.
    """

    source: TrackedSource
    predictions: tuple[WindowPrediction, ...]
    failure: FailureRow | None
