"""Calls that can run what they read stand nowhere, or only in the one place named here."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dfercli"

# What no module may import: it runs what it reads, or reads without a bound.
FORBIDDEN_IMPORTS = frozenset(
    {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
    | {"tarfile", "ctypes", "xml", "pty"}
    # No bound in time and bytes on what a server sends.
    | {"requests", "httpx", "aiohttp", "http"}
)
FORBIDDEN_CALLS = frozenset(
    {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "shutil.unpack_archive"}
    | {"pd.read_pickle", "pandas.read_pickle", "pd.read_parquet", "pq.read_table"}
    | {"np.fromfile", "np.loadtxt", "np.genfromtxt", "torch.hub.load", "onnx.load"}
    | {"tempfile.mktemp", "torch.package.PackageImporter", "code.interact"}
    | {"urllib.request.urlopen", "urllib.request.urlretrieve", "httpx2.stream", "httpx2.get"}
    | {f"ElementTree.{name}" for name in ("parse", "fromstring", "XML", "XMLParser", "iterparse")}
    | {"torch.hub.load_state_dict_from_url", "torch.hub.download_url_to_file"}
)
FORBIDDEN_METHODS = frozenset({"extractall", "extract", "unpack_archive", "from_string"})
# Calls that belong to one place, and the file that holds them.
ONE_PLACE = {
    "torch.jit.load": {"inference/exported.py"},
    "torch.load": {"artifacts/torch_files.py"},
    "open_clip.load_checkpoint": {"models/clip_backbone.py"},
    "runtime.InferenceSession": {
        *("inference/exported.py", "inference/eight_bits.py"),
        "faces/yunet.py",  # models that read_onnx has checked
    },
    "onnx.load_model_from_string": {"artifacts/onnx_files.py"},
    "json.load": set(),
    "json.loads": set(),
    "json.JSONDecoder": {"documents.py"},
    "tomllib.loads": {"documents.py"},
    "tomllib.load": set(),
    "Environment": {"report/pages.py"},
    "httpx2.AsyncClient": {"artifacts/bounded_http.py"},
    "httpx2.Client": {"descriptions/llm_server.py"},
    "onnx.load": {"inference/onnx_writing.py"},  # files that it has just written
}
IMPORTED_IN = {
    "requests": {"artifacts/drive.py"},  # for the names of its errors, which gdown lets through
    "ctypes": {"processes.py"},  # for one call of the C library
    # to write; calls that read are forbidden
    "xml": {"report/formats/elan.py", "report/formats/label_studio.py"},
}
# What a call must contain.
MUST_SAY = {
    "torch.load": ("weights_only", True),
    "open_clip.load_checkpoint": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "np.save": ("allow_pickle", False),
    "Environment": ("autoescape", True),
    "torch.jit.load": ("map_location", None),
}
# The names by which calls of a module are recognised; another name would hide them.
USUAL_NAMES = ("np", "pd", "F")
LISTED = [name for name in (*ONE_PLACE, *MUST_SAY, *FORBIDDEN_CALLS) if "." in name]
MODULES_OF_CALLS = frozenset(name.rpartition(".")[0] for name in LISTED) | {"numpy", "pandas"}
OUT_OF_SIGHT = frozenset(LISTED) | {name for name in MODULES_OF_CALLS if "." in name}
MUST_NOT_SAY = {"shell": True, "trust_remote_code": True, "weights_only": False}


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call with its full name, such as `torch.load`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def faults(source: str, where: str) -> list[str]:
    """What is unsafe in a module."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            renamed = [a.name for a in node.names if a.asname not in (None, *USUAL_NAMES)]
            found += [f"{name} under another name" for name in renamed if name in MODULES_OF_CALLS]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            # `from torch import load` would go unnoticed below
            found += [f"import of {name}" for name in names[1:] if name in OUT_OF_SIGHT]
        packages = [name.partition(".")[0] for name in names]
        found += [
            f"import of {name}"
            for name in packages
            if name in FORBIDDEN_IMPORTS and where not in IMPORTED_IN.get(name, ())
        ]
    for name, call in calls(tree):
        told = {key.arg: key.value for key in call.keywords}
        values = {
            key: value.value for key, value in told.items() if isinstance(value, ast.Constant)
        }
        if name.endswith(".InferenceSession"):
            name = "runtime.InferenceSession"
        if name in ONE_PLACE:
            if where not in ONE_PLACE[name]:
                found.append(f"{name} outside its place")
        elif name in FORBIDDEN_CALLS or name.rpartition(".")[2] in FORBIDDEN_METHODS:
            found.append(f"call of {name}")
        if name in MUST_SAY:
            key, value = MUST_SAY[name]
            if key not in told or (value is not None and values.get(key) is not value):
                found.append(f"{name} without {key}={value}")
        if "from_pretrained" in name and values.get("local_files_only") is not True:
            found.append(f"{name} without local_files_only=True")
        found += [f"{key}={v} in {name}" for key, v in MUST_NOT_SAY.items() if values.get(key) is v]
    return found


def test_no_call_can_run_what_it_reads() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 200
    names = {path: str(path.relative_to(PACKAGE)) for path in modules}
    found = {name: faults(path.read_text(), name) for path, name in names.items()}
    assert {name: unsafe for name, unsafe in found.items() if unsafe} == {}


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.jit.load(path)",
        "from torch import jit",
        "from torch.jit import load",
        "from torch import load",
        "import torch as safe",
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "from xml.etree import ElementTree",
        "ElementTree.fromstring(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "jinja2.Template(text)\nEnvironment(autoescape=False)",
        "environment.from_string(text)",
        "shutil.unpack_archive(path)",
        "archive.extractall()",
        "subprocess.run(command, shell=True)",
        "eval(text)",
        "exec(text)",
        "json.load(file)",
        "json.loads(text)",
        "json.JSONDecoder().decode(text)",
        "from json import loads",
        "import requests",
        "from urllib.request import urlopen",
        "urllib.request.urlopen(url)",
        "httpx2.Client()",
        "tomllib.loads(text)",
        "Model.from_pretrained(name)",
        "open_clip.load_checkpoint(model, path)",
        "onnxruntime.InferenceSession(path)",
        "pd.read_pickle(path)",
    ],
)
def test_each_unsafe_call_would_be_noticed(source: str) -> None:
    assert faults(source, "stages/new.py") != []


def test_every_named_place_still_makes_its_call() -> None:
    for name, places in ONE_PLACE.items():
        for place in places:
            tree = ast.parse((PACKAGE / place).read_text())
            assert name in [called for called, _ in calls(tree)], f"{name} in {place}"


@pytest.mark.media
def test_no_library_tells_its_maker_what_runs_here(shared, tmp_path):
    """Left alone, ONNX Runtime keeps a number for the machine in the user's cache folder."""
    names = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "TMPDIR"), str(tmp_path))
    own = {name: value for name, value in os.environ.items() if name not in names}
    weights = str(shared / "weights" / "yunet_s_640_640.onnx")
    program = (
        "from pathlib import Path\n"
        "from dfercli.faces.yunet import YuNetDetector\n"
        f"YuNetDetector(Path({weights!r}))\n"
        f"import os; print([os.environ[name] for name in {names}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**own, **places},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['1', '1', '0']\n"
    assert list(tmp_path.iterdir()) == []
