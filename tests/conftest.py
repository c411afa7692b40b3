"""What several test modules share."""

import os
import signal
from pathlib import Path

import pytest
from slow_tests import SLOW

# Before torch is imported: tensors are tiny here, and threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiling kernels starts no pool of processes, each of which would import torch.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# A process in the background or under nohup ignores these; its children would ignore them, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden values and real media; its absence is reported as a skip."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared is not there")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests; an entry of `SLOW` that matches no test is an error."""
    for item in items:
        name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
        if name in SLOW or item.path.name in SLOW:
            item.add_marker("slow")
    sources = {path.name: path.read_text() for path in Path(__file__).parent.glob("test_*.py")}
    for entry in SLOW:
        file, _, test = entry.partition("::")
        if file not in sources or f"def {test}" not in sources[file]:
            raise pytest.UsageError(f"tests/slow_tests.py names {entry}, which does not exist")
