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
STREAMS = ("landmarks", "parsing", "captions")


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


def print_windows(clip: str, num_frames: int, turns: int) -> None:
    """Seconds of one thread for FineCLIPER's answer to one window, by the streams that it has."""
    base = METHODS["finecliper"]
    settings = replace(base.finecliper, streams=("frames", *STREAMS))
    config = replace(base, num_frames=num_frames, finecliper=settings)
    fabric = make_fabric("cpu", 1, "32")
    module = ready_for_steps(fabric, config, f"{clip}-quickgelu", "32").module.eval()
    size = module.image_size
    pictures = torch.randint(0, 256, (1, num_frames, 3, size, size), dtype=torch.uint8)
    there = torch.ones(1, dtype=torch.bool)
    given = {name: (pictures, there) for name in STREAMS if name != "captions"}
    given["captions"] = (torch.ones(1, 77, dtype=torch.int64), there)
    sets = [STREAMS[:number] for number in range(len(STREAMS) + 1)]
    times: dict[tuple[str, ...], list[float]] = {streams: [] for streams in sets}
    for _ in range(turns + 1):
        for streams, taken in times.items():
            began = time.process_time()
            with torch.inference_mode():
                module(pictures, **{name: given[name] for name in streams})
            taken.append(time.process_time() - began)
    print(f"\nOne window of {num_frames} frames, {clip}, one thread\n")
    print("| FineCLIPER looks at | s | ratio |\n|---|---|---|")
    alone = statistics.median(times[()][1:])  # the first one allocates
    for streams, taken in times.items():
        median = statistics.median(taken[1:])
        print(f"| {' + '.join(('frames', *streams))} | {median:.3g} | {median / alone:.2f} |")


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", nargs="+", default=["ViT-B-32", "ViT-B-16", "ViT-L-14"])
    parser.add_argument("--num-frames", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--windows", action="store_true", help="only windows, on a CPU")
    parser.add_argument("--precision", default="32")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.windows:
        print_windows(asked.clips[0], asked.num_frames, asked.steps)
        return
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
