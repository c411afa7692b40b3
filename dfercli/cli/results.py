"""`dfer results`: compare runs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table, print_text
from dfercli.cli.offer import Json, examples
from dfercli.config.options import DATA, OUTPUT
from dfercli.errors import ConfigError

EPILOG = examples("dfer results runs/", "dfer results runs/a runs/b --paired")

Style = Literal["table", "csv", "latex", "markdown"]


def results(
    paths: Annotated[list[Path], typer.Argument(help="Runs, or folders of runs.")],
    paired: Annotated[
        bool,
        typer.Option(
            "--paired",
            help="Test two runs against each other, clip by clip.",
            rich_help_panel=DATA,
        ),
    ] = False,
    published: Annotated[
        bool,
        typer.Option(help="Show published numbers on the same data set.", rich_help_panel=OUTPUT),
    ] = True,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Recalls per group: a table with a column subject and others, such as sex.",
            rich_help_panel=DATA,
        ),
    ] = None,
    style: Annotated[
        Style,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="How to print: table, csv, latex or markdown.",
            rich_help_panel=OUTPUT,
        ),
    ] = "table",
    json: Json = False,
) -> None:
    """Compare runs: each fold, mean and deviation, pooled clips, and how each was selected."""
    from dfercli.evaluation import results as stage
    from dfercli.report.results import (
        compact,
        paired_table,
        results_table,
        seeds_table,
        selection_notes,
    )
    from dfercli.report.tables import TextTable, group_table, to_csv, to_latex, to_markdown

    def show(table: TextTable) -> None:
        if style == "table":
            print_table(table.title, table.columns, table.rows)
        else:
            write = {"csv": to_csv, "latex": to_latex, "markdown": to_markdown}[style]
            print_text(write(table).rstrip("\n"))

    progress = ConsoleProgress()
    if paired:
        if len(paths) != 2:
            raise ConfigError(f"--paired takes two runs, got {len(paths)}")
        test = stage.paired(paths[0], paths[1], progress)
        if json:
            print_json({"a": str(paths[0]), "b": str(paths[1]), **test.to_json()})
        else:
            show(paired_table(test, paths[0].name, paths[1].name))
        return
    if groups is not None:
        from dfercli.evaluation.group_file import rates_of_groups, read_groups

        by_run = rates_of_groups(paths, read_groups(groups), groups)
        if json:
            print_json({name: [r.to_json() for r in rates] for name, (rates, _) in by_run.items()})
            return
        for name, (rates, label_set) in by_run.items():
            show(replace(group_table(rates, label_set), title=f"{name}, per group"))
        return
    summaries = stage.run(paths, progress)
    if json:
        runs = [stage.summary_json(summary) for summary in summaries]
        print_json({"schema": stage.RESULTS_SCHEMA, "runs": runs})
        return
    for dataset in dict.fromkeys(summary.dataset for summary in summaries):
        chosen = [summary for summary in summaries if summary.dataset == dataset]
        table = results_table(dataset, chosen, with_published=published)
        show(compact(table) if style == "table" else table)
        for note in selection_notes(table) if style == "table" else []:
            print_line(note)
    if (together := seeds_table(summaries)) is not None and style == "table":
        show(together)
