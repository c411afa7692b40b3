"""`dfer info`: a checkpoint's model card, what a method costs, or how this machine computes."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, examples, offers
from dfercli.config import TrainConfig
from dfercli.config.options import DEVICE, WITH_METHOD
from dfercli.errors import ConfigError

EPILOG = examples(
    "dfer info runs/first",
    "dfer info --method finecliper --streams frames,landmarks",
    "dfer info --method dfer-clip --set model.clip=ViT-L-14-quickgelu/openai",
    "dfer info --machine",
)


OF_A_METHOD = ("model.method", "model.clip", "model.finecliper.streams", "optim.batch_size")


@offers(TrainConfig, "info", only=OF_A_METHOD, panel=WITH_METHOD, table="train")
def info(
    asked: Asked[TrainConfig],
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A run, a fold, a checkpoint, a published .pth file, a name of `dfer models`, or "
            "OWNER/NAME on the hub.",
        ),
    ] = None,
    machine: Annotated[
        bool,
        typer.Option(
            "--machine",
            help="Show the measured speed of this machine's arithmetic, and what `--precision "
            "auto` takes.",
            rich_help_panel=DEVICE,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show a checkpoint's model card, or how this machine computes.

    Or count weights, operations and memory of a method.
    """
    if [checkpoint is not None, "method" in asked.typed.get("model", {}), machine].count(True) != 1:
        raise ConfigError(
            "name either a checkpoint, a method or --machine",
            hint="dfer info runs/…, or dfer info --method finecliper",
        )
    if machine:
        _show_machine(json)
        return
    if checkpoint is not None:
        from dfercli.inference.locate import locate_card

        _show_card(locate_card(checkpoint, ConsoleProgress()), json)
        return
    _show_cost(asked.config(), json)


def _show_card(path: Path, json: bool) -> None:
    from dfercli.inference.info import read_model_card
    from dfercli.report.card import card_rows, class_text_rows

    checkpoint, card = read_model_card(path)
    if json:
        print_json({"checkpoint": str(checkpoint), **card.to_json()})
        return
    print_line(f"checkpoint: {checkpoint}")
    for name, value in card_rows(card):
        print_line(f"{name}: {value}")
    print_line("class texts:")
    for name, text in class_text_rows(card):
        print_line(f"  {name}: {text}")


def _show_machine(json: bool) -> None:
    from dfercli.inference.devices import describe_arithmetic

    told = describe_arithmetic()
    if json:
        print_json(told.to_json())
        return
    for name, value in told.rows():
        print_line(f"{name}: {value}")


def _show_cost(config: TrainConfig, json: bool) -> None:
    from dfercli.inference.light_imports import import_models

    import_models()
    from dfercli.inference.method_cost import run
    from dfercli.models.cost import cost_lines

    model, batch_size = config.model, config.optim.batch_size
    cost = run(model)
    if json:
        memory = {"training_memory_bytes": cost.memory_bytes(batch_size)}
        print_json({"method": model.method, "clip": model.clip, **asdict(cost), **memory})
        return
    print_line(f"{model.method} on {model.clip}, {model.num_frames} frames")
    for line in cost_lines(cost, batch_size):
        print_line(line)
    if model.method == "dfer-clip":
        from dfercli.layers import recipe_differences

        ours, published = "dfer-clip", "dfer-clip-published"
        print_table("Recipes", ("setting", ours, published), recipe_differences(ours, published))
