"""`dfer data`: get, check and merge data sets."""

from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import (
    ConsoleProgress,
    agreed,
    print_json,
    print_line,
    print_table,
    print_text,
)
from dfercli.cli.offer import Asked, HelpInOutput, Json, Quiet, Yes, examples, offers
from dfercli.config import CheckConfig, GetConfig
from dfercli.config.options import OUTPUT

FOUND_FAULTS = 3

data = typer.Typer(help="Get and check data sets, merge face stores.", no_args_is_help=True)


@data.command(
    "check",
    epilog=examples("dfer data check dfew --root /data/DFEW", "dfer data check faces/ --deep"),
    cls=HelpInOutput,
)
@offers(CheckConfig, "data check")
def check(asked: Asked[CheckConfig], json: Json = False, quiet: Quiet = False) -> None:
    """Report the faults of a copy of a data set. Exit code 0: none; 3: some."""
    from dfercli.preprocessing.check_data import run
    from dfercli.preprocessing.check_report import CheckReport

    report: CheckReport = run(asked.config(), ConsoleProgress(quiet=quiet))
    if json:
        print_json(report.to_json())
    else:
        _print_counts(report.label_counts, report.published_counts)
        for group, counts in report.groups.items():
            print_table("", (group, "clips"), [(name, str(n)) for name, n in counts.items()])
        for line in report.lines():
            print_line(line)
    if not report.is_clean:
        raise typer.Exit(FOUND_FAULTS)


@data.command(
    "get",
    epilog=examples(
        "dfer data get ravdess --root data/ravdess --actors 1-4", "dfer data get crema-d"
    ),
    cls=HelpInOutput,
)
@offers(GetConfig, "data get")
def get(asked: Asked[GetConfig], yes: Yes = False, quiet: Quiet = False) -> None:
    """Fetch an open data set: size and licence first, then archives, checked and unpacked.

    An interrupted download continues. crema-d comes through git LFS: the commands to type and the
    missing videos are printed.
    """
    from dfercli.open_data.run import own_steps, plan, run, wanted_set

    config = asked.config()
    progress = ConsoleProgress(quiet=quiet)
    raw_set, place = wanted_set(config)
    if raw_set.zenodo is None:
        commands, missing = own_steps(raw_set, place)
        print_line(f"licence: {raw_set.licence}")
        if missing:
            print_text(f"{raw_set.title} comes through git LFS. Type:\n{commands}")
            used = sum(take.left_out is None for take in raw_set.expected())
            print_line(f"missing: {len(missing)} of {used} videos")
            for name in missing if place.is_dir() else ():
                print_line(f"  {name}")
            raise typer.Exit(FOUND_FAULTS)
        print_line(f"{place}: nothing is missing")
        return
    wanted = plan(config, progress)
    for line in wanted.lines():
        print_line(line)
    if not wanted.files:
        print_line("nothing to fetch")
        return
    if not yes and not agreed("Fetch it?"):
        print_line("nothing was fetched")
        return
    count = run(wanted, progress)
    print_line(f"{place}: {count} videos unpacked")
    print_line(f"next: dfer data check {raw_set.name} --root {place}")


@data.command(
    "merge", epilog=examples("dfer data merge part-1/ part-2/ --out faces/"), cls=HelpInOutput
)
def merge(
    shards: Annotated[
        list[Path], typer.Argument(metavar="STORE STORE...", help="Face stores of equal settings.")
    ],
    out: Annotated[Path, typer.Option(help="The new face store.", rich_help_panel=OUTPUT)],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge face stores that were made in parts into a new one."""
    from dfercli.artifacts.own_outputs import check_place
    from dfercli.preprocessing.merge import run

    check_place("--out", out, "folder")
    result = run(tuple(shards), out, ConsoleProgress(quiet=quiet))
    if json:
        print_json(
            {
                "store": str(result.store),
                "sources": result.num_sources,
                "clips": result.num_clips,
            }
        )
    else:
        print_line(f"{result.store}: {result.num_clips} clips of {result.num_sources} sources")


def _print_counts(counts: dict[str, int], published: dict[str, int] | None) -> None:
    columns = ("class", "clips") if published is None else ("class", "clips", "published")
    rows = [
        (name, str(count), *(() if published is None else (str(published[name]),)))
        for name, count in counts.items()
    ]
    print_table("", columns, rows)
