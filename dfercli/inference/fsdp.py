"""Models sharded over processes (FSDP), and their full state."""

from typing import Any, cast

import torch
from lightning_fabric.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FullyShardedDataParallel


class ShardedStrategy(FSDPStrategy):
    """Fabric's FSDP, except for scalars, which cannot be sharded: CLIP's frozen logit scale."""

    def __init__(self) -> None:
        self.ignored: list[nn.Parameter] = []
        super().__init__(ignored_states=self.ignored)

    def setup_module(self, module: nn.Module) -> nn.Module:
        """Shard a model."""
        self.ignored[:] = scalars(module)
        return super().setup_module(module)


def scalars(model: nn.Module) -> list[nn.Parameter]:
    """The weights that are single numbers."""
    return [weight for weight in model.parameters() if weight.ndim == 0]


def full_state_dict(
    model: nn.Module, bare: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Collect the weights by their names, and the optimiser's state.

    Every process must call this; of a sharded model only the first one gets the state.

    Args:
        model: As the strategy wrapped it.
        bare: The model without the wrapping.
        optimizer: Over the weights of either.
    """
    spread = _spread(model)
    if spread is None:
        return bare.state_dict(), optimizer.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights, state = get_state_dict(spread, _bare(optimizer), options=options)
    return cast(dict[str, Tensor], weights), dict(state)


def load_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Give an optimiser the state that `full_state_dict` returned; every process must call this."""
    spread = _spread(model)
    if spread is None:
        optimizer.load_state_dict(state)
    else:
        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(spread, _bare(optimizer), state, options=options)


def _bare(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser without Fabric's wrapping."""
    return getattr(optimizer, "optimizer", optimizer)


def _spread(model: nn.Module) -> FullyShardedDataParallel | None:
    found = (part for part in model.modules() if isinstance(part, FullyShardedDataParallel))
    return next(found, None)
