"""What several test modules share."""

import os
import signal
from pathlib import Path

import pytest

# Before torch is imported: tensors are tiny here, and threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background or by nohup, a process ignores these, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden values and real media; its absence is reported as a skip."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared is not there")
    return SHARED
