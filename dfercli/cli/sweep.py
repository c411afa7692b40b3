"""`dfer sweep`: train a grid of settings."""

from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.config import SweepConfig

EPILOG = (
    'A sweep.toml: dataset = "faces/" · data.test = "faces-test/" · out = "runs/streams" · [grid] '
    '"model.method" = ["dfer-clip", "finecliper"] · seed = [1, 2, 3]. '
    "Example: dfer sweep sweep.toml"
)


def sweep(
    file: Annotated[Path, typer.Argument(help="TOML file: settings of `dfer train`, and a grid.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train every combination of a grid of settings; run it again to go on where it stopped."""
    from dfercli.training.sweep import run, sweep_table

    rows = run(SweepConfig(file), ConsoleProgress(quiet=quiet))
    if json:
        print_json(
            [
                {
                    "settings": row.values,
                    "war": list(row.war),
                    "uar": list(row.uar),
                    "runs": [str(folder) for folder in row.runs],
                }
                for row in rows
            ]
        )
        return
    table = sweep_table(rows)
    print_table(table.title, table.columns, table.rows, left=len(rows[0].values))
    print_line(f"table: {rows[0].runs[0].parent / 'sweep.csv'}")
