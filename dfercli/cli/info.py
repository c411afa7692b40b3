"""`dfer info`: the model card of a checkpoint, or what a method costs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dfercli.cli.console import print_json, print_line
from dfercli.config import TrainConfig
from dfercli.errors import ConfigError

EPILOG = (
    "Examples: dfer info runs/faces-dfer-clip-… · dfer info --method finecliper "
    "--streams frames,landmarks --set model.clip=ViT-L-14-quickgelu/openai"
)


def info(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|CHECKPOINT]",
            help="A run, a fold, a checkpoint, or a published .pth file.",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="A method instead: dfer-clip, finecliper or mean-pooling.")
    ] = None,
    clip: Annotated[
        str | None, typer.Option(help="With --method: CLIP backbone, MODEL/TAG of open_clip.")
    ] = None,
    streams: Annotated[
        str | None, typer.Option(help="Of FineCLIPER: frames,landmarks,parsing,captions.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="With --method: clips at once. By default the recipe's.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="With --method: setting of `dfer train`."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a checkpoint's model card; or count weights, operations and memory of a method."""
    if (checkpoint is None) == (method is None):
        raise ConfigError(
            "name a checkpoint or a method, one of them",
            hint="dfer info runs/…, or dfer info --method finecliper",
        )
    if checkpoint is not None:
        _show_card(checkpoint, json)
        return
    typed: dict[str, Any] = {"model": {"method": method}, "optim": {}}
    if clip is not None:
        typed["model"]["clip"] = clip
    if streams is not None:
        typed["model"]["finecliper"] = {"streams": streams}
    if batch_size is not None:
        typed["optim"]["batch_size"] = batch_size
    _show_cost(_config_of(typed, assignments or []), json)


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


def _config_of(typed: dict[str, Any], assignments: list[str]) -> TrainConfig:
    """Defaults, then the method's recipe, then options, then --set."""
    from dfercli.overrides import override, set_by_path
    from dfercli.recipes import read_recipe, recipe_names

    config = override(TrainConfig(), typed, where="dfer info", literal=True)
    method = config.model.method
    if method in recipe_names():
        for table in read_recipe(method, ""):
            config = override(config, table, where=f"recipe {method}")
    config = override(config, typed, where="dfer info", literal=True)
    return override(config, set_by_path(assignments), where="--set")


def _show_cost(config: TrainConfig, json: bool) -> None:
    from dfercli.inference.info import run
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
