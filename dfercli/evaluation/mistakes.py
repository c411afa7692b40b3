"""Make the page of `dfer eval`, with a frame of each of the worst mistakes."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dfercli.data.clips import Clip
from dfercli.data.loading import ClipDataset
from dfercli.errors import DferError
from dfercli.report.evaluation_page import Mistake

MOST_MISTAKES = 12
SIDE_PX = 112
JPEG_QUALITY = 80


def worst_mistakes(
    clips: Sequence[Clip],
    probabilities: NDArray[np.float64],
    label_set: Sequence[str],
    *,
    num_frames: int,
) -> list[Mistake]:
    """The most confident wrong predictions, with the middle frame of each clip.

    Args:
        clips: N labelled clips.
        probabilities: (N, K).
        label_set: The K class names.
        num_frames: T of the model, whose middle frame is shown.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = [
        index for index, clip in enumerate(clips) if clip.label != label_set[int(predicted[index])]
    ]
    wrong.sort(key=lambda index: -confidence[index])
    return [
        Mistake(
            clip_id=clips[index].clip_id,
            label=str(clips[index].label),
            predicted=label_set[int(predicted[index])],
            confidence=float(confidence[index]),
            jpeg=_middle_frame(clips[index], label_set, num_frames),
        )
        for index in wrong[:MOST_MISTAKES]
    ]


def _middle_frame(clip: Clip, label_set: Sequence[str], num_frames: int) -> bytes:
    dataset = ClipDataset([clip], label_set, num_frames=num_frames, image_size=SIDE_PX)
    item = dataset[0, 0]
    if isinstance(item, DferError):
        return b""
    frames = item[0]  # (T, 3, S, S) uint8
    assert isinstance(frames, Tensor)
    picture = frames[len(frames) // 2].permute(1, 2, 0).numpy()
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return jpeg.tobytes()
