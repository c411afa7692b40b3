"""The views of face crops that networks make: landmarks, parsing maps, regions.

How each was made is a text, such as `yunet5` or `segformer NAME`, which `parts.json` and a model's
card hold. `from_made` finds the same makers again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.weight_files import fetch, five_point_file, weight_file
from dfercli.config import FacesConfig, PreprocessConfig
from dfercli.config.preprocessing import DEFAULT_PARSING_MODEL
from dfercli.errors import ArtifactError, ConfigError
from dfercli.faces.parsing_model import fetch_parsing_model

IMAGE_STREAMS = ("landmarks", "regions", "parsing")
"""The streams that are made of crops, each after those that it needs."""
FIVE = "yunet5"
SEGFORMER, POLYGONS = "segformer ", "polygons of "
UNKNOWN = ("not recorded",)


@dataclass(frozen=True)
class StreamSetting:
    """Which streams to make, and how.

    Attributes:
        streams: Of `IMAGE_STREAMS`.
        landmarks: `face-alignment` or `yunet5`.
        parsing_model: SegFormer on the hub, or its folder.
        margin: Part of the face's longer side around it in the crops.
        device: `cpu` or `cuda`.
        yunet: YuNet's file, instead of the one in the cache.
    """

    streams: tuple[str, ...]
    landmarks: str = "face-alignment"
    parsing_model: str = DEFAULT_PARSING_MODEL
    margin: float = PreprocessConfig.margin
    device: str = "cpu"
    yunet: Path | None = None

    @property
    def needs_landmarks(self) -> bool:
        """Whether landmarks are looked for; regions are drawn from them."""
        return "landmarks" in self.streams or "regions" in self.streams

    def how_made(self) -> dict[str, str]:
        """How each stream is made, as text."""
        landmarks = FIVE if self.landmarks == FIVE else weight_file("landmarks").file_name
        folder = Path(self.parsing_model).expanduser()
        model = str(folder.resolve()) if folder.is_dir() else self.parsing_model
        made = {
            "landmarks": landmarks,
            "regions": f"{POLYGONS}{landmarks}",
            "parsing": f"{SEGFORMER}{model}",
        }
        wanted = [*self.streams, *(["landmarks"] if self.needs_landmarks else [])]
        return {name: made[name] for name in IMAGE_STREAMS if name in wanted}

    def require_networks(self) -> None:
        """Find or fetch the networks, before hours of work; a file that was named is tried.

        Raises:
            ConfigError: regions of five points.
            ArtifactError: weights or a package are missing, and cannot be fetched.
        """
        if "regions" in self.streams and self.landmarks == FIVE:
            raise ConfigError(
                "regions are outlined by 68 landmarks, yunet5 finds five points",
                hint="leave out one of the two: regions, or --landmarks yunet5",
            )
        if self.needs_landmarks and self.landmarks != FIVE:
            fetch(weight_file("landmarks"))
        elif self.needs_landmarks and self.yunet is None:
            fetch(five_point_file())
        elif self.needs_landmarks:
            from dfercli.faces.five_points import FivePointFinder

            FivePointFinder(self.margin, self.yunet)
        if "parsing" in self.streams:
            fetch_parsing_model(self.parsing_model)


def setting_of(config: PreprocessConfig, device: str, margin: float | None = None) -> StreamSetting:
    """The setting that `dfer preprocess` asks for; its margin is that of the crops."""
    return StreamSetting(
        tuple(name for name in IMAGE_STREAMS if name in config.made_streams),
        config.landmarks or "face-alignment",
        config.parsing_model,
        config.margin if margin is None else margin,
        device,
        yunet_of(config),
    )


def yunet_of(config: FacesConfig) -> Path | None:
    """The file of YuNet, if one was named: the detector's, or with haar, which has none."""
    return config.detector_weights if config.detector in ("auto", "yunet", "haar") else None


def from_made(
    stream: str, made: str | None, margin: float, device: str, yunet: Path | None = None
) -> StreamSetting:
    """The setting that makes a stream as it was made for a training.

    Args:
        stream: Of `IMAGE_STREAMS`.
        made: How it was made; where that was not recorded, the usual network is taken.
        margin: Of the crops.
        device: `cpu` or `cuda`.
        yunet: YuNet's file, instead of the one in the cache.

    Raises:
        ArtifactError: it was made by something that dfer has not.
    """
    alone = StreamSetting((stream,), margin=margin, device=device)
    if made is None or made in UNKNOWN or alone.how_made()[stream] == made:
        return alone
    if stream == "landmarks" and made == FIVE:
        return StreamSetting((stream,), FIVE, margin=margin, device=device, yunet=yunet)
    if stream == "parsing" and made.startswith(SEGFORMER):
        model = made.removeprefix(SEGFORMER)
        return StreamSetting((stream,), parsing_model=model, margin=margin, device=device)
    raise ArtifactError(f"those of the training were made by {made!r}, which is not available here")


class StreamMaker:
    """Makes streams of face crops, whose networks it holds.

    Args:
        setting: Which, and how.

    Raises:
        ArtifactError: weights or a package are missing, or do not fit.
    """

    def __init__(self, setting: StreamSetting) -> None:
        # Both import torch, which preprocess does not need without them.
        from dfercli.faces.five_points import FivePointFinder
        from dfercli.faces.landmarks import LandmarkFinder
        from dfercli.faces.parsing import SegformerParser

        self.setting = setting
        self._finder: FivePointFinder | LandmarkFinder | None = None
        self._parser: SegformerParser | None = None
        if setting.needs_landmarks:
            self._finder = (
                FivePointFinder(setting.margin, setting.yunet)
                if setting.landmarks == FIVE
                else LandmarkFinder(setting.device, setting.margin)
            )
        if "parsing" in setting.streams:
            self._parser = SegformerParser(setting.parsing_model, setting.device)

    def landmarks(self, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Find the points on crops (H, W, 3) uint8 RGB; (n, 68 or 5, 2) float32 in their pixels."""
        assert self._finder is not None
        return self._finder.find(crops)

    def parsing(self, crops: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Parse crops (H, W, 3) uint8 RGB; for each (H, W) uint8 indices into `REGIONS`."""
        assert self._parser is not None
        return self._parser.parse(crops)


def regions(
    points: Sequence[NDArray[np.float32]], crops: Sequence[NDArray[np.uint8]]
) -> list[NDArray[np.uint8]]:
    """Draw the regions that the 68 points of each crop outline; maps as of `parsing`."""
    from dfercli.faces.parsing import draw_regions  # imports torch

    return [
        draw_regions(row, crop.shape[0], crop.shape[1])
        for row, crop in zip(points, crops, strict=True)
    ]
