"""An exponential moving average of the weights in training, which is measured and kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """The average of all trained weights of a model; it starts as they are.

    The first steps count more, so the average soon leaves the initial weights.

    Args:
        module: The bare model.
        decay: How much of the average a step keeps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._trained = {
            name: weight for name, weight in module.named_parameters() if weight.requires_grad
        }
        self._averages = {name: own.detach().clone() for name, own in self._trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0 over the whole training."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [weight.detach() for weight in self._trained.values()]
        get_ema_multi_avg_fn(decay)(list(self._averages.values()), weights, step)

    def averages(self) -> dict[str, Tensor]:
        """The averages by name of their weight."""
        return self._averages

    @torch.no_grad()
    def resume(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint: the model holds its averages, `weights` are those to train on.

        Raises:
            KeyError: a weight is missing.
        """
        for name, own in self._trained.items():
            self._averages[name].copy_(own)
            own.copy_(weights[name])

    @contextmanager
    @torch.no_grad()
    def in_place(self) -> Iterator[None]:
        """Within this, the model has the averages for weights."""
        kept = {name: weight.detach().clone() for name, weight in self._trained.items()}
        try:
            for name, weight in self._trained.items():
                weight.copy_(self._averages[name])
            yield
        finally:
            for name, weight in self._trained.items():
                weight.copy_(kept[name])
