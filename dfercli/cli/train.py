"""`dfer train`: train a method on a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.config import DataConfig, ModelConfig, TrainConfig
from dfercli.errors import ConfigError, DferError

if TYPE_CHECKING:
    from dfercli.training.run import TrainResult

EPILOG = (
    "Examples: dfer train faces/ --test faces-test/ · dfer train dfew --root DFEW --fold all · "
    "dfer train faces/ --set optim.batch_size=8 --set optim.epochs=20 · "
    "dfer train --resume runs/faces-dfer-clip-… · dfer train faces/ --resume auto"
)

# Options that stand for a field of a table within TrainConfig.
NESTED = {
    "method": ("model", "method"),
    "clip": ("model", "clip"),
    "clip_weights": ("model", "clip_weights"),
    "text_type": ("model", "text_type"),
    "context_tokens": ("model", "context_tokens"),
    "class_specific": ("model", "class_specific"),
    "class_position": ("model", "class_position"),
    "temporal_layers": ("model", "temporal_layers"),
    "freeze_image": ("model", "freeze_image"),
    "descriptions": ("model", "descriptions"),
    "root": ("data", "root"),
    "test": ("data", "test"),
    "test_share": ("data", "test_share"),
    "folds": ("data", "folds"),
    "group": ("data", "group"),
    "label_order": ("data", "label_order"),
    "workers": ("data", "workers"),
    "streams": ("model", "finecliper", "streams"),
    "streams_from": ("data", "streams_from"),
    "epochs": ("optim", "epochs"),
    "batch_size": ("optim", "batch_size"),
}


def train(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(help="dfew, ferv39k, mafw, a face store, or a list file.")
    ] = None,
    method: Annotated[str, typer.Option(help="dfer-clip, finecliper or mean-pooling.")] = (
        ModelConfig.method
    ),
    recipe: Annotated[
        str | None,
        typer.Option(help="Settings by name or TOML file. By default the method's own."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of a benchmark's copy; else DFER_DATA/NAME, else data/NAME."),
    ] = DataConfig.root,
    fold: Annotated[str, typer.Option(help="1-based fold, or all.")] = TrainConfig.fold,
    folds: Annotated[
        int | None, typer.Option(help="Split a face store into so many folds (with --group).")
    ] = DataConfig.folds,
    group: Annotated[
        str | None, typer.Option(help="subject: no subject is in training and test at once.")
    ] = DataConfig.group,
    test: Annotated[
        str | None, typer.Option(help="A data set to test on, where the first has no test list.")
    ] = DataConfig.test,
    test_share: Annotated[
        float,
        typer.Option(
            help="Share of one's own clips, by subject, to measure on where there is no test list "
            "and no --test; 0 measures on the clips that select the checkpoint."
        ),
    ] = DataConfig.test_share,
    label_order: Annotated[
        str | None, typer.Option(help="Order of numeric labels: dfer-clip, mae-dfer, s2d or FILE.")
    ] = DataConfig.label_order,
    select: Annotated[
        str,
        typer.Option(help="Checkpoint to report: last, val (held-out part) or best-on-test."),
    ] = TrainConfig.select,
    clip: Annotated[str, typer.Option(help="CLIP backbone, MODEL/TAG of open_clip.")] = (
        ModelConfig.clip
    ),
    clip_weights: Annotated[
        Path | None, typer.Option(help="Local file with the backbone's weights.")
    ] = ModelConfig.clip_weights,
    text_type: Annotated[
        str, typer.Option(help="Class texts: description, name, context or pn.")
    ] = ModelConfig.text_type,
    descriptions: Annotated[
        Path | None, typer.Option(help="Class texts written by `dfer describe`.")
    ] = ModelConfig.descriptions,
    streams: Annotated[
        str | None,
        typer.Option(
            help="Of FineCLIPER: frames,landmarks,parsing,captions. By default all that there are."
        ),
    ] = None,
    streams_from: Annotated[
        Path | None, typer.Option(help="Folder of landmarks, parsing and captions by clip.")
    ] = DataConfig.streams_from,
    context_tokens: Annotated[
        int, typer.Option(help="Learned tokens around each class text.")
    ] = ModelConfig.context_tokens,
    class_specific: Annotated[
        bool,
        typer.Option("--class-specific/--generic-context", help="Own tokens per class, or shared."),
    ] = ModelConfig.class_specific,
    class_position: Annotated[
        str, typer.Option(help="Of the class text among the learned tokens: end, middle or front.")
    ] = ModelConfig.class_position,
    temporal_layers: Annotated[
        int, typer.Option(help="Blocks of the temporal encoder; 0 is the mean over frames.")
    ] = ModelConfig.temporal_layers,
    freeze_image: Annotated[
        bool, typer.Option("--freeze-image", help="DFER-CLIP's image encoder stays as it is.")
    ] = ModelConfig.freeze_image,
    cache_features: Annotated[
        bool,
        typer.Option(
            "--cache-features",
            help="With --freeze-image: encode each frame once, train on features kept on disk.",
        ),
    ] = TrainConfig.cache_features,
    cached_views: Annotated[
        int, typer.Option(help="Augmented views of each clip in the cache; 0: no augmentation.")
    ] = TrainConfig.cached_views,
    features_in: Annotated[
        Path | None, typer.Option(help="Folder of the features; else DFER_CACHE/features.")
    ] = TrainConfig.features_in,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the clips. By default the recipe's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Clips per step, all devices. By default the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, sampling.")] = TrainConfig.seed,
    precision: Annotated[
        str, typer.Option(help="auto, 32, bf16-mixed or 16-mixed.")
    ] = TrainConfig.precision,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = (
        TrainConfig.accelerator
    ),
    devices: Annotated[int, typer.Option(help="Processes, one per device, on each machine.")] = (
        TrainConfig.devices
    ),
    num_nodes: Annotated[
        int, typer.Option(help="Machines; torchrun or Slurm starts dfer on each.")
    ] = TrainConfig.num_nodes,
    strategy: Annotated[
        str, typer.Option(help="Of several processes: auto, ddp, or fsdp for large models.")
    ] = TrainConfig.strategy,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read frames; 0 is this one.",
            show_default="2; on a GPU one per core, at most 16",
        ),
    ] = DataConfig.workers,
    gradient_checkpointing: Annotated[
        bool, typer.Option(help="Save memory by computing activations twice.")
    ] = TrainConfig.gradient_checkpointing,
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Fuse operations (torch.compile): slow start, faster steps"),
    ] = TrainConfig.compile,
    checkpoint_every: Annotated[
        int, typer.Option(help="Steps between saves within an epoch; 0: at the end of each.")
    ] = TrainConfig.checkpoint_every,
    logger: Annotated[
        str, typer.Option(help="Log epochs to tensorboard or wandb, too (extras).")
    ] = TrainConfig.logger,
    out: Annotated[Path, typer.Option(help="Folder of runs.")] = TrainConfig.out,
    name: Annotated[
        str | None, typer.Option(help="Name of the run. By default data set, method and time.")
    ] = TrainConfig.name,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting; see config.json of a run."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|auto",
            help="Continue this run; all else is its own. auto, beside DATASET: continue the run "
            "--name (by default DATASET-METHOD), or start it where there is none.",
        ),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, in its table `train`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train a method on a data set, fold by fold, and measure the selected checkpoint."""
    from dfercli.inference.collectives import is_main_process
    from dfercli.training import run as stage

    progress = ConsoleProgress(quiet=quiet)
    try:
        if resume is not None and resume != "auto":
            if dataset is not None:
                raise ConfigError("--resume takes the data set from the run: leave DATASET out")
            result = stage.resume(Path(resume), progress)
        elif dataset is not None:
            config = _config(context, dataset, recipe, config_file, assignments or [])
            train_it = stage.run_or_resume if resume == "auto" else stage.run
            result = train_it(config, progress)
        else:
            raise ConfigError("missing argument DATASET", hint="for example: dfer train faces/")
    except DferError as error:
        if is_main_process():
            raise
        raise typer.Exit(error.exit_code) from error  # the main process has it, too, and tells
    except KeyboardInterrupt:
        if is_main_process():
            raise
        return  # where a process that it started fails, Fabric kills the main one
    if not is_main_process():
        return
    if json:
        print_json(_as_json(result))
    else:
        _print_result(result)


def _config(
    context: typer.Context,
    dataset: str,
    recipe: str | None,
    config_file: Path | None,
    assignments: list[str],
) -> TrainConfig:
    """Defaults, then recipe, then file, then options, then --set."""
    from dfercli.overrides import override, read_toml, set_by_path
    from dfercli.recipes import read_recipe, recipe_names

    typed: dict[str, Any] = {}
    for option, value in context.params.items():
        if getattr(context.get_parameter_source(option), "name", "") != "COMMANDLINE":
            continue
        if option in NESTED:
            *tables, field = NESTED[option]
            table = typed
            for name in tables:
                table = table.setdefault(name, {})
            table[field] = value
        elif hasattr(TrainConfig, option):
            typed[option] = value
    file_settings = read_toml(config_file).get("train", {}) if config_file else {}
    in_file = override(TrainConfig(), file_settings, where=str(config_file))
    own_recipe = typed.get("model", {}).get("method") or in_file.model.method
    config = TrainConfig()
    if recipe is not None or own_recipe in recipe_names():
        for settings in read_recipe(recipe or own_recipe, dataset):
            config = override(config, settings, where=f"recipe {recipe or own_recipe}")
    if config_file:
        config = override(config, file_settings, where=str(config_file))
    config = override(config, {**typed, "dataset": dataset}, where="dfer train", literal=True)
    return override(config, set_by_path(assignments), where="--set")


def _as_json(result: "TrainResult") -> dict[str, Any]:
    return {
        "run": str(result.run),
        "folds": [
            {
                "fold": fold.fold,
                "checkpoint": str(fold.checkpoint),
                "selected_on": fold.selected_on,
                "measured_on": fold.measured_on,
                "metrics": fold.evaluation.to_json() if fold.evaluation else None,
            }
            for fold in result.folds
        ],
    }


def _print_result(result: "TrainResult") -> None:
    from dfercli.evaluation.results import read_run, summarise_run
    from dfercli.report.results import compact, results_table, selection_notes
    from dfercli.report.tables import per_class_table

    if measured := read_run(result.run):
        summary = summarise_run(result.run.name, measured)
        table = results_table(summary.dataset, [summary])
        shown = [compact(table)]
        if len(summary.summary.folds) == 1:
            shown.append(per_class_table(summary.summary.folds[0]))
        for part in shown:
            print_table(part.title, part.columns, part.rows)
        for note in selection_notes(table):
            print_line(note)
    else:
        first = result.folds[0]
        print_line(f"measured on {first.measured_on}; checkpoint selected by: {first.selected_on}")
    print_line(f"evaluate: dfer eval {result.run}    apply: dfer predict VIDEO")
