"""What training, evaluation and prediction ask of a model, whichever method it is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from dfercli.config import OptimConfig


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
    """

    num_frames: int
    image_size: int

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W), float in [0, 1] or uint8 -> float32 logits (B, K)."""

    @abstractmethod
    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """All trainable weights, each in exactly one group."""
