"""Where the `dfer` command begins.

Each worker process imports the script of the command again, and with it this module alone: what
parses the command line is imported once the command runs.
"""

import atexit
import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    answers: list[int] = []
    atexit.register(leave_at_once, answers)  # the first to register is the last to run
    # A thread of NumPy's OpenBLAS spins for 2**26 cycles before it sleeps: 0.1 s of each process.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    open_closed_streams()
    try:
        from dfercli.cli.app import run

        answers.append(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before the command line listens, or after it has stopped to
        sys.stderr.write("error: interrupted\n")
        answers.append(130)
    sys.exit(answers[0])


def leave_at_once(answers: list[int]) -> None:
    """End the process after all threads and exit functions; after a bug, Python does it itself.

    Python would now collect every object of every module: 0.8 s with PyTorch, for nothing.

    Args:
        answers: The exit code, where the command line has one.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python tells of it, and has an exit code for it
        return
    if answers:
        os._exit(answers[0])


def open_closed_streams() -> None:
    """Let stdin, stdout and stderr lead nowhere if the shell closed them (`>&-`).

    Otherwise a file that is opened later gets the free number, and what libraries print to stdout
    lands in it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the lowest free number is its own
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115 - stays open
