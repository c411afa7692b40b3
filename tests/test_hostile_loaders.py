"""Every loader meets files that were built to do harm: nothing runs, nothing else is touched."""

import io
import json
import os
import pickle
import resource
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torchscript_attack import write_attack
from toy_model import write_toy_checkpoint

from dfercli import load
from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.checkpoint import read_training_state, read_weights
from dfercli.artifacts.exported_files import torchscript_card
from dfercli.artifacts.face_parts import read_landmarks
from dfercli.artifacts.face_store import read_track
from dfercli.artifacts.feature_files import read_features
from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.onnx_files import read_onnx
from dfercli.cli.app import run
from dfercli.data.layout import numbered_lines
from dfercli.descriptions.label_lists import read_label_list
from dfercli.descriptions.prompt_files import read_template, render
from dfercli.descriptions.texts import fill, read_texts
from dfercli.errors import ArtifactError, DferError
from dfercli.faces.network_detectors import NetworkDetector
from dfercli.faces.parsing import SegformerParser
from dfercli.faces.yunet import YuNetDetector
from dfercli.models.clip_backbone import load_backbone
from dfercli.models.published_checkpoint import read_published
from dfercli.overrides import read_toml
from dfercli.preprocessing.source_labels import label_sources
from dfercli.report.pages import render as render_page
from dfercli.video.sources import Source

MEMORY_BYTES = 400 << 20  # that one hostile file may add to the peak of the process
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn"),
    *("os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree", "os.chmod"),
    *("socket.connect", "socket.getaddrinfo"),
)
_seen: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook cannot be removed, so this one records only while a test looks."""
    if _seen is None:
        return
    if event in FORBIDDEN:
        _seen.append(f"{event} {arguments!r}")
    elif event == "open":
        path, _, flags = (*arguments, None, None, None)[:3]
        if isinstance(flags, int) and flags & WRITING and not str(path).startswith("/dev/"):
            _seen.append(f"open for writing {path!r}")


sys.addaudithook(_watch)


@contextmanager
def nothing_happens() -> Iterator[None]:
    global _seen
    _seen = []
    try:
        yield
        assert _seen == []
    finally:
        _seen = None


class _Harm:
    """Unpickling it would run a command."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"echo harmed > '{self.victim}'",)


@dataclass(frozen=True)
class Case:
    """A hostile file: `write` makes it in a folder that holds `victim`, `read` is our loader."""

    name: str
    write: Callable[[Path, Path], Path]
    read: Callable[[Path], object]


def _pickled(name: str) -> Callable[[Path, Path], Path]:
    def write(folder: Path, victim: Path) -> Path:
        torch.save({"state_dict": {"weight": torch.zeros(2)}, "x": _Harm(victim)}, folder / name)
        return folder / name

    return write


def _bare_pickle(name: str) -> Callable[[Path, Path], Path]:
    def write(folder: Path, victim: Path) -> Path:
        (folder / name).write_bytes(pickle.dumps(_Harm(victim)))
        return folder / name

    return write


def _packed(name: str) -> Callable[[Path, Path], Path]:
    """A torch archive of packed zeros: 64 MB here, any amount in an attack."""

    def write(folder: Path, victim: Path) -> Path:
        plain = io.BytesIO()
        torch.save({"weight": torch.zeros(8)}, plain)
        with (
            zipfile.ZipFile(plain) as source,
            zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
        ):
            for member in source.namelist():
                content = source.read(member)
                if member.endswith("data/0"):
                    with target.open(member, "w") as file:
                        for _ in range(4):
                            file.write(bytes(1 << 24))
                else:
                    target.writestr(member, content)
        return folder / name

    return write


def _strided(name: str) -> Callable[[Path, Path], Path]:
    """Two hundred billion elements in four bytes."""

    def write(folder: Path, victim: Path) -> Path:
        weight = torch.zeros(1).expand(200_000_000_000)
        torch.save(
            {"prompt_learner.ctx": weight, "temporal_net.pos_embedding": weight}, folder / name
        )
        return folder / name

    return write


def _torchscript(name: str) -> Callable[[Path, Path], Path]:
    def write(folder: Path, victim: Path) -> Path:
        card = write_toy_checkpoint(folder / "toy") / "model.json"
        path = write_attack(folder / name, victim, card.read_text())
        victim.write_text("mine")
        return path

    return write


def _safetensors(name: str, header: dict[str, object] | bytes, length: int | None = None):
    def write(folder: Path, victim: Path) -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = len(text) if length is None else length
        (folder / name).write_bytes(size.to_bytes(8, "little") + text + bytes(64))
        return folder / name

    return write


def _bytes(name: str, content: bytes) -> Callable[[Path, Path], Path]:
    def write(folder: Path, victim: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


def _link_to_zeros(name: str) -> Callable[[Path, Path], Path]:
    def write(folder: Path, victim: Path) -> Path:
        (folder / name).symlink_to("/dev/zero")
        return folder / name

    return write


def _npz(name: str, packs: str) -> Callable[[Path, Path], Path]:
    """An array of pickled objects, or of half a gigabyte of zeros."""

    def write(folder: Path, victim: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        name_of_first = "landmarks_px" if path.parent.name == "landmarks" else "frame_index"
        if packs == "objects":
            objects = np.array([_Harm(victim)], dtype=object)
            np.savez(path, **{name_of_first: objects}, allow_pickle=True)
            return path
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open(f"{name_of_first}.npy", "w") as file,
        ):
            shape = {"descr": "<f4", "fortran_order": False, "shape": (1 << 27,)}
            np.lib.format.write_array_header_1_0(file, shape)
            for _ in range(1 << 5):
                file.write(bytes(1 << 24))
        return path

    return write


def _model(*nodes: onnx.NodeProto, **more: object) -> onnx.ModelProto:
    frames = helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", 4, 3, 48, 48])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "g", [frames], [logits], more.get("initializer", []))
    return helper.make_model(
        graph,
        functions=more.get("functions", []),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("evil", 1)],
    )


def _outside_data(folder: Path, victim: Path) -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../victim"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return _model(helper.make_node("Add", ["frames", "w"], ["logits"]), initializer=[tensor])


def _outside_data_in_a_constant(folder: Path, victim: Path) -> onnx.ModelProto:
    model = _outside_data(folder, victim)
    constant = helper.make_node("Constant", [], ["w"], value=model.graph.initializer[0])
    return _model(constant, helper.make_node("Add", ["frames", "w"], ["logits"]))


def _own_operator(folder: Path, victim: Path) -> onnx.ModelProto:
    return _model(helper.make_node("Run", ["frames"], ["logits"], domain="evil"))


def _cached_context(folder: Path, victim: Path) -> onnx.ModelProto:
    """The runtime's own operator that reads a file of compiled code."""
    return _model(
        helper.make_node(
            "EPContext",
            ["frames"],
            ["logits"],
            domain="com.microsoft",
            embed_mode=0,
            ep_cache_context=str(victim),
        )
    )


def _own_function(folder: Path, victim: Path) -> onnx.ModelProto:
    body = [helper.make_node("Relu", ["x"], ["y"])]
    imports = [helper.make_opsetid("", 18)]
    function = helper.make_function("evil", "F", ["x"], ["y"], body, imports)
    return _model(helper.make_node("Relu", ["frames"], ["logits"]), functions=[function])


def _endless_loop(folder: Path, victim: Path) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"])],
        "body",
        [info("step", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])],
        [info("again", TensorProto.BOOL, [])],
    )
    go = numpy_helper.from_array(np.array(True), "true")
    loop = helper.make_node("Loop", ["", "true"], [], body=body)
    return _model(loop, helper.make_node("Relu", ["frames"], ["logits"]), initializer=[go])


def _huge_constant(folder: Path, victim: Path) -> onnx.ModelProto:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "shape")
    return _model(
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["frames", "sum"], ["logits"]),
        initializer=[shape],
    )


def _huge_claim(folder: Path, victim: Path) -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.dims[:] = [1 << 40]
    return _model(helper.make_node("Add", ["frames", "w"], ["logits"]), initializer=[tensor])


def _huge_input(folder: Path, victim: Path) -> onnx.ModelProto:
    model = _model(helper.make_node("Relu", ["frames"], ["logits"]))
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1 << 50
    return model


def _onnx(
    name: str, build: Callable[[Path, Path], onnx.ModelProto]
) -> Callable[[Path, Path], Path]:
    def write(folder: Path, victim: Path) -> Path:
        (folder / name).write_bytes(build(folder, victim).SerializeToString())
        return folder / name

    return write


MODELS = (
    *(_outside_data, _outside_data_in_a_constant, _own_operator, _cached_context, _own_function),
    *(_endless_loop, _huge_constant, _huge_claim, _huge_input),
)
DEEP = b"[" * 100_000
DEEP_TOML = b"a = " + DEEP


def _segformer(folder: Path, victim: Path) -> Path:
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_text('{"auto_map": {"AutoConfig": "evil.Config"}}')
    (folder / "evil.py").write_text(f"open({str(victim)!r}, 'w').write('harmed')")
    return _bare_pickle("pytorch_model.bin")(folder, victim).parent


def _anchors(folder: Path, victim: Path) -> Path:
    torch.save({}, folder / "blazefaceback.pth")
    np.save(folder / "anchorsback.npy", np.array([_Harm(victim)], dtype=object), allow_pickle=True)
    return folder / "blazefaceback.pth"


def _detector(name: str) -> Callable[[Path], object]:
    return lambda path: NetworkDetector(name, path, "cpu")


def _clip(path: Path) -> object:
    return load_backbone("tiny/random", path)


def _in_folder(read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: read(path.parent)


def _track(path: Path) -> object:
    return read_track(path.parents[1], path.stem)


def _landmarks(path: Path) -> object:
    return read_landmarks(path.parents[1], path.stem)


def _labels(path: Path) -> object:
    return label_sources([Source(Path("a.mp4"), "", "a.mp4", "video")], path, ())


CASES = (
    Case("resume a pickle", _pickled("training_state.pt"), _in_folder(read_training_state)),
    Case(
        "resume a bare pickle", _bare_pickle("training_state.pt"), _in_folder(read_training_state)
    ),
    Case("resume a packed state", _packed("training_state.pt"), _in_folder(read_training_state)),
    Case("resume TorchScript", _torchscript("training_state.pt"), _in_folder(read_training_state)),
    Case("published: a pickle", _pickled("a.pth"), read_published),
    Case("published: a bare pickle", _bare_pickle("a.pth"), read_published),
    Case("published: packed", _packed("a.pth"), read_published),
    Case("published: strides", _strided("a.pth"), read_published),
    Case("published: TorchScript", _torchscript("a.pth"), read_published),
    Case("published: zeros", _link_to_zeros("a.pth"), read_published),
    Case("CLIP: a pickle", _pickled("a.pt"), _clip),
    Case("CLIP: packed", _packed("a.pt"), _clip),
    Case("CLIP: TorchScript", _torchscript("a.pt"), _clip),
    Case("CLIP: arrays", _npz("a.npz", "objects"), _clip),
    Case("CLIP: safetensors", _safetensors("a.safetensors", b"{", 1 << 62), _clip),
    Case(
        "weights: a long header",
        _safetensors("model.safetensors", b"{", 1 << 62),
        _in_folder(read_weights),
    ),
    Case(
        "weights: a deep header",
        _safetensors("model.safetensors", b'{"a":' + DEEP),
        _in_folder(read_weights),
    ),
    Case(
        "weights: beyond the file",
        _safetensors(
            "model.safetensors",
            {"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
        ),
        _in_folder(read_weights),
    ),
    Case(
        "weights: sizes that overflow",
        _safetensors(
            "model.safetensors",
            {"w": {"dtype": "F32", "shape": [1 << 33, 1 << 33], "data_offsets": [0, 64]}},
        ),
        _in_folder(read_weights),
    ),
    Case("features", _safetensors("a.safetensors", b"{", 1 << 62), read_features),
    Case("exported: TorchScript", _torchscript("a.torchscript"), load),
    Case("exported: no archive", _bytes("a.torchscript", b"PK\3\4"), torchscript_card),
    Case("exported: no ONNX", _bytes("a.onnx", b"\x0a" * 1000), load),
    *(Case(f"exported:{model.__name__}", _onnx("a.onnx", model), load) for model in MODELS),
    *(Case(f"yunet:{model.__name__}", _onnx("a.onnx", model), YuNetDetector) for model in MODELS),
    Case("scrfd: outside data", _onnx("a.onnx", _outside_data), _detector("scrfd")),
    Case("sfd: a pickle", _pickled("a.pth"), _detector("sfd")),
    Case("sfd: TorchScript", _torchscript("a.pth"), _detector("sfd")),
    Case("retinaface: packed", _packed("a.pth"), _detector("retinaface")),
    Case("blazeface: a bare pickle", _bare_pickle("a.pth"), _detector("blazeface")),
    Case("blazeface: pickled anchors", _anchors, _detector("blazeface")),
    Case("segformer: a pickle", _segformer, lambda path: SegformerParser(str(path), "cpu")),
    Case("track: objects", _npz("tracks/a.npz", "objects"), _track),
    Case("track: a bomb", _npz("tracks/a.npz", "zeros"), _track),
    Case("landmarks: objects", _npz("landmarks/a.npz", "objects"), _landmarks),
    Case("landmarks: a bomb", _npz("landmarks/a.npz", "zeros"), _landmarks),
    Case("TOML: deep", _bytes("a.toml", DEEP_TOML), read_toml),
    Case("TOML: zeros", _link_to_zeros("a.toml"), read_toml),
    Case("JSON: deep", _bytes("a.json", DEEP), read_json),
    Case("JSON: zeros", _link_to_zeros("a.json"), read_json),
    Case("JSON lines: deep", _bytes("a.jsonl", DEEP), lambda path: list(read_rows(path))),
    Case("JSON lines: zeros", _link_to_zeros("a.jsonl"), lambda path: list(read_rows(path))),
    Case(
        "class texts", _bytes("a.json", b'{"schema":"dfer.descriptions/1","classes":7}'), read_texts
    ),
    Case("list of classes", _bytes("a.json", DEEP), lambda path: read_label_list(str(path))),
    Case("labels: zeros", _link_to_zeros("a.csv"), _labels),
    Case("labels: a huge cell", _bytes("a.csv", b"source,label\n" + b"a" * (1 << 20)), _labels),
    Case("labels: no CSV", _bytes("a.csv", bytes(range(256)) * 9), _labels),
    Case("a benchmark's list: zeros", _link_to_zeros("a.txt"), numbered_lines),
    Case("prompt: zeros", _link_to_zeros("a.txt"), lambda path: read_template("x", path)),
    Case(
        "prompt: attributes",
        _bytes("a.txt", b"${name.__class__}"),
        lambda path: render(read_template("x", path), str(path), name="n"),
    ),
)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_file_is_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "given"
    folder.mkdir()
    path = case.write(folder, victim)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    with nothing_happens(), pytest.raises(DferError) as caught:
        case.read(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
    assert victim.read_text() == "mine"
    assert grown < MEMORY_BYTES
    assert caught.value.exit_code in (2, 3, 4)
    assert len(caught.value.message) < 700


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_runs_only_where_it_is_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = tmp_path / "victim"
    path = _torchscript("a.torchscript")(tmp_path, victim)
    pictures = ["predict", str(tmp_path), "--checkpoint", str(path), "--detector", "haar"]
    assert run(["info", str(path)]) == 0  # reading the card needs no trust
    assert "happiness" in capsys.readouterr().out
    assert run(pictures) == 3  # there is no source: this comes before a look at the model
    store_less = ["predict", "--camera", str(tmp_path / "none.mp4"), "--headless"]
    assert run([*store_less, "--checkpoint", str(path)]) == 2
    error = capsys.readouterr().err
    assert "is TorchScript, which is code" in error
    assert "--trust-code" in error
    assert victim.read_text() == "mine"
    assert run([*store_less, "--checkpoint", str(path), "--trust-code"]) == 3
    assert "running the code in" in capsys.readouterr().err
    assert victim.read_bytes() != b"mine"  # the attack works


@pytest.mark.parametrize("command", ["eval", "export", "convert"])
def test_exported_models_are_only_for_prediction(command: str, tmp_path: Path) -> None:
    path = _bytes("a.torchscript", b"PK")(tmp_path, tmp_path)
    store = ["faces"] if command == "eval" else ["--out", str(tmp_path / "out.onnx")]
    assert run([command, str(path), *store]) in (2, 3)


def test_an_archive_is_not_a_source_and_is_not_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.mp4", "w") as archive:
        member = tarfile.TarInfo("../../unpacked")
        archive.addfile(member, io.BytesIO())
    with zipfile.ZipFile(tmp_path / "b.mp4", "w") as packed:
        packed.writestr("../../unpacked", "harmed")
    out = tmp_path / "faces"
    assert run(["preprocess", str(tmp_path), "--out", str(out), "--detector", "haar"]) == 3
    assert not any(path.name == "unpacked" for path in tmp_path.parent.rglob("*"))


def test_templates_of_users_only_fill_in_names() -> None:
    assert fill("{name.__class__} {0} {name:>99999999999} {name}", "joy") == (
        "{name.__class__} {0} {name:>99999999999} joy"
    )


def test_values_on_a_page_are_no_template() -> None:
    page = render_page("base.html", "{{ 7 * 191 }}{% include 'page.js' %}<script>x</script>")
    assert "1337" not in page
    assert "<script>x" not in page


@pytest.mark.media
def test_published_detectors_are_accepted(shared: Path) -> None:
    for path in (shared / "weights").glob("yunet*.onnx"):
        assert read_onnx(path) == path.read_bytes()


def _says_other_sizes(name: str) -> onnx.ModelProto:
    """A model about which a runtime warns, quoting the name of a tensor."""
    model = _model(
        helper.make_node("Relu", ["frames"], [name]), helper.make_node("Relu", [name], ["logits"])
    )
    other = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 7])
    model.graph.value_info.append(other)
    return model


@pytest.mark.parametrize("name", ["plain", "\x1b[2J\x1b]0;owned\x07"])
def test_no_runtime_prints_text_from_a_model(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.onnx").write_bytes(_says_other_sizes(name).SerializeToString())
    messages = []
    for use in (load, YuNetDetector, _detector("scrfd")):
        try:
            use(tmp_path / "a.onnx")
        except ArtifactError as error:
            messages.append(error.message)
    assert len(messages) == 3 or name == "plain"
    assert all(message.isprintable() for message in messages)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "place", ["graph", "node", "operator", "domain", "tensor", "size", "input"]
)
def test_a_name_in_a_model_that_is_not_utf8_is_refused(place: str, tmp_path: Path) -> None:
    """protobuf gives such a name as bytes, not as text."""
    mark = "mark" * 3
    tensor = mark if place == "tensor" else "t"
    node = helper.make_node("Relu", ["frames"], [tensor])
    model = _model(node, helper.make_node("Relu", [tensor], ["logits"]))
    graph = model.graph
    if place == "graph":
        graph.name = mark
    elif place == "node":
        graph.node[0].name = mark
    elif place == "operator":
        graph.node[0].op_type = mark
    elif place == "domain":
        graph.node[0].domain = mark
    elif place == "size":
        graph.input[0].type.tensor_type.shape.dim[0].dim_param = mark
    elif place == "input":
        graph.input[0].name = mark
    content = model.SerializeToString().replace(mark.encode(), b"\xff\xfe" * 6)
    (tmp_path / "a.onnx").write_bytes(content)
    for use in (load, YuNetDetector, _detector("scrfd")):
        with pytest.raises(ArtifactError, match=r"refused: \S+ holds"):
            use(tmp_path / "a.onnx")
