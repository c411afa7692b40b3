"""How faces are followed and cut out, by the settings of `dfer preprocess`."""

import numpy as np
from numpy.typing import NDArray

from dfercli.config import PreprocessConfig
from dfercli.faces.crop import points_transform, square_transform, warp
from dfercli.faces.follow import FollowSettings
from dfercli.faces.smooth import TrackedFace
from dfercli.video.frames import Frame

# While faces are calm, the detector looks this many times more rarely, but at least this often.
CALM_TIMES = 2.0
CALM_SECONDS = 0.24


def follow_settings(config: PreprocessConfig) -> FollowSettings:
    """How to follow faces."""
    x, y, width, height = config.region or (0, 0, 0, 0)
    takes_all = config.every == 1 and config.fps is None  # few frames: each one matters
    return FollowSettings(
        detect_seconds=config.detect_every,
        min_face_px=config.min_face,
        lost_seconds=config.lost_seconds,
        smooth_seconds=config.smooth,
        region_xywh_px=(x, y, width, height) if config.region else None,
        on_grid=takes_all,
        calm_seconds=min(CALM_TIMES * config.detect_every, CALM_SECONDS) if takes_all else 0.0,
    )


def cut_crop(frame: Frame, face: TrackedFace, config: PreprocessConfig) -> NDArray[np.uint8]:
    """The crop of a face in a frame, (size, size, 3) uint8 RGB."""
    if config.align != "square" and face.smooth_points_px is not None:
        transform = points_transform(face.smooth_points_px, config.size, config.margin)
    else:
        transform = square_transform(face.smooth_box_xyxy_px, config.size, config.margin)
    return warp(frame.image, transform, config.size)
