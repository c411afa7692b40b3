"""`dfer sweep`: train a grid of settings."""

from dataclasses import replace

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import SweepConfig

EPILOG = examples(
    "dfer sweep sweep.toml",
    "dfer sweep dfer-clip-ablations --set dataset=dfew --set data.root=/data/DFEW",
)


@offers(SweepConfig, "sweep")
def sweep(asked: Asked[SweepConfig], json: Json = False, quiet: Quiet = False) -> None:
    """Train every combination of a grid of settings; run it again to continue where it stopped.

    A sweep.toml holds settings of `dfer train`, as `dataset = "faces/"` and `data.test =
    "faces-test/"`, and under `[grid]` lists of values, as `"model.method" = ["dfer-clip",
    "finecliper"]` and `seed = [1, 2, 3]`.
    """
    from dfercli.training.sweep import run, sweep_tables

    own = replace(asked, assignments=()).config()  # what --set names is a setting of the trainings
    config = replace(own, settings=tuple(asked.assignments))
    rows = run(config, ConsoleProgress(quiet=quiet))
    if json:
        print_json(
            [
                {
                    "table": row.of.title,
                    "settings": row.values,
                    "war": list(row.war),
                    "uar": list(row.uar),
                    "runs": [str(folder) for folder in row.runs],
                }
                for row in rows
            ]
        )
        return
    tables = sweep_tables(rows)
    for table in tables:
        settings = next(len(row.values) for row in rows if row.of.title == table.title)
        print_table(table.title, table.columns, table.rows, left=settings)
    name = "sweep.csv" if len(tables) == 1 else "sweep-N.csv"
    print_line(f"tables: {rows[0].runs[0].parent / name}")
