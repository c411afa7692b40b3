"""Give faces identities through time: ByteTrack within a scene, new identities after a cut."""

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from trackers import ByteTrackTracker

from dfercli.faces.detect import NO_TRACK, Faces

SURE_SCORE = 0.6  # ByteTrack matches faces scored higher first
MIN_IOU = 0.3  # between where a face was expected and where it is
HIDDEN_DETECTIONS = 2.5
FAR_APART_SECONDS = 0.2  # detections further apart may show it almost elsewhere
FAR_APART_MIN_IOU = 0.1


class FaceTracker:
    """Names the faces of successive detections; numbers run from 0 through the whole source.

    Args:
        lost_seconds: How long a face may be hidden and keep its identity.
        new_track_score: A face scored lower continues a track, but starts none.
        apart_seconds: Time between detections.
    """

    def __init__(
        self, lost_seconds: float, new_track_score: float, apart_seconds: float = 0.0
    ) -> None:
        # A face that is hidden for two detections is found again, however far apart they are.
        self._lost_seconds = max(lost_seconds, HIDDEN_DETECTIONS * apart_seconds)
        self._min_iou = FAR_APART_MIN_IOU if apart_seconds > FAR_APART_SECONDS else MIN_IOU
        self._new_track_score = new_track_score
        self._next_number = 0
        self._begin_scene()

    def _begin_scene(self) -> None:
        # The buffer counts frames of 1/30 s; with timestamps, ByteTrack turns it into seconds.
        self._tracker = ByteTrackTracker(
            lost_track_buffer=max(1, round(self._lost_seconds * 30)),
            frame_rate=30.0,
            track_activation_threshold=self._new_track_score,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=self._min_iou,
            high_conf_det_threshold=SURE_SCORE,
        )
        self._numbers: dict[int, int] = {}

    def end_scene(self) -> None:
        """Forget all faces: what follows is another scene."""
        self._begin_scene()

    def update(self, faces: Faces, pts_seconds: float) -> NDArray[np.int64]:
        """Name the faces of the next image.

        Args:
            faces: What was detected.
            pts_seconds: Later than the time before.

        Returns:
            (n,) int64: the number of each face's track, or `NO_TRACK`. ByteTrack names a face the
            second time it sees it.
        """
        numbers = np.full(len(faces), NO_TRACK, np.int64)
        detections = sv.Detections(
            xyxy=faces.box_xyxy_px.astype(np.float64).reshape(-1, 4),
            confidence=faces.score.astype(np.float64),
            data={"row": np.arange(len(faces))},
        )
        named = self._tracker.update(detections, timestamp=pts_seconds)
        if len(named) == 0 or named.tracker_id is None:
            return numbers
        order = np.argsort(named.data["row"])  # so that numbers follow the order of the faces
        for row, tracker_id in zip(named.data["row"][order], named.tracker_id[order], strict=True):
            if tracker_id != -1:
                if tracker_id not in self._numbers:
                    self._numbers[tracker_id] = self._next_number
                    self._next_number += 1
                numbers[row] = self._numbers[tracker_id]
        return numbers

    def new_numbers(self, count: int) -> NDArray[np.int64]:
        """Numbers for faces that were seen once, in a scene that ended with that image."""
        first = self._next_number
        self._next_number += count
        return np.arange(first, self._next_number, dtype=np.int64)
