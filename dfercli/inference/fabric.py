"""Set up lightning-fabric for any device and any number of processes."""

import os
from typing import Any, cast

import torch
import torch.distributed
from lightning_fabric import Fabric

from dfercli.config import Precision
from dfercli.errors import ConfigError, DferError
from dfercli.inference.devices import resolve_precision, set_float32
from dfercli.inference.fsdp import ShardedStrategy
from dfercli.processes import Asked


def make_fabric(
    accelerator: str = "auto",
    devices: int | list[int] = 1,
    precision: Precision = "auto",
    *,
    strategy: str = "auto",
    num_nodes: int = 1,
) -> Fabric:
    """Make lightning-fabric's engine.

    Raises:
        ConfigError: the accelerator, the precision or the number of devices is not available, or
            the other machines are unknown.
    """
    if num_nodes > 1 and not {"MASTER_ADDR", "SLURM_NTASKS"} & os.environ.keys():
        raise ConfigError(
            f"--num-nodes {num_nodes}: nothing says where the other machines are",
            hint="start dfer by torchrun or Slurm, or set MASTER_ADDR, MASTER_PORT and NODE_RANK",
        )
    has_cuda = accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    if precision == "16-mixed" and not has_cuda:
        raise ConfigError("precision 16-mixed needs a CUDA device", hint="use bf16-mixed or 32")
    resolved = resolve_precision(precision, accelerator)
    if has_cuda:
        # Float32 parts of mixed precision may use tensor cores; `32` means exact float32.
        set_float32(exact=resolved == "32")
    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            precision=cast(Any, resolved),
            strategy=ShardedStrategy() if strategy == "fsdp" and has_cuda else strategy,
            num_nodes=num_nodes,
        )
    except (RuntimeError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{accelerator} with {devices} device(s) and precision {precision}: {error}"
        ) from error


def agree(fabric: Fabric, error: DferError | None, asked: Asked) -> tuple[DferError | None, Asked]:
    """Share the first process's error and the signals of any process; all must call this."""
    if fabric.world_size == 1:
        return error, asked
    told = torch.tensor([error is not None, asked.stop, asked.save], device=fabric.device)
    # Fabric's all_reduce would wait at a barrier first, in each step.
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    failed, stop, save = told.tolist()
    if not failed:
        return None, Asked(stop, bool(save))
    errors: list[DferError | None] = [None] * fabric.world_size
    torch.distributed.all_gather_object(errors, error)
    return next(found for found in errors if found is not None), Asked()
