"""Where the time of one recognition and of one training step goes, operation by operation.

Random weights, made-up frames. Prints the operators by their own time.

    python benchmarks/profile_step.py [--clip ViT-B-32-quickgelu/random] [--precision 32]
"""

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from dfercli.config import ModelConfig, OptimConfig
from dfercli.data.batches import Batch
from dfercli.inference.fabric import make_fabric
from dfercli.inference.loaded_model import ready
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models.optimizer import build_optimizer
from dfercli.training.step import update_weights

ROWS = 14


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="ViT-B-32-quickgelu/random")
    parser.add_argument("--precision", default="32")
    parser.add_argument("--batch-size", type=int, default=4)
    arguments = parser.parse_args()
    config = ModelConfig(clip=arguments.clip)
    model = ready(new_model(config, SEVEN, 1), "", device="cpu", precision=arguments.precision)
    size = model.image_size
    frames = torch.randint(0, 256, (1, 16, 3, size, size), dtype=torch.uint8)
    model.logits(frames)
    with profile(activities=[ProfilerActivity.CPU]) as recognition:
        model.logits(frames)
    print(f"One clip recognised, {arguments.clip}, precision {arguments.precision}")
    print(_table(recognition))

    fabric = make_fabric("cpu", 1, arguments.precision)
    module, optim = new_model(config, SEVEN, 1).module, OptimConfig()
    trained, optimizer = fabric.setup(module, build_optimizer(module, optim))
    labels = torch.arange(arguments.batch_size) % len(SEVEN)
    batch = Batch(frames.repeat(arguments.batch_size, 1, 1, 1, 1), labels, labels)
    update_weights(fabric, trained, module, optimizer, optim, batch)
    with profile(activities=[ProfilerActivity.CPU]) as step:
        update_weights(fabric, trained, module, optimizer, optim, batch)
    print(f"One training step of {arguments.batch_size} clips")
    print(_table(step))


def _table(measured: profile) -> str:
    total = sum(event.self_cpu_time_total for event in measured.key_averages())
    rows = sorted(measured.key_averages(), key=lambda event: -event.self_cpu_time_total)[:ROWS]
    lines = [
        f"  {event.self_cpu_time_total / total:6.1%} {event.self_cpu_time_total / 1000:9.1f} ms "
        f"{event.count:6d} x {event.key}"
        for event in rows
    ]
    return "\n".join([*lines, f"  {total / 1000:16.1f} ms in all"])


if __name__ == "__main__":
    main()
