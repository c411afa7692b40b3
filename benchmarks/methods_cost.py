"""The cost of three methods on three sizes of CLIP: tuned weights, checkpoint, operations, steps.

Random weights, made-up frames. The methods take turns step by step; the table shows medians. On a
CPU only the processor time of one thread counts, so other work on the machine does not.

    python benchmarks/methods_cost.py [--accelerator cuda --precision bf16-mixed --batch-size 8]
"""

import argparse
import statistics
import time
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import nn

from dfercli.config import ModelConfig, OptimConfig
from dfercli.data.batches import Batch
from dfercli.inference.fabric import make_fabric
from dfercli.inference.restore import texts_of_method
from dfercli.labels import SEVEN
from dfercli.models.build import build_model
from dfercli.models.clip_backbone import build_clip, clip_architecture
from dfercli.models.cost import ModelCost, cost_of
from dfercli.models.method import Method
from dfercli.training.step import set_up_training, update_weights

METHODS = {
    "dfer-clip": ModelConfig(method="dfer-clip"),
    "finecliper": ModelConfig(
        method="finecliper", text_type="pn", context_tokens=0, temporal_layers=0
    ),
    "clip-lora": ModelConfig(method="clip-lora", context_tokens=0),
}
OPTIM = OptimConfig(optimizer="adamw")


@dataclass(frozen=True)
class Contestant:
    """A method that is ready to train."""

    cost: ModelCost
    module: Method
    model: nn.Module
    optimizer: torch.optim.Optimizer


def ready_for_steps(fabric: Fabric, config: ModelConfig, clip: str, precision: str) -> Contestant:
    """A method on its device. CLIP's weights are one small number, as random ones take long."""
    backbone = build_clip(clip_architecture(clip), draw=False)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.fill_(0.01)
    positive, negative = texts_of_method(config, SEVEN)
    module = build_model(backbone, [*positive, *negative], config)
    cost = cost_of(module)
    model, optimizer = set_up_training(fabric, module, OPTIM, precision)
    model.train()
    return Contestant(cost, module, model, optimizer)


def seconds(fabric: Fabric, own: Contestant, batch: Batch) -> float:
    """The time of one step."""
    clock = time.process_time if fabric.device.type == "cpu" else time.perf_counter
    began = clock()
    counts = update_weights(fabric, own.model, own.module, own.optimizer, OPTIM, batch)
    counts.sum().item()  # waits for the device
    return clock() - began


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", nargs="+", default=["ViT-B-32", "ViT-B-16", "ViT-L-14"])
    parser.add_argument("--num-frames", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="32")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    fabric = make_fabric(asked.accelerator, 1, asked.precision)
    print(
        f"{asked.batch_size} clips of {asked.num_frames} frames per step, {fabric.device.type}, "
        f"{asked.precision}, torch {torch.__version__}\n"
    )
    print("| CLIP | method | tuned weights | MB of them | GFLOPs per clip | step, s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for clip in asked.clips:
        ready = {
            name: ready_for_steps(
                fabric,
                replace(own, num_frames=asked.num_frames),
                f"{clip}-quickgelu",
                asked.precision,
            )
            for name, own in METHODS.items()
        }
        size = ready["dfer-clip"].module.image_size
        frames = torch.randint(
            0, 256, (asked.batch_size, asked.num_frames, 3, size, size), dtype=torch.uint8
        )
        labels = torch.arange(asked.batch_size) % len(SEVEN)
        batch = Batch(frames, labels, labels).to(fabric.device)
        times: dict[str, list[float]] = {name: [] for name in ready}
        for step in range(asked.steps + 1):
            for name, own in ready.items():
                taken = seconds(fabric, own, batch)
                if step:  # the first one allocates
                    times[name].append(taken)
        first = statistics.median(times["dfer-clip"])
        for name, own in ready.items():
            median, tuned = statistics.median(times[name]), own.cost.tunable_weights
            print(
                f"| {clip} | {name} | {tuned:,} | {4 * tuned / 1e6:,.1f} "
                f"| {own.cost.flops_per_clip / 1e9:,.0f} | {median:.3g} | {median / first:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
