"""Run by two processes: state that FSDP shards comes back whole, and training resumes from it."""

import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F
from test_convert import ARCHITECTURE
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from dfercli.config import ModelConfig, OptimConfig
from dfercli.inference.fsdp import full_state_dict, load_optimizer_state, scalars
from dfercli.models.clip_backbone import build_clip
from dfercli.models.dfer_clip import DferClip
from dfercli.models.optimizer import build_optimizer

OPTIM = OptimConfig(lr_temporal=1e-2, lr_image=1e-3, lr_context=1e-2)  # SGD with momentum
CONFIG = ModelConfig(num_frames=2, context_tokens=2)
FRAMES = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1])


def make_model() -> DferClip:
    torch.manual_seed(0)
    return DferClip(build_clip(ARCHITECTURE), ["happiness.", "sadness."], CONFIG)


def spread(model: DferClip) -> FullyShardedDataParallel:
    """As `ShardedStrategy` does on GPUs; Fabric refuses FSDP on CPUs."""
    return FullyShardedDataParallel(
        model,
        use_orig_params=True,
        device_id=torch.device("cpu"),
        ignored_states=scalars(model),
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer, rows: slice) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(FRAMES[rows]), LABELS[rows]).backward()
    optimizer.step()


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    own = slice(rank, rank + 1)
    bare = make_model()
    optimizer = build_optimizer(bare, OPTIM)
    model = spread(bare)
    step(model, optimizer, own)
    weights, state = full_state_dict(model, bare, optimizer)
    gathered = [weights, state]
    dist.broadcast_object_list(gathered)
    weights, state = gathered

    again = make_model()
    again.load_state_dict(weights)
    second = build_optimizer(again, OPTIM)
    resumed = spread(again)
    load_optimizer_state(resumed, second, state)
    step(resumed, second, own)
    result, _ = full_state_dict(resumed, again, second)

    if rank == 0:
        alone = make_model()
        one = build_optimizer(alone, OPTIM)
        step(alone, one, slice(None))
        for name, tensor in alone.state_dict().items():
            torch.testing.assert_close(weights[name], tensor, atol=1e-4, rtol=1e-3)
        step(alone, one, slice(None))
        for name, tensor in alone.state_dict().items():
            torch.testing.assert_close(result[name], tensor, atol=1e-3, rtol=1e-3)
        sys.stdout.write(f"whole: {len(result)} weights\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
