"""Modules as ONNX files, and their products in 8 bits."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfercli.artifacts.onnx_files import INSTALL_HINT
from dfercli.errors import ArtifactError


class _OfInputs(nn.Module):
    """A module with up to six inputs, each a parameter, as the exporter needs.

    An input inside `*inputs` would keep the batch size of the example forever.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(
        self,
        a: Tensor,
        b: Tensor | None = None,
        c: Tensor | None = None,
        d: Tensor | None = None,
        e: Tensor | None = None,
        f: Tensor | None = None,
    ) -> Tensor:
        output: Tensor = self.module(*(one for one in (a, b, c, d, e, f) if one is not None))
        return output


def write_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], path: Path, entries: dict[str, str]
) -> None:
    """Write a module with one output `logits`, of any batch size.

    Args:
        module: The module.
        inputs: An example of each input by name, in order; the first size may change later.
        path: The file.
        entries: Texts to put into the file.

    Raises:
        ArtifactError: a package is missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - needed by torch.onnx; here the message names the remedy
    except ImportError as error:
        raise ArtifactError(f"{error.name} is not installed", hint=INSTALL_HINT) from error
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        # All inputs share a batch size, but torch names it only for the first, and warns.
        warnings.filterwarnings("ignore", message="# The axis name: batch ", category=UserWarning)
        program: Any = torch.onnx.export(
            _OfInputs(module).eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes={name: {0: batch} for name, _ in zip("abcdef", inputs, strict=False)},
            dynamo=True,
            verbose=False,
        )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, entries)
    onnx.save(proto, str(path))


def round_to_int8(path: Path, entries: dict[str, str]) -> None:
    """Quantise the weights of a file's products to 8 bits, and activations at run time.

    Raises:
        ArtifactError: ONNX Runtime cannot do it.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="dfer-int8-") as folder:
        plain, prepared, rounded = (str(Path(folder) / f"{step}.onnx") for step in range(3))
        proto = onnx.load(str(path))
        # The exporter folds transposes into weights, but does not update their recorded shapes.
        del proto.graph.value_info[:]
        onnx.save(proto, plain)
        try:
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)
            quantize_dynamic(
                prepared,
                rounded,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
        except Exception as error:  # onnx and onnxruntime each raise their own kinds
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise ArtifactError(f"ONNX Runtime cannot quantise this model: {reason}") from error
        proto = onnx.load(rounded)
        onnx.helper.set_model_props(proto, entries)
        onnx.save(proto, str(path))
