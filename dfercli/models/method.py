"""The interface of a method to training, evaluation and prediction.

A third method is one file like `mean_pooling.py` and one line in `build.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from open_clip import CLIP
from torch import Tensor, nn

from dfercli.config import ModelConfig, OptimConfig
from dfercli.models.clip_backbone import encode_images
from dfercli.models.normalization import PixelNormalization

FRAMES = "frames"


@dataclass(frozen=True)
class ParameterGroup:
    """Weights that share a learning rate.

    Attributes:
        name: For logs.
        parameters: The weights.
        lr: Their base learning rate.
    """

    name: str
    parameters: list[nn.Parameter]
    lr: float


class Method(nn.Module, ABC):
    """A DFER model: compares clips with class texts.

    Attributes:
        num_frames: T, frames per clip.
        image_size: Side of the square frames in pixels.
        clip: The CLIP backbone.
        normalization: What is done to pixels before they go into the image encoder.
        streams: Names of the views of a clip that it looks at; each one but the frames comes as a
            keyword of `forward`. It may be set to some of them, to use no others.
        criterion: The loss of logits (B, K) against labels (B,) or shares of the classes (B, K),
            which a training may set.
        encodes_frames_alone: Whether each frame is encoded independently of the others, by
            `frame_features`; then `forward` takes such features, (B, T, D), in place of frames.
        backbone_is_frozen: Whether all weights of CLIP stay as they are; then a checkpoint leaves
            them out and names their file.
    """

    num_frames: int
    image_size: int
    clip: CLIP
    normalization: PixelNormalization
    streams: tuple[str, ...] = (FRAMES,)
    criterion: Callable[[Tensor, Tensor], Tensor] = staticmethod(F.cross_entropy)
    encodes_frames_alone: bool = False
    backbone_is_frozen: ClassVar[bool] = False

    @staticmethod
    def wants_negative_texts(config: ModelConfig) -> bool:
        """Whether `texts` hold a negative text of each class after the positive ones."""
        return False

    @staticmethod
    def wants_texts(config: ModelConfig) -> bool:
        """Whether classes are compared by their texts, and so may be others after training."""
        return True

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Compare clips with classes.

        In training a method may return more than logits: what its `loss` and `logits` take.

        Args:
            frames: (B, T, 3, H, W), float in [0, 1] or uint8. A method that encodes frames alone
                also takes their features, (B, T, D) float.

        Returns:
            (B, K) float32 logits.
        """

    def frame_features(self, frames: Tensor) -> Tensor:
        """Encode each frame by itself; (N, 3, H, W), float in [0, 1] or uint8 -> (N, D)."""
        return encode_images(self.clip, self.normalization(frames))

    def features_of_frames(self, frames: Tensor) -> Tensor:
        """Encode each frame by itself; (B, T, 3, H, W) -> (B, T, D). Features pass unchanged."""
        if frames.ndim == 3:
            return frames
        images = rearrange(frames, "b t c h w -> (b t) c h w")
        return rearrange(self.frame_features(images), "(b t) d -> b t d", b=frames.shape[0])

    @abstractmethod
    def video_features(self, frames: Tensor) -> Tensor:
        """Encode clips, given as to `forward`; (B, D) float32 of unit length."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of what `forward` returned in training: `criterion`, whose labels it takes."""
        return self.criterion(self.logits(outputs), labels)

    def logits(self, outputs: Tensor) -> Tensor:
        """The logits (B, K) in what `forward` returned in training."""
        return outputs

    def merge(self) -> None:
        """Merge trained additions into frozen weights: faster, but the end of training."""

    @abstractmethod
    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """All trainable weights, each in exactly one group."""


def cosines(video: Tensor, texts: Tensor) -> Tensor:
    """Compare features of unit length in float32, even under mixed precision.

    Rounded to bfloat16, a cosine is off by up to 0.004, and logits are a hundred times that.

    Args:
        video: (B, D).
        texts: (K, D).

    Returns:
        (B, K) float32.
    """
    if not torch.is_autocast_enabled(video.device.type):
        return video @ texts.T
    with torch.autocast(video.device.type, enabled=False):
        return video.float() @ texts.float().T
