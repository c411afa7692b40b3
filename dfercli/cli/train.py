"""`dfer train`: train a method on a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import TrainConfig
from dfercli.config.options import SETTINGS
from dfercli.errors import ConfigError, DferError

if TYPE_CHECKING:
    from dfercli.training.run import TrainResult

EPILOG = examples(
    "dfer train faces/ --test faces-test/",
    "dfer train dfew --root /data/DFEW --fold all",
    "dfer train faces/ --method finecliper --streams frames,landmarks",
    "dfer train faces/ --set optim.lr_image=1e-6 --set augment.flip=0",
    "dfer train --resume runs/first",
    "dfer train faces/ --resume auto",
)


@offers(TrainConfig, "train")
def train(
    asked: Asked[TrainConfig],
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|auto",
            help="Continue this run with its own settings, except --features-in. auto, with "
            "DATASET: continue the run --name (by default DATASET-METHOD), or start it.",
            rich_help_panel=SETTINGS,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a method on a data set, fold by fold, and measure the selected checkpoint."""
    from dfercli.inference.collectives import is_main_process
    from dfercli.training import run as stage
    from dfercli.training import seeds

    progress = ConsoleProgress(quiet=quiet)
    try:
        if resume is not None and resume != "auto":
            if "dataset" in asked.typed:
                raise ConfigError("--resume takes the data set from the run: omit DATASET")
            config = asked.config()
            if _has_other_settings(asked):
                progress.note(
                    "--resume RUN keeps the settings of the run: other options are ignored"
                )
            result = stage.resume(Path(resume), progress, config.features_in)
        else:
            config = asked.config()
            if not config.dataset:
                raise ConfigError("missing argument DATASET", hint="for example: dfer train faces/")
            train_it = stage.run_or_resume if resume == "auto" else stage.run
            if config.seeds:
                results = seeds.run(config, progress, train_it)
                if is_main_process():
                    _show_seeds([result.run for result in results], progress, json=json)
                return
            result = train_it(config, progress)
    except DferError as error:
        if is_main_process():
            raise
        raise typer.Exit(error.exit_code) from error  # the main process reports it
    except KeyboardInterrupt:
        if is_main_process():
            raise
        return  # if a process that it started fails, Fabric kills the main one
    if not is_main_process():
        return
    if json:
        print_json(_as_json(result))
    else:
        _print_result(result)


def _has_other_settings(asked: Asked[TrainConfig]) -> bool:
    """Whether more was typed than what a resumed run takes."""
    return bool(set(asked.typed) - {"features_in"} or asked.assignments or asked.file)


def _show_seeds(runs: list[Path], progress: ConsoleProgress, *, json: bool) -> None:
    from dfercli.evaluation import results as stage
    from dfercli.report.results import compact, results_table, seeds_table, selection_notes

    summaries = stage.run(runs, progress)
    if json:
        measured = [stage.summary_json(summary) for summary in summaries]
        print_json({"runs": [str(run) for run in runs], "results": measured})
        return
    if summaries:
        table = results_table(summaries[0].dataset, summaries, with_published=False)
        for part in (compact(table), seeds_table(summaries)):
            if part is not None:
                print_table(part.title, part.columns, part.rows)
        for note in selection_notes(table):
            print_line(note)
    print_line(f"compare: dfer results {runs[0].parent}")


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
