"""Where the `dfer` command begins.

Each worker process imports the script of the command again, and with it this module alone: what
parses the command line is imported once the command runs.
"""

import gc
import os


def main() -> None:
    """Run the command line and exit with its code."""
    # A thread of NumPy's OpenBLAS spins for 2**26 cycles before it sleeps: 0.1 s of each process.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    from dfercli.cli.app import main as run_command

    try:
        run_command()
    finally:
        gc.freeze()  # else Python's last collection looks at all of PyTorch: 0.5 s
