"""`dfer export`: a model for other programs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line
from dfercli.cli.settings import settle
from dfercli.config import ExportConfig

EPILOG = (
    "Examples: dfer export runs/faces-dfer-clip-… --out model.onnx · "
    "dfer export published.pth --format torchscript · dfer predict clip.mp4 --checkpoint model.onnx"
)


def export(
    context: typer.Context,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="A run, a fold, a checkpoint, or a published .pth file."
        ),
    ],
    format: Annotated[str, typer.Option(help="onnx or torchscript.")] = ExportConfig.format,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="ONNX with weights in 8 bits: smaller, sooner on a CPU, rounded."
        ),
    ] = ExportConfig.int8,
    out: Annotated[
        Path | None,
        typer.Option(help="The file. By default model.onnx or model.torchscript."),
    ] = ExportConfig.out,
    clip_weights: Annotated[
        Path | None,
        typer.Option(help="CLIP's weights, where the checkpoint leaves them out."),
    ] = ExportConfig.clip_weights,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, in its table `export`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Write the visual path of a model as one file, with its text features and model card inside.

    The file takes `frames`, float (B, T, 3, S, S) in [0, 1], and gives `logits` (B, K). It is kept
    only if its logits agree with PyTorch's to 0.0001 (with --int8 before that is done; then to 1).
    """
    config = settle(context, ExportConfig(), command="export", config_file=config_file)
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
