"""Private names of PyTorch stand in one file; a test names any that is gone."""

import ast
import importlib
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import dfercli

PACKAGE = Path(dfercli.__file__).parent
ALLOWED = "torch_private.py"
NEEDED = [
    ("torch._subclasses.fake_tensor", "FakeTensorMode"),
    ("torch.utils.data.dataloader", "_MultiProcessingDataLoaderIter._shutdown_workers"),
    ("torch", "Tensor._version"),
    ("torch", "ops.aten._scaled_dot_product_flash_attention_for_cpu"),
    ("torch", "ops.aten._scaled_dot_product_flash_attention_for_cpu_backward"),
]


def private_names(source: str) -> set[str]:
    """Private names that a module imports, or reads from objects that are not its own."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if "._" in alias.name}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {
                f"{module}.{alias.name}"
                for alias in node.names
                if "._" in f".{module}.{alias.name}" and not alias.name.startswith("__")
            }
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and not node.attr.startswith("__"):
                found.add(ast.unparse(node))
    return found


@pytest.mark.parametrize(("module", "path"), NEEDED)
def test_pytorch_still_has_the_private_names_that_are_needed(module, path):
    found = importlib.import_module(module)
    for name in path.split("."):
        assert hasattr(found, name), (
            f"PyTorch {torch.__version__} has no {module}.{path} any more: change "
            "dfercli/torch_private.py, or bound torch in pyproject.toml below this release"
        )
        found = getattr(found, name)


def test_no_other_file_uses_a_private_name():
    used = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        if path.name != ALLOWED
        for name in private_names(path.read_text())
    }
    # Python's table of modules that were renamed between Python 2 and 3, which pickles need,
    # the public method of named tuples, and ends of a process that wait for nothing.
    assert used == {
        "cli/start.py: os._exit",
        "data/loading.py: os._exit",
        "models/published_checkpoint.py: _compat_pickle.IMPORT_MAPPING",
        "descriptions/llm_server.py: parts._replace",
    }


@pytest.mark.parametrize(
    "source",
    [
        "import torch._dynamo",
        "from torch._subclasses import fake_tensor",
        "from lightning_fabric.wrappers import _FabricModule",
        "torch.cpu._is_amx_tile_supported()",
        "self.strategy._fsdp_kwargs['x'] = 1",
    ],
)
def test_private_names_would_be_noticed(source):
    assert private_names(source)


def test_readers_are_stopped_at_once():
    from dfercli.torch_private import shut_down_readers

    items = iter(DataLoader(range(8), num_workers=1))
    assert next(items) == 0
    shut_down_readers(items)
    assert not any(worker.is_alive() for worker in items._workers)
    shut_down_readers(iter(DataLoader(range(8))))  # without processes there is nothing to do
