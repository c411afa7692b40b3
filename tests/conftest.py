"""What several test modules share."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from slow_tests import FIRST, SLOW

# Before torch is imported: tensors are tiny here, and threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiling kernels starts no pool of processes, each of which would import torch.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
# Compiling face-alignment's last step takes longer than running it as Python on a few crops.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

# A process in the background or under nohup ignores these; its children would ignore them, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

COSTS: dict[str, Any] = {}
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden values and real media; its absence is reported as a skip."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared is not there")
    return SHARED


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist hand out files in our order, not those with the most tests first."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests and begin with the longest files, so that no process waits at the end.

    An entry of `SLOW` that matches no test is an error.
    """
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    for item in items:
        name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
        if name in SLOW or item.path.name in SLOW:
            item.add_marker("slow")
    sources = {path.name: path.read_text() for path in Path(__file__).parent.glob("test_*.py")}
    for entry in SLOW:
        file, _, test = entry.partition("::")
        if file not in sources or f"def {test}" not in sources[file]:
            raise pytest.UsageError(f"tests/slow_tests.py names {entry}, which does not exist")


def pytest_runtest_setup() -> None:
    """Make two by-products of each training cheap, which have tests of their own.

    Pictures are small, and what a model costs is counted once for each structure.
    """
    plots, fold = map(sys.modules.get, ("dfercli.report.plots", "dfercli.training.fold"))
    if plots is not None:
        plots.DOTS_PER_INCH = 40  # type: ignore[attr-defined]
    if fold is not None:
        fold.cost_of = _known_cost  # type: ignore[attr-defined]


def _known_cost(module: Any) -> Any:
    from dfercli.models.cost import cost_of

    weights = [(tuple(one.shape), one.requires_grad) for one in module.parameters()]
    structure = f"{module} {weights} {module.num_frames} {module.image_size} {module.streams}"
    if structure not in COSTS:
        COSTS[structure] = cost_of(module)
    return COSTS[structure]
