"""Text features that are encoded again only when a weight they depend on has changed."""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor, nn

from dfercli.torch_private import version_of


class TextCache:
    """Keeps the class texts' features of one model between forward passes without gradients."""

    def __init__(self) -> None:
        self._kept: tuple[Hashable, Tensor] | None = None

    def features(self, weights: Sequence[nn.Parameter], encode: Callable[[], Tensor]) -> Tensor:
        """Return the result of `encode`, from the cache if nothing it depends on has changed.

        Args:
            weights: All weights that the features depend on.
            encode: Computes the features; called where gradients may flow into `weights`, and
                where a weight, the device, the precision or the mode differs from last time.
        """
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
            # The weights are about to change, and fused optimisers do not count that as a version.
            self._kept = None
            return encode()
        if any(weight.is_inference() for weight in weights):
            return encode()  # these do not count their changes
        state = _state(weights)
        if self._kept is None or self._kept[0] != state:
            self._kept = (state, encode())
        return self._kept[1]


def _state(weights: Sequence[nn.Parameter]) -> Hashable:
    """Each weight's address and version, and the mode that the features are computed in."""
    device = weights[0].device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    mode = (precision, torch.is_inference_mode_enabled())
    return (mode, *((weight.data_ptr(), version_of(weight)) for weight in weights))
