"""`dfer bench`: how fast this machine is, and what bounds it."""

from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.settings import settle
from dfercli.config import BenchConfig

EPILOG = (
    "Examples: dfer bench · dfer bench --only loading · "
    "dfer bench --clip ViT-B-16-quickgelu/random --batch-sizes 1,8,48 --json"
)


def bench(
    context: typer.Context,
    parts: Annotated[
        str, typer.Option("--only", metavar="PART,…", help="Of loading, inference, training.")
    ] = ",".join(BenchConfig.parts),
    clip: Annotated[
        str, typer.Option(metavar="MODEL/TAG", help="CLIP backbone; …/random needs no weights.")
    ] = BenchConfig.clip,
    num_frames: Annotated[int, typer.Option(help="Frames per clip.")] = BenchConfig.num_frames,
    classes: Annotated[str, typer.Option(help="7 or 11.")] = BenchConfig.classes,
    batch_sizes: Annotated[
        str, typer.Option(metavar="N,…", help="Clips per forward pass; the first gives the ratio.")
    ] = ",".join(map(str, BenchConfig.batch_sizes)),
    train_batch: Annotated[
        int | None,
        typer.Option(help="Clips per training step.", show_default="4; on a GPU 48"),
    ] = BenchConfig.train_batch,
    runs: Annotated[int, typer.Option(help="Repetitions; the median counts.")] = BenchConfig.runs,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = BenchConfig.device,
    precision: Annotated[
        str, typer.Option(help="auto, 32, bf16-mixed or 16-mixed.")
    ] = BenchConfig.precision,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, in a table `bench`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Measure loading, recognising and training beside the published code's arithmetic."""
    config = settle(context, BenchConfig(), command="bench", config_file=config_file)
    from dfercli.bench.run import run

    result = run(config, ConsoleProgress(quiet=quiet))
    if json:
        print_json(result.to_json())
        return
    machine = result.machine
    print_line(
        f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}; "
        f"{result.clip}; large matrices: {result.peak_gflops['32']:.0f} billion operations a "
        f"second in float32, {result.peak_gflops['bf16-mixed']:.0f} in bfloat16"
    )
    named = [("loading", result.loading)]
    named += [(f"inference, {speed.batch_size} at once", speed) for speed in result.inference]
    named += [("training step", result.training)]
    rows = [
        [
            name,
            str(speed.batch_size),
            speed.precision,
            f"{speed.clips_per_second:.2f}",
            f"{speed.batch_size / speed.reference_seconds:.2f}",
            f"{speed.ratio_to_reference:.2f}",
            "" if speed.share_of_peak is None else f"{speed.share_of_peak:.0%}",
        ]
        for name, speed in named
        if speed is not None
    ]
    columns = ["", "clips", "precision", "clips/s", "published", "ratio", "of peak"]
    print_table("", columns, rows)
    if result.inference_parts:
        said = (f"{name} {1000 * took:.0f} ms" for name, took in result.inference_parts.items())
        print_line(f"one clip: {', '.join(said)}")
    print_line(f"memory: {result.memory_mb:.0f} MB at most")
    print_line(f"bound by: {result.bottleneck}")
