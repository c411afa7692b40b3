"""What people show during the events of an experiment.

dfer predict videos/ --clock events.csv --out results/
python examples/experiment.py results/
"""

import sys
from pathlib import Path

import pandas as pd


def main(results: str) -> None:
    """Print the mean share of each class per event, and how much of the event people were seen."""
    table = pd.read_csv(Path(results) / "events.csv")
    length = table["end_seconds"] - table["start_seconds"]
    table["seen_share"] = table["seen_seconds"] / length
    shares = [name for name in table.columns if name.startswith("share_")]
    seen = table.dropna(subset=["track"])
    print(seen.groupby("event")[[*shares, "seen_share"]].mean().round(3))
    print(f"{len(seen)} rows of persons; {len(table) - len(seen)} events without anybody")


if __name__ == "__main__":
    main(*sys.argv[1:])
