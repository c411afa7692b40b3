"""`dfer eval`: measure a checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.settings import settle
from dfercli.config import EvalConfig
from dfercli.errors import ConfigError

EPILOG = (
    "Examples: dfer eval runs/faces-dfer-clip-… · dfer eval runs/… faces-test/ · "
    "dfer eval published.pth dfew --fold 1 · dfer eval dfew --zero-shot --template ten"
)


def evaluate(
    context: typer.Context,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CHECKPOINT",
            help="A run, a fold, a checkpoint, or a published .pth file. The data set with "
            "--zero-shot.",
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
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read frames; 0 is this one.",
            show_default="2; on a GPU one per core, at most 16",
        ),
    ] = EvalConfig.workers,
    precision: Annotated[
        str, typer.Option(help="auto, 32, bf16-mixed or 16-mixed.")
    ] = EvalConfig.precision,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = EvalConfig.device,
    bootstrap_samples: Annotated[
        int, typer.Option(help="Resamples for the 95 % intervals.")
    ] = EvalConfig.bootstrap_samples,
    streams: Annotated[
        str | None, typer.Option(help="Look at these streams of the model only.")
    ] = None,
    streams_from: Annotated[
        Path | None, typer.Option(help="Folder of landmarks, parsing and captions by clip.")
    ] = EvalConfig.streams_from,
    classes: Annotated[
        str,
        typer.Option(
            help="Of another label set: common (present in both) or open (texts encoded anew)."
        ),
    ] = EvalConfig.classes,
    descriptions: Annotated[
        Path | None, typer.Option(help="Class texts for --classes open.")
    ] = EvalConfig.descriptions,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Measure CLIP without training on DATASET.")
    ] = False,
    clip: Annotated[str, typer.Option(help="CLIP of --zero-shot, MODEL/TAG.")] = EvalConfig.clip,
    clip_weights: Annotated[
        Path | None, typer.Option(help="File of the CLIP weights, where they are not in place.")
    ] = EvalConfig.clip_weights,
    template: Annotated[
        str,
        typer.Option(
            help="Of --zero-shot: name, context, photo, five, ten, or a text with {name}."
        ),
    ] = EvalConfig.template,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, in its table `eval`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Measure UAR, WAR, recalls, confusion and calibration of a checkpoint."""
    config = settle(context, EvalConfig(), command="eval", config_file=config_file)
    from dfercli.report.tables import per_class_table, percent, summary_table

    if zero_shot:
        from dfercli.evaluation.zero_shot import run

        if dataset is not None:
            raise ConfigError(f"--zero-shot has no checkpoint: name {dataset} alone")
        config = replace(config, dataset=str(checkpoint))
    else:
        from dfercli.evaluation.run import run

    found = run(config, ConsoleProgress(quiet=quiet))
    if json:
        print_json([measured.to_json() for measured in found])
        return
    if zero_shot:
        rows = [
            (
                measured.class_texts[0],
                percent(measured.evaluation.uar),
                percent(measured.evaluation.war),
            )
            for measured in found
        ]
        title = f"zero-shot {config.clip} on {found[0].measured_on.partition(', template')[0]}"
        print_table(
            title, (f"text, here of {found[0].evaluation.label_set[0]}", "UAR %", "WAR %"), rows
        )
        print_line(f"results: {found[0].folder.parent}")
        return
    for measured in found:
        for table in (
            summary_table(measured.evaluation, measured.measured_on),
            per_class_table(measured.evaluation),
        ):
            print_table(table.title, table.columns, table.rows)
        print_line(f"checkpoint: {measured.checkpoint}, selected on {measured.selected_on}")
        if measured.streams != ("frames",):
            print_line(f"streams: {', '.join(measured.streams)}")
        print_line(f"results: {measured.folder}")
