"""The `dfer` command: its list of commands, and the only place where errors become exit codes."""

import errno
import os
import signal
import sys
from typing import Annotated

import typer

from dfercli.cli.bench import EPILOG as BENCH_EPILOG
from dfercli.cli.bench import bench
from dfercli.cli.console import print_error, print_line
from dfercli.cli.convert import EPILOG as CONVERT_EPILOG
from dfercli.cli.convert import convert
from dfercli.cli.convert_timeline import EPILOG as CONVERT_TIMELINE_EPILOG
from dfercli.cli.convert_timeline import convert_timeline
from dfercli.cli.data import data
from dfercli.cli.demo import EPILOG as DEMO_EPILOG
from dfercli.cli.demo import demo
from dfercli.cli.describe import EPILOG as DESCRIBE_EPILOG
from dfercli.cli.describe import describe
from dfercli.cli.eval import EPILOG as EVAL_EPILOG
from dfercli.cli.eval import evaluate
from dfercli.cli.export import EPILOG as EXPORT_EPILOG
from dfercli.cli.export import export
from dfercli.cli.info import EPILOG as INFO_EPILOG
from dfercli.cli.info import info
from dfercli.cli.models import models
from dfercli.cli.offer import HelpInOutput
from dfercli.cli.predict import EPILOG as PREDICT_EPILOG
from dfercli.cli.predict import predict
from dfercli.cli.preprocess import EPILOG as PREPROCESS_EPILOG
from dfercli.cli.preprocess import preprocess
from dfercli.cli.results import EPILOG as RESULTS_EPILOG
from dfercli.cli.results import results
from dfercli.cli.sweep import EPILOG as SWEEP_EPILOG
from dfercli.cli.sweep import sweep
from dfercli.cli.train import EPILOG as TRAIN_EPILOG
from dfercli.cli.train import train
from dfercli.cli.weights import EPILOG as WEIGHTS_EPILOG
from dfercli.cli.weights import weights
from dfercli.errors import DferError
from dfercli.processes import stop_signals

BY_SIGNAL = 128  # and its number: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP
INTERRUPTED = BY_SIGNAL + signal.SIGINT

# The panels of commands, in the order of the pipeline.
PREPARE = "Prepare data"
LEARN = "Train and measure"
USE = "Use a model"
TRY = "Try it"

app = typer.Typer(
    name="dfer",
    help="Dynamic facial expression recognition: from raw video to a timeline of expressions.",
    epilog="Start with: dfer demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from dfercli import __version__

        print_line(f"dfer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


COMMANDS = (
    (PREPARE, "preprocess", preprocess, PREPROCESS_EPILOG),
    (PREPARE, "describe", describe, DESCRIBE_EPILOG),
    (PREPARE, "weights", weights, WEIGHTS_EPILOG),
    (LEARN, "train", train, TRAIN_EPILOG),
    (LEARN, "eval", evaluate, EVAL_EPILOG),
    (LEARN, "results", results, RESULTS_EPILOG),
    (LEARN, "sweep", sweep, SWEEP_EPILOG),
    (USE, "predict", predict, PREDICT_EPILOG),
    (USE, "convert-timeline", convert_timeline, CONVERT_TIMELINE_EPILOG),
    (USE, "info", info, INFO_EPILOG),
    (USE, "export", export, EXPORT_EPILOG),
    (USE, "convert", convert, CONVERT_EPILOG),
    (TRY, "demo", demo, DEMO_EPILOG),
    (TRY, "bench", bench, BENCH_EPILOG),
)
for _panel, _name, _command, _examples in COMMANDS:
    app.command(_name, epilog=_examples, cls=HelpInOutput, rich_help_panel=_panel)(_command)
app.add_typer(data, name="data", rich_help_panel=PREPARE)
app.add_typer(models, name="models", rich_help_panel=USE)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code: 0 to 5, or 128 + a signal.

    A bug keeps its traceback.
    """
    with stop_signals() as signals:
        code = _run(arguments)
    if code != INTERRUPTED:
        return code
    number = signals.asked.stop or signals.agreed.stop or signal.SIGINT
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    print_error(f"interrupted{by}")
    return BY_SIGNAL + number


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="dfer", standalone_mode=False)
    except DferError as error:
        print_error(error.message, error.hint)
        return error.exit_code
    except typer.TyperException as error:
        message = getattr(error, "message", str(error)) or getattr(error, "param", None)
        if message:  # empty when the help was shown because no command was given
            print_error(_usage_message(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our stdout has gone, as in `dfer … | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UnicodeEncodeError as error:
        text = str(error.object)
        if not any("\ud800" <= letter <= "\udfff" for letter in text):
            raise
        # What the system gave for bytes of a name or an argument; see `os.fsencode`.
        print_error(f"a name or text that is not UTF-8 cannot be used here: {text[:200]!r}")
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        where = f": {error.filename}" if error.filename else ""
        print_error(f"{error.strerror}{where}")
        return 4
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        # torchvision could not load its own library, built for CUDA or another release of PyTorch
        print_error(
            f"torchvision was built for another PyTorch than the installed one: {error}",
            "take both from one index: pip install --force-reinstall torch torchvision",
        )
        return 2
    # Typer makes INTERRUPTED of a KeyboardInterrupt.
    return code if isinstance(code, int) else 0


def _usage_message(error: typer.TyperException) -> str:
    formatted = getattr(error, "format_message", None)
    said = formatted() if formatted is not None else str(error)
    return said.replace(": Value error, ", ": ", 1)  # pydantic's wording, which typer leaves in
