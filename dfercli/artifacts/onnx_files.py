"""Untrusted ONNX files, checked before any runtime reads them.

A runtime opens every file that a model names as external data and allocates whatever size it
claims. So only ONNX's own operators are accepted, in one graph, on data inside the file, with
bounded sizes.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dfercli.errors import ArtifactError

MAX_BYTES = (1 << 31) - 1  # what protobuf, the format below, takes
MAX_ELEMENTS = 1 << 31  # of one tensor while the model runs
DOMAINS = ("", "ai.onnx")
INSTALL_HINT = 'pip install "dfercli[export]"'
SMALL_BYTES = 1 << 10  # tensors that may be the shapes of others


def import_runtime() -> Any:
    """The package onnxruntime, without messages of its own: they come in its errors, too."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where somebody imported it before dfer
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def read_onnx(path: Path) -> bytes:
    """Read an ONNX file and check that all it does is compute.

    Args:
        path: The file.

    Returns:
        Its content: the runtime then uses exactly the checked bytes.

    Raises:
        ArtifactError: missing, no ONNX model, or one with outside data, own operators, nested
            graphs, or sizes out of bounds; or the package onnx is missing.
    """
    try:
        import onnx  # a third of a second, for this one format
    except ImportError as error:
        raise ArtifactError(f"checking {path} needs the package onnx", hint=INSTALL_HINT) from error
    content = _content(path)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # each engine of protobuf raises its own kinds of errors
        raise ArtifactError(f"not a readable ONNX model: {path}") from error
    if not model.graph.node:
        raise ArtifactError(f"not a readable ONNX model: {path}: it computes nothing")
    if fault := _fault(model, len(content)):
        raise ArtifactError(
            f"refused: {path} {fault}",
            hint="`dfer export` writes nothing of the kind: do not trust this file",
        )
    return content


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ArtifactError(f"no such file: {path}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise ArtifactError(f"refused: {path} is larger than {MAX_BYTES} bytes")
    return content


def _fault(model: Any, size: int) -> str | None:
    """What a model does beyond computing on its own data, for the message."""
    graph = model.graph
    if model.functions or model.training_info:
        return "holds functions of its own"
    for node in graph.node:
        if node.domain not in DOMAINS:
            return f"holds the operator {node.op_type[:60]!r} of {node.domain[:60]!r}"
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            return f"holds a graph within the operator {node.op_type[:60]!r}"
    for name in _names(graph):
        # Runtimes print them as they are. One that is not UTF-8 comes as bytes.
        if not isinstance(name, str) or not name.isprintable():
            return f"holds a name that would move a cursor: {name[:60]!r}"
    for tensor in _tensors(graph):
        if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
            return "keeps its data in other files"
        if not 0 <= _elements(tensor.dims) <= 8 * size:  # the smallest have a bit each
            return f"claims {list(tensor.dims)} elements, more than it holds"
        if len(tensor.raw_data) > SMALL_BYTES:
            tensor.ClearField("raw_data")  # shape inference works without it, and much faster
    return _absurd_size(model)


def _names(graph: Any) -> Iterator[str | bytes]:
    yield graph.name
    for node in graph.node:
        yield from (node.name, node.op_type, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    yield from (tensor.name for tensor in graph.initializer)
    for value in (*graph.input, *graph.value_info, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _absurd_size(model: Any) -> str | None:
    """Whether a tensor gets too large while the model runs, as far as its sizes are written."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        return f"has sizes that do not fit: {(str(error).splitlines() or [''])[0][:120]}"
    graph = inferred.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        if not value.type.HasField("tensor_type"):
            return f"passes something other than tensors on: {value.name[:60]!r}"
        shape = value.type.tensor_type.shape
        known = [dim.dim_value for dim in shape.dim if dim.HasField("dim_value")]
        if not 0 <= _elements(known) <= MAX_ELEMENTS:
            return f"computes a tensor of {known}"
    return None


def _elements(dims: Sequence[int]) -> int:
    """The product of sizes; -1 where one is negative."""
    return -1 if any(size < 0 for size in dims) else math.prod(dims)
