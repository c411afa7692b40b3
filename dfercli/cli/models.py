"""`dfer models`: trained models by name."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import HelpInOutput, Json, Quiet, examples
from dfercli.config.options import OUTPUT
from dfercli.errors import ConfigError

if TYPE_CHECKING:
    from dfercli.registry import NamedModel

WIDE = 135  # columns of a terminal from which the whole table is shown
EPILOG = examples("dfer models", "dfer models get dfer-clip-ferv39k", "dfer models --json")

models = typer.Typer(
    help="Trained models by name: list, fetch, describe, upload.", invoke_without_command=True
)


@models.callback(epilog=EPILOG)
def list_models(
    context: typer.Context,
    json: Json = False,
) -> None:
    """List the named models, the preferred first, and whether they are here.

    The numbers are as published by their owners, each on other data: do not compare those of
    different benchmarks. `dfer predict --model NAME` uses one.
    """
    if context.invoked_subcommand is not None:
        return
    from dfercli.inference.named_models import folder_of, own_names
    from dfercli.registry import named_models

    rows = [_row(model) for model in named_models()]
    own = [{"name": name, "state": "here", "path": str(folder_of(name))} for name in own_names()]
    if json:
        print_json(rows + own)
        return
    is_wide = not sys.stdout.isatty() or shutil.get_terminal_size().columns >= WIDE
    shown = [_wide(row) if is_wide else _narrow(row) for row in rows]
    print_table("", tuple(shown[0]), [tuple(cells.values()) for cells in shown], left=9)
    for entry in own:
        print_line(f"{entry['name']}: your own, {entry['path']}")
    print_line("UAR/WAR in per cent, as published; research: the data allow research only")


def _row(model: "NamedModel") -> dict[str, Any]:
    from dataclasses import asdict

    from dfercli.inference.named_models import record_of, state_of

    record = record_of(model)
    return {
        **asdict(model),
        "state": state_of(model),
        "size_bytes": model.size_bytes or (record.size_bytes if record else None),
        "sha256": model.sha256 or (record.sha256 if record else None),
        "page": model.hand_page,
    }


def _narrow(row: dict[str, Any]) -> dict[str, str]:
    return {
        "name": row["name"],
        "for": {"seven": "7", "eleven": "11"}.get(row["classes"], "any"),
        "UAR/WAR on": _quoted(row),
        "terms": "research" if row["research_only"] else "open",
        "MB": _megabytes(row),
        "state": row["state"],
    }


def _wide(row: dict[str, Any]) -> dict[str, str]:
    return {
        "name": row["name"],
        "classes": {"seven": "7", "eleven": "11"}.get(row["classes"], "any"),
        "UAR/WAR on": _quoted(row),
        "protocol": row["results"][0]["protocol"],
        "licence": row["licence_weights"].partition(",")[0],
        "data": "research" if row["research_only"] else "open",
        "MB": _megabytes(row),
        "state": row["state"],
    }


def _quoted(row: dict[str, Any]) -> str:
    best = row["results"][0]
    name = {"dfew": "DFEW", "ferv39k": "FERV39k", "mafw": "MAFW"}.get(
        best["dataset"], best["dataset"]
    )
    return f"{best['uar']:.2f}/{best['war']:.2f} {name}"


def _megabytes(row: dict[str, Any]) -> str:
    if row["size_bytes"] is not None:
        return f"{row['size_bytes'] / 1e6:.0f}"
    return "?" if row["about_mb"] is None else f"~{row['about_mb']}"


@models.command("get", epilog=examples("dfer models get dfer-clip-ferv39k"), cls=HelpInOutput)
def get(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Names of `dfer models`, without a fold for all folds, or OWNER/NAME on the hub.",
        ),
    ],
    quiet: Quiet = False,
) -> None:
    """Fetch models once, check and convert them, and print their terms."""
    from dfercli.inference import hub, named_models
    from dfercli.inference.locate import unknown_name
    from dfercli.registry import expand, named_model

    progress = ConsoleProgress(quiet=quiet)
    wanted = {one: named_model(one) for asked in names for one in expand(asked)}
    for name, model in wanted.items():
        if model is None and not hub.is_repository(name):
            raise unknown_name(name)
    for name, model in wanted.items():
        if model is None:
            print_line(f"{name}: {hub.pull(name, progress)}")
            continue
        folder = named_models.get(model, progress)
        where = "weights of CLIP in the hub's cache" if folder is None else str(folder)
        print_line(f"{name}: {where}")


@models.command(
    "add",
    epilog=examples("dfer models add dfer-clip-ferv39k ~/Downloads/model.pth"),
    cls=HelpInOutput,
)
def add(
    name: Annotated[str, typer.Argument(help="A name of `dfer models`, or a new one.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|RUN",
            help="The downloaded published file; for a new name a run, a checkpoint or a "
            "published .pth.",
        ),
    ],
) -> None:
    """Store a model under a name: a downloaded file, or a model of your own."""
    from dfercli.inference import named_models

    print_line(f"{name}: {named_models.add(name, file.expanduser(), ConsoleProgress())}")


@models.command("info", epilog=examples("dfer models info dfer-clip-ferv39k"), cls=HelpInOutput)
def info(
    name: Annotated[str, typer.Argument(help="A name of `dfer models`.")],
    json: Json = False,
) -> None:
    """Show a model's card if it is here, else what its owners published."""
    from dfercli.artifacts.model_card import is_checkpoint, read_model_card
    from dfercli.inference import named_models
    from dfercli.inference.locate import unknown_name
    from dfercli.names import is_plain
    from dfercli.registry import named_model
    from dfercli.report.card import card_rows

    model = named_model(name)
    if not is_plain(name):
        raise ConfigError(f"expected a name of `dfer models`, got {name!r}", hint="dfer info PATH")
    folder = named_models.folder_of(name)
    if is_checkpoint(folder):
        card = read_model_card(folder)
        if json:
            print_json({"checkpoint": str(folder), **card.to_json()})
            return
        print_line(f"checkpoint: {folder}")
        for key, text in card_rows(card):
            print_line(f"{key}: {text}")
        return
    if model is None:
        raise unknown_name(name)
    row = _row(model)
    if json:
        print_json(row)
        return
    print_line(f"{name}: {row['state']}; dfer models get {name}")
    for result in model.results:
        print_line(f"published: {result}")
    for key in ("selected_on", "licence_code", "licence_weights", "licence_data", "citation"):
        print_line(f"{key.replace('_', ' ')}: {row[key]}")
    print_line(f"research only: {'yes' if model.research_only else 'no'}")
    print_line(f"page: {model.hand_page}")


@models.command(
    "push", epilog=examples("dfer models push runs/mine user/my-model --private"), cls=HelpInOutput
)
def push(
    run: Annotated[Path, typer.Argument(metavar="RUN|CHECKPOINT", help="What to upload.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub.")],
    private: Annotated[
        bool,
        typer.Option("--private", help="Make a new repository private.", rich_help_panel=OUTPUT),
    ] = False,
    license: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Your licence by its name on the hub, such as mit.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Upload a model to the hub: its weights, its card, and the card as README; nothing else.

    Log in once with `hf auth login`. `dfer predict --model OWNER/NAME` uses it.
    """
    from dataclasses import asdict

    from dfercli.inference import hub

    found = hub.push(
        run.expanduser(), repository, ConsoleProgress(quiet=quiet), private=private, licence=license
    )
    if json:
        print_json(asdict(found))
        return
    print_line(f"{found.url}: {', '.join(found.files)}")
    print_line(f"use it: dfer predict VIDEO --model {found.repository}")
