"""Sources opened for the frames that the settings select."""

from collections.abc import Callable

from dfercli.config import PreprocessConfig
from dfercli.video.decode import VideoReader
from dfercli.video.frames import Selection
from dfercli.video.images import ImageReader
from dfercli.video.sources import Source


def open_source(
    source: Source,
    config: PreprocessConfig,
    alive: Callable[[], None] | None = None,
    between_seconds: float | None = None,
    indices: frozenset[int] | None = None,
) -> VideoReader | ImageReader:
    """Open a source for the frames that `config` selects.

    Args:
        source: What to open.
        config: Says which frames.
        alive: Called while frames are decoded, from whatever thread does that.
        between_seconds: Also yield frames between these, so far apart, not `wanted`.
        indices: Yield the frames with these numbers instead.

    Raises:
        DataError: it cannot be opened.
    """
    selection = Selection(
        config.every, config.fps, config.start, config.end, between_seconds, indices
    )
    if source.kind == "video":
        return VideoReader(source.path, selection, alive, config.max_pixels)
    return ImageReader(source.path, config.folder_fps, selection, config.max_pixels)
