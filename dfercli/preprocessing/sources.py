"""Sources opened for the frames that the settings select."""

from collections.abc import Callable

from dfercli.config import PreprocessConfig
from dfercli.video.decode import VideoReader
from dfercli.video.frames import Selection
from dfercli.video.images import ImageReader
from dfercli.video.sources import Source
from dfercli.video.stretches import OVERLAP_SECONDS, Stretch


def open_source(
    source: Source,
    config: PreprocessConfig,
    alive: Callable[[], None] | None = None,
    between_seconds: float | None = None,
    indices: frozenset[int] | None = None,
    stretch: Stretch | None = None,
) -> VideoReader | ImageReader:
    """Open a source for the frames that `config` selects.

    Args:
        source: What to open.
        config: Says which frames.
        alive: Called while frames are decoded, from whatever thread does that.
        between_seconds: Also yield frames between these, so far apart, not `wanted`.
        indices: Yield the frames with these numbers instead.
        stretch: Read this one, and so much more that who is hidden at its end is found again.

    Raises:
        DataError: it cannot be opened.
    """
    end = config.end
    if stretch is not None and stretch.number + 1 < stretch.count:
        read_until = stretch.end_seconds + config.lost_seconds + OVERLAP_SECONDS
        end = read_until if end is None else min(end, read_until)
    selection = Selection(config.every, config.fps, config.start, end, between_seconds, indices)
    if source.kind == "video":
        return VideoReader(source.path, selection, alive, config.max_pixels, stretch)
    return ImageReader(source.path, config.folder_fps, selection, config.max_pixels)
