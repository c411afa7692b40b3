"""`dfer eval`: measure a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.settings import settle
from dfercli.config import EvalConfig

EPILOG = (
    "Examples: dfer eval runs/faces-dfer-clip-… · dfer eval runs/… faces-test/ · "
    "dfer eval published.pth dfew --fold 1"
)


def evaluate(
    context: typer.Context,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CHECKPOINT", help="A run, a fold, a checkpoint, or a published .pth file."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="What to measure on. By default the test clips of the run's own data set, or "
            "its held-out part."
        ),
    ] = EvalConfig.dataset,
    root: Annotated[Path | None, typer.Option(help="Folder of a benchmark's copy.")] = (
        EvalConfig.root
    ),
    fold: Annotated[int, typer.Option(help="1-based fold of DATASET.")] = EvalConfig.fold,
    label_order: Annotated[
        str | None, typer.Option(help="Order of numeric labels: dfer-clip, mae-dfer, s2d or FILE.")
    ] = EvalConfig.label_order,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the results. By default evaluation/DATASET in the run."),
    ] = EvalConfig.out,
    batch_size: Annotated[int, typer.Option(help="Clips per forward pass.")] = (
        EvalConfig.batch_size
    ),
    workers: Annotated[int, typer.Option(help="Processes that read frames.")] = EvalConfig.workers,
    precision: Annotated[
        str, typer.Option(help="auto, 32, bf16-mixed or 16-mixed.")
    ] = EvalConfig.precision,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = EvalConfig.device,
    bootstrap_samples: Annotated[
        int, typer.Option(help="Resamples for the 95 % intervals.")
    ] = EvalConfig.bootstrap_samples,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, in its table `eval`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Measure UAR, WAR, recalls, confusion and calibration of a checkpoint."""
    config = settle(context, EvalConfig(), command="eval", config_file=config_file)
    from dfercli.report.tables import per_class_table, summary_table
    from dfercli.stages.evaluate import run

    found = run(config, ConsoleProgress(quiet=quiet))
    if json:
        print_json([measured.to_json() for measured in found])
        return
    for measured in found:
        for table in (
            summary_table(measured.evaluation, measured.measured_on),
            per_class_table(measured.evaluation),
        ):
            print_table(table.title, table.columns, table.rows)
        print_line(f"checkpoint: {measured.checkpoint}, selected on {measured.selected_on}")
        print_line(f"results: {measured.folder}")
