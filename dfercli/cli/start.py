"""Where the `dfer` command begins.

Each worker process imports the script of the command again, and with it this module alone: what
parses the command line is imported once the command runs.
"""

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # A thread of NumPy's OpenBLAS spins for 2**26 cycles before it sleeps: 0.1 s of each process.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    open_closed_streams()
    from dfercli.cli.app import main as run_command

    run_command()


def open_closed_streams() -> None:
    """Let stdin, stdout and stderr lead nowhere if the shell closed them (`>&-`).

    Otherwise a file that is opened later gets the free number, and what libraries print to stdout
    lands in it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the lowest free number is its own
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115 - stays open
