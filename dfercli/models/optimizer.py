"""Optimiser and learning-rate schedule from a model's parameter groups."""

import math

import torch

from dfercli.config import OptimConfig
from dfercli.models.method import Method


def can_fuse(device: torch.device, precision: str) -> bool:
    """Whether one kernel may update all weights: on CUDA, without loss scaling (`16-mixed`)."""
    return device.type == "cuda" and precision != "16-mixed"


def build_optimizer(
    model: Method, config: OptimConfig, *, fused: bool = False
) -> torch.optim.Optimizer:
    """Build the optimiser over the model's parameter groups.

    Each group keeps its `name` and its base learning rate `initial_lr`.

    Args:
        model: The model.
        config: The settings.
        fused: Update all weights in one kernel; see `can_fuse`.

    Raises:
        AssertionError: a trainable weight is in no group, or in two: a bug of the method.
    """
    groups = model.parameter_groups(config)
    grouped = [id(parameter) for group in groups for parameter in group.parameters]
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert len(grouped) == len(set(grouped)), "a weight is in two parameter groups"
    assert set(grouped) == trainable, "parameter groups and trainable weights differ"
    tables = [
        {"name": group.name, "params": group.parameters, "lr": group.lr, "initial_lr": group.lr}
        for group in groups
        if group.parameters
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(tables, weight_decay=config.weight_decay, fused=fused or None)
    return torch.optim.SGD(
        tables, momentum=config.momentum, weight_decay=config.weight_decay, fused=fused or None
    )


def lr_factor(step: int, steps_per_epoch: int, config: OptimConfig) -> float:
    """The factor of the base learning rates at one step, counted over all epochs."""
    warmup_steps = config.warmup_epochs * steps_per_epoch
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if config.schedule == "step":
        epoch = step // steps_per_epoch
        return config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    last_step = config.epochs * steps_per_epoch
    done = (step - warmup_steps) / max(1.0, last_step - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to `factor` times its base."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["initial_lr"]
