"""Mutations of binary artefacts in their formats: arrays, tensors, pickles, graphs, programs."""

import io
import json
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.mutations import VICTIM, change_bytes, change_tree, hostile_names, short


def change_npz(rng: random.Random, path: Path) -> str:
    """An archive of arrays with changed shapes, types, names, claims or bytes."""
    if rng.random() < 0.35:
        content, said = change_bytes(rng, path.read_bytes())
        path.write_bytes(content)
        return said
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    members = {f"{name}.npy": _as_npy(array) for name, array in found.items()}
    name = rng.choice(sorted(found))
    array = found[name]
    file = f"{name}.npy"
    ways = {
        "is gone": lambda: members.pop(file),
        "is empty": lambda: members.update({file: _as_npy(array[:0])}),
        "is longer": lambda: members.update({file: _as_npy(np.concatenate([array, array]))}),
        "is a number": lambda: members.update({file: _as_npy(np.float64(3))}),
        "is flat": lambda: members.update({file: _as_npy(array.ravel())}),
        "is text": lambda: members.update({file: _as_npy(np.full(array.shape, "x"))}),
        "is complex": lambda: members.update({file: _as_npy(array.astype(np.complex64))}),
        "is not a number": lambda: members.update({file: _as_npy(array * np.nan)}),
        "is huge": lambda: members.update({file: _as_npy(array.astype(float) * 1e300)}),
        "is negative": lambda: members.update({file: _as_npy(array.astype(float) * -1e9 - 1)}),
        "runs backwards": lambda: members.update({file: _as_npy(array[::-1])}),
        "is a pickle": lambda: members.update({file: _pickled_npy()}),
        "claims a billion": lambda: members.update({file: _claiming(array.dtype)}),
        "unpacks to 2 GB": lambda: members.update({file: _bomb()}),
        "is garbage": lambda: members.update({file: rng.randbytes(100)}),
        "has a path for a name": lambda: members.update({f"../../{VICTIM}/x.npy": members[file]}),
    }
    said = rng.choice(sorted(ways))
    ways[said]()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            if content is None:
                _write_zeros(archive, member)
            else:
                archive.writestr(member, content)
    return f"{name} {said}"


def _as_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=False)
    return file.getvalue()


def _pickled_npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


def _claiming(dtype: np.dtype) -> bytes:
    file = io.BytesIO()
    about = {"descr": dtype.str, "fortran_order": False, "shape": (10**9,)}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


def _bomb() -> None:
    return None


def _write_zeros(archive: zipfile.ZipFile, member: str) -> None:
    """An array of 2 GB that takes 2 MB in the archive."""
    head = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (500_000_000,)}
    np.lib.format.write_array_header_1_0(head, about)
    with archive.open(member, "w", force_zip64=True) as file:
        file.write(head.getvalue())
        for _ in range(250):
            file.write(bytes(8_000_000))


def change_safetensors(rng: random.Random, path: Path, outside: Path) -> str:
    """A changed header with its length, or changed bytes."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.4:
        content, said = change_bytes(rng, data)
        path.unlink()
        path.write_bytes(content)
        return said
    header, said = change_tree(rng, json.loads(data[8 : 8 + length]), outside)
    if rng.random() < 0.3 and isinstance(header, dict):
        header["__metadata__"] = rng.choice((None, 3, {"a": 1}, {"a": "b" * 10**6}, []))
        said += ", other metadata"
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    path.unlink()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return said


class _Starts:
    """Tells pickle what to call."""

    def __init__(self, what: tuple[Any, tuple[Any, ...]]) -> None:
        self.what = what

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.what


def change_torch_file(rng: random.Random, path: Path, outside: Path) -> str:
    """A file of torch.save: a hostile pickle, other values in the same form, or changed bytes."""
    import torch

    pick = rng.random()
    if pick < 0.4:
        content, said = change_bytes(rng, path.read_bytes())
        path.write_bytes(content)
        return said
    if pick < 0.55:
        import os
        import shutil

        calls = (
            (os.system, (f"touch {outside}/{VICTIM}/pwned",)),
            (shutil.rmtree, (str(outside / VICTIM),)),
            (open, (str(outside / VICTIM / "file.txt"), "w")),
            (eval, ("__import__('os').abort()",)),
        )
        call = rng.choice(calls)
        content = pickle.dumps({"state_dict": _Starts(call)})
        if rng.random() < 0.5:
            torch.save({"state_dict": _Starts(call)}, path)
        else:
            path.write_bytes(content)
        return f"a pickle that calls {call[0].__name__}"
    state = torch.load(path, map_location="cpu", weights_only=True)
    changed, said = _change_state(rng, state, outside)
    torch.save(changed, path)
    return said


def _change_state(rng: random.Random, state: Any, outside: Path) -> tuple[Any, str]:
    """Change a value somewhere in nested dicts and lists of tensors and numbers."""
    import torch

    if isinstance(state, dict) and state:
        state = dict(state)
        key = rng.choice(sorted(state, key=str))
        pick = rng.random()
        if pick < 0.15:
            del state[key]
            return state, f"no {short(str(key))}"
        if pick < 0.25:
            state[rng.choice(hostile_names(outside))] = state.pop(key)
            return state, f"{short(str(key))} is called otherwise"
        state[key], said = _change_state(rng, state[key], outside)
        return state, f"{short(str(key))}: {said}"
    if isinstance(state, list) and state and rng.random() < 0.7:
        number = rng.randrange(len(state))
        state = list(state)
        state[number], said = _change_state(rng, state[number], outside)
        return state, f"{number}: {said}"
    values = (
        *(None, -1, 10**12, float("nan"), "text", [], {}, True, torch.zeros(0), torch.ones(3, 5)),
        *(torch.full((2,), float("nan")), torch.zeros(1).expand(10**9), {"a": {"b": 1}}),
        *(torch.zeros(3, dtype=torch.int8), torch.tensor(1.0), torch.zeros(2).to_sparse()),
    )
    value = rng.choice(values)
    return (
        value,
        f"= {short(repr(value) if not isinstance(value, torch.Tensor) else str(value.shape))}",
    )


def change_onnx(rng: random.Random, path: Path, outside: Path) -> str:
    """A graph with outside data, foreign operators, another card, or changed bytes."""
    if rng.random() < 0.35:
        content, said = change_bytes(rng, path.read_bytes())
        path.unlink()
        path.write_bytes(content)
        return said
    import onnx

    model = onnx.load(str(path))
    way = rng.choice(("outside data", "operator", "card", "card", "no card", "shape", "input"))
    if way == "outside data":
        tensor = model.graph.initializer[rng.randrange(len(model.graph.initializer))]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        target = rng.choice((f"../outside/{VICTIM}/file.txt", "/etc/passwd", "../../../x", "a\0b"))
        for key, value in (("location", target), ("offset", "0"), ("length", "4")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        tensor.ClearField("raw_data")
        way += f" in {target!r}"
    elif way == "operator":
        node = rng.choice(model.graph.node)
        node.domain, node.op_type = rng.choice((("evil", "Run"), ("", "NoSuch"), ("", "Loop")))
    elif way == "card":
        entry = next(e for e in model.metadata_props if "model_json" in e.key)
        tree, said = change_tree(rng, json.loads(entry.value), outside)
        if rng.random() < 0.2:
            entry.value, said = "[" * 10_000, "open lists"
        else:
            entry.value = json.dumps(tree)
        way = f"card: {said}"
    elif way == "no card":
        del model.metadata_props[:]
    elif way == "shape":
        tensor = model.graph.initializer[rng.randrange(len(model.graph.initializer))]
        tensor.dims[:] = rng.choice(([10**9], [2**40, 4], [-1], [0], []))
        way = f"{tensor.name} has the shape {list(tensor.dims)}"
    else:
        shape = model.graph.input[0].type.tensor_type.shape
        del shape.dim[:]
        way = "an input without a shape"
    path.unlink()
    path.write_bytes(model.SerializeToString())
    return way


def change_torchscript(rng: random.Random, path: Path, outside: Path) -> str:
    """A program that overwrites a file of the user when it is loaded, or changed bytes."""
    if rng.random() < 0.5:
        content, said = change_bytes(rng, path.read_bytes())
        path.unlink()
        path.write_bytes(content)
        return said
    import torch

    extra = {"dfer_model_json": ""}
    torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    card = extra["dfer_model_json"]
    victim = str(outside / VICTIM / "file.txt")

    text = card if isinstance(card, str) else card.decode()
    classes = len(json.loads(text)["label_set"])

    class Writer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.victim = victim
            self.classes = classes

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            written = torch.from_file(self.victim, True, 2, dtype=torch.uint8).fill_(88)
            return torch.zeros(frames.shape[0], self.classes) + 0.0 * written.sum()

    path.unlink()
    torch.jit.save(
        torch.jit.script(Writer()),
        str(path),
        _extra_files={"dfer_model_json": text},
    )
    return "a program that writes over a file"
