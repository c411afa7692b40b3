"""Import a model's modules without those it never uses, for an earlier first result."""

import importlib
import sys

from dfercli.processes import no_collections

UNUSED = "transformers"  # for CLIPs with a text tower of Hugging Face, which have no context tokens


def import_models() -> None:
    """Import PyTorch, torchvision, open_clip and our models, in a process that only recognises.

    open_clip imports transformers if it is installed, and works without it; this makes it do so.
    Call this before anything else imports open_clip; otherwise it changes nothing.
    """
    with no_collections():
        _import_models()


def _import_models() -> None:
    from dfercli.torch_private import without_dynamo  # imports torch

    is_hidden = UNUSED not in sys.modules and "open_clip" not in sys.modules
    if is_hidden:
        sys.modules[UNUSED] = None  # type: ignore[assignment]  # importing it fails
    try:
        with without_dynamo():
            importlib.import_module("open_clip")
            importlib.import_module("dfercli.data.loading")
            importlib.import_module("dfercli.inference.restore")
    finally:
        if is_hidden:
            del sys.modules[UNUSED]
