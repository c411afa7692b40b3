"""`dfer sweep`: train a grid of settings."""

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import SweepConfig

EPILOG = examples("dfer sweep sweep.toml")


@offers(SweepConfig, "sweep")
def sweep(asked: Asked[SweepConfig], json: Json = False, quiet: Quiet = False) -> None:
    """Train every combination of a grid of settings; run it again to continue where it stopped.

    A sweep.toml holds settings of `dfer train`, as `dataset = "faces/"` and `data.test =
    "faces-test/"`, and under `[grid]` lists of values, as `"model.method" = ["dfer-clip",
    "finecliper"]` and `seed = [1, 2, 3]`.
    """
    from dfercli.training.sweep import run, sweep_table

    rows = run(asked.config(), ConsoleProgress(quiet=quiet))
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
