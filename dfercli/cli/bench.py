"""`dfer bench`: how fast this machine is, and what bounds it."""

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import BenchConfig

EPILOG = examples(
    "dfer bench",
    "dfer bench --only loading",
    "dfer bench --clip ViT-B-16-quickgelu/random --batch-sizes 1,8,48 --json",
)


@offers(BenchConfig, "bench")
def bench(asked: Asked[BenchConfig], json: Json = False, quiet: Quiet = False) -> None:
    """Measure loading, inference and training, compared with the published code's arithmetic."""
    config = asked.config()
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
