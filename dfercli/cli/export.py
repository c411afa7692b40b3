"""`dfer export`: a model for other programs."""

from dataclasses import asdict

from dfercli.cli.console import ConsoleProgress, print_json, print_line
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import ExportConfig

EPILOG = examples(
    "dfer export runs/first --out model.onnx",
    "dfer export published.pth --format torchscript",
    "dfer predict clip.mp4 --model model.onnx",
)


@offers(ExportConfig, "export")
def export(asked: Asked[ExportConfig], json: Json = False, quiet: Quiet = False) -> None:
    """Write the visual path of a model as one file, with its text features and model card inside.

    The file takes `frames`, float (B, T, 3, S, S) in [0, 1], and gives `logits` (B, K). It is kept
    only if its logits agree with PyTorch's to 0.0001 (with --int8 before quantisation; after it to
    1).
    """
    config = asked.config()
    from dfercli.inference.light_imports import import_models

    import_models()
    from dfercli.inference.export import run

    result = run(config, ConsoleProgress(quiet=quiet))
    if json:
        values = asdict(result)
        print_json({**values, "checkpoint": str(result.checkpoint), "out": str(result.out)})
        return
    print_line(
        f"{result.out}: {result.size_bytes / 1e6:.1f} MB, "
        f"logits within {result.difference:.1g} of PyTorch's"
    )
