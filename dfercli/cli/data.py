"""`dfer data`: what can be done to data sets without a model."""

from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.config import CheckConfig

FOUND_FAULTS = 3

data = typer.Typer(help="Check data sets, merge face stores.", no_args_is_help=True)


@data.command("check", epilog="Example: dfer data check dfew --root /datasets/DFEW")
def check(
    dataset: Annotated[
        str,
        typer.Argument(help="dfew, ferv39k, mafw, ravdess, crema-d, a face store, or a list file."),
    ],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the copy. [default: DFER_DATA/NAME, else data/NAME]"),
    ] = CheckConfig.root,
    frames: Annotated[
        str | None, typer.Option(help="Folder of clips within the root, where it holds several.")
    ] = CheckConfig.frames,
    classes: Annotated[
        str, typer.Option(help="MAFW's classes: single or compound.")
    ] = CheckConfig.classes,
    captions: Annotated[
        bool, typer.Option("--captions", help="MAFW's lists of clips with captions.")
    ] = CheckConfig.captions,
    label_order: Annotated[
        str | None,
        typer.Option(help="Classes of a numbered list: dfer-clip, mae-dfer, s2d, or a file."),
    ] = CheckConfig.label_order,
    subset: Annotated[
        bool, typer.Option("--subset", help="A part of the data: ignore the published sizes.")
    ] = CheckConfig.subset,
    deep: Annotated[bool, typer.Option("--deep", help="Read every frame.")] = CheckConfig.deep,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Say what is wrong with a copy of a data set. Exit code 0: nothing; 3: something."""
    from dfercli.overrides import override
    from dfercli.preprocessing.check_data import run
    from dfercli.preprocessing.check_report import CheckReport

    values = {
        "dataset": dataset,
        "root": root,
        "frames": frames,
        "classes": classes,
        "captions": captions,
        "label_order": label_order,
        "subset": subset,
        "deep": deep,
    }
    config = override(CheckConfig(), values, where="dfer data check")
    report: CheckReport = run(config, ConsoleProgress(quiet=quiet))
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


@data.command("merge", epilog="Example: dfer data merge part-1/ part-2/ --out faces/")
def merge(
    shards: Annotated[
        list[Path], typer.Argument(metavar="STORE STORE...", help="Face stores of equal settings.")
    ],
    out: Annotated[Path, typer.Option(help="The new face store.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Merge face stores that were made in parts into a new one."""
    from dfercli.preprocessing.merge import run

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
