"""`dfer eval`: measure a checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import EvalConfig
from dfercli.config.options import MODEL
from dfercli.errors import ConfigError

if TYPE_CHECKING:
    from dfercli.evaluation.measure import Measured

EPILOG = examples(
    "dfer eval runs/first",
    "dfer eval runs/first faces-test/",
    "dfer eval published.pth dfew --root /data/DFEW --fold 1",
    "dfer eval runs/first mafw --mafw-classes compound --classes open",
    "dfer eval runs/first runs/second --on dfew,ferv39k,mafw",
    "dfer eval dfew --zero-shot --template ten",
    "dfer eval dfew --zero-shot --model clip-b32,exp-clip-b32",
)


@offers(EvalConfig, "eval")
def evaluate(
    asked: Asked[EvalConfig],
    zero_shot: Annotated[
        bool,
        typer.Option(
            "--zero-shot",
            help="Measure CLIP, or the zero-shot models of --model, on DATASET.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="With --on, further runs.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure UAR, WAR, recalls, confusion and calibration of a checkpoint."""
    config = asked.config()
    if config.on:
        _measure_all(config, more or [], json=json, quiet=quiet)
        return
    if more:
        raise ConfigError(
            f"one model at a time: {config.checkpoint}, {config.dataset}, {more[0]}, …",
            hint="several runs on several data sets: --on DATASET,DATASET",
        )
    from dfercli.report.tables import group_table, per_class_table, summary_table

    if zero_shot:
        from dfercli.evaluation.zero_shot import run

        if config.dataset is not None:
            raise ConfigError(f"--zero-shot takes no checkpoint: name only {config.dataset}")
        config = replace(config, dataset=str(config.checkpoint))
    else:
        from dfercli.evaluation.run import run

    found = run(config, ConsoleProgress(quiet=quiet))
    if json:
        print_json([measured.to_json() for measured in found])
        return
    if zero_shot:
        _print_zero_shot(found)
        return
    for measured in found:
        tables = [
            summary_table(measured.evaluation, measured.measured_on),
            per_class_table(measured.evaluation),
        ]
        if measured.groups:
            tables.append(group_table(measured.groups, measured.evaluation.label_set))
        for table in tables:
            print_table(table.title, table.columns, table.rows)
        print_line(f"checkpoint: {measured.checkpoint}, selected on {measured.selected_on}")
        if measured.streams != ("frames",):
            named = (
                f"{name} ({measured.made[name]})" if name in measured.made else name
                for name in measured.streams
            )
            print_line(f"streams: {', '.join(named)}")
        print_line(f"results: {measured.folder}")


def _measure_all(config: EvalConfig, more: list[Path], *, json: bool, quiet: bool) -> None:
    """Every run that is named on every data set of `--on`."""
    from dfercli.evaluation.matrix import matrix_table, run

    second = [Path(config.dataset)] if config.dataset else []
    named = [config.checkpoint, *second, *more]
    cells = run(replace(config, dataset=None), named, ConsoleProgress(quiet=quiet))
    if json:
        print_json([cell.to_json() for cell in cells])
        return
    table = matrix_table(cells)
    print_table(table.title, table.columns, table.rows)


def _print_zero_shot(found: "tuple[Measured, ...]") -> None:
    """One row per model and template."""
    from dfercli.report.tables import percent

    names = list(dict.fromkeys(str(measured.checkpoint) for measured in found))
    rows = []
    for measured in found:
        rates = (percent(measured.evaluation.uar), percent(measured.evaluation.war))
        name = (str(measured.checkpoint),) if len(names) > 1 else ()
        rows.append((*name, measured.class_texts[0], *rates))
    where = found[0].measured_on.partition(", template")[0]
    text = f"text, here of {found[0].evaluation.label_set[0]}"
    columns = (*(("model",) if len(names) > 1 else ()), text, "UAR %", "WAR %")
    print_table(f"zero-shot {', '.join(names)} on {where}", columns, rows, left=len(columns) - 2)
    folders = found[0].folder.parents
    print_line(f"results: {folders[1] if len(names) > 1 else folders[0]}")
