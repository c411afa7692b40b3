"""How faces are followed and cut out, by the settings of `dfer preprocess`."""

import numpy as np
from numpy.typing import NDArray

from dfercli.config import PreprocessConfig
from dfercli.faces.crop import points_transform, square_transform, warp
from dfercli.faces.follow import (
    DETECT_SECONDS,
    FollowSettings,
    TrackedFace,
    frames_between_detections,
)
from dfercli.video.frames import Frame


def follow_settings(config: PreprocessConfig, fps: float) -> FollowSettings:
    """How to follow faces in a source of `fps` frames a second, 0 where unknown."""
    kept_fps = fps / config.every
    if config.fps is not None:
        kept_fps = min(kept_fps, config.fps)
    detect_every = config.detect_every or frames_between_detections(kept_fps)
    # By default frames between those kept are looked at, too, where the source has any.
    detections_fps = kept_fps / detect_every
    if config.detect_every is None:
        detections_fps = min(fps, max(detections_fps, 1 / DETECT_SECONDS))
    x, y, width, height = config.region or (0, 0, 0, 0)
    return FollowSettings(
        detect_every=detect_every,
        min_face_px=config.min_face,
        lost_seconds=config.lost_seconds,
        smooth_frames=config.smooth,
        region_xywh_px=(x, y, width, height) if config.region else None,
        apart_seconds=1 / detections_fps if detections_fps > 0 else 0.0,
    )


def cut_crop(frame: Frame, face: TrackedFace, config: PreprocessConfig) -> NDArray[np.uint8]:
    """The crop of a face in a frame, (size, size, 3) uint8 RGB."""
    if config.align != "square" and face.smooth_points_px is not None:
        transform = points_transform(face.smooth_points_px, config.size, config.margin)
    else:
        transform = square_transform(face.smooth_box_xyxy_px, config.size, config.margin)
    return warp(frame.image, transform, config.size)
