"""`dfer describe`: texts for classes."""

from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.config import DescribeConfig
from dfercli.errors import ConfigError

EPILOG = "Example: dfer describe --classes 7"


def describe(
    classes: Annotated[
        str | None,
        typer.Option(metavar="7|11|FILE", help="Describe these classes: 7, 11, or a list file."),
    ] = None,
    style: Annotated[
        str, typer.Option(help="description, name, context or pn (positive and negative).")
    ] = DescribeConfig.style,
    out: Annotated[
        Path | None, typer.Option(help="File to write. [default: descriptions-CLASSES.json]")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print a table and write nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other texts.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Write the texts of classes: the shipped descriptions of facial actions."""
    from dfercli.overrides import override
    from dfercli.stages.describe import (
        default_path,
        describe_classes,
        read_label_list,
        save_texts,
        text_lines,
        text_table,
    )

    if classes is None:
        raise ConfigError("nothing to describe", hint="dfer describe --classes 7")
    config = override(
        DescribeConfig(), {"style": style, "overwrite": overwrite}, where="dfer describe"
    )
    progress = ConsoleProgress(quiet=quiet)
    label_list = read_label_list(classes)
    texts = describe_classes(label_list, config, progress)
    if json:
        print_json(texts.to_json())
    elif show:
        print_table("", ("class", "text", "CLIP tokens"), text_table(texts), left=2)
    else:
        for line in text_lines(texts):
            print_line(line)
    if not show:
        path = out or default_path(label_list, config.style)
        save_texts(path, texts, overwrite=overwrite)
        progress.note(f"written: {path}")
