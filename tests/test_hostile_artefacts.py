"""Every reader of an artefact meets every field spoilt in every way.

A reader either accepts the file or ends with exit code 4 and one line that names the file and the
field: never with a traceback, never with a wrong value accepted in silence.
"""

import copy
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from stores import bright_and_dark_store
from toy_model import LABELS, write_toy_checkpoint
from trainings import Interrupting, small_config

from dfercli.artifacts import arrays
from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.captions import CaptionRow, read_captions
from dfercli.artifacts.clip_predictions import read_clip_predictions
from dfercli.artifacts.evaluation import read_metrics
from dfercli.artifacts.face_parts import read_landmarks
from dfercli.artifacts.face_store import (
    ClipRow,
    FailureRow,
    read_clips,
    read_dataset,
    read_failures,
    read_track,
)
from dfercli.artifacts.jsonl import read_typed_rows
from dfercli.artifacts.locks import Holder
from dfercli.artifacts.model_card import Architecture, read_model_card
from dfercli.artifacts.parts_record import parts_made
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.artifacts.run_config import read_train_config
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.artifacts.run_result import read_run_result
from dfercli.artifacts.store_writing import read_record
from dfercli.cli.app import run as dfer
from dfercli.config import TrainConfig
from dfercli.descriptions.cache import Answer, AnswerCache
from dfercli.descriptions.label_lists import read_label_list
from dfercli.descriptions.texts import read_texts, shipped_texts
from dfercli.errors import ArtifactError, ConfigError, DataError, DferError
from dfercli.inference.restore import restore_model
from dfercli.labels import SEVEN
from dfercli.metrics.rates import evaluate
from dfercli.models.clip_backbone import TOYS, clip_architecture
from dfercli.overrides import to_plain
from dfercli.prediction.journal import Journal
from dfercli.prediction.results_folder import read_record as read_results
from dfercli.report.card import card_rows
from dfercli.report.video_prediction import Moment, VideoPrediction
from dfercli.training import run as train
from dfercli.training.state import EPOCH_SCHEMA, EpochRow
from dfercli.training.sweep import plan
from dfercli.typed import typed
from dfercli.video.sources import source_signature

CLIP = ClipRow("a-0", "../a.mp4", 0, "joy", "anna", 3, 25.0, 0.0, 1.0, "haar").to_row()
FAILURE = FailureRow("../b.mp4", "decode", "broken").to_row()


def _metrics() -> dict[str, Any]:
    targets = np.arange(14) % 7
    probabilities = np.full((14, 7), 1 / 7)
    return json.loads(json.dumps(evaluate(probabilities, targets, SEVEN).to_json()))


@dataclass(frozen=True)
class Reader:
    """One artefact: its content, how it is read, which fields are free or may be absent."""

    file: str
    content: dict[str, Any]
    read: Callable[[Path], Any]
    free: str = r"^$"
    optional: str = r"^$"


READERS = (
    Reader(
        "dataset.json",
        {
            "schema": "dfer.face_store/1",
            "settings": {"size": 224},
            "versions": {"dfercli": "1"},
            "label_set": ["joy"],
        },
        lambda path: read_dataset(path.parent),
        free=r"^settings",
        optional="settings|versions|label_set",
    ),
    Reader("clips.jsonl", CLIP, lambda path: read_clips(path.parent)),
    Reader("failures.jsonl", FAILURE, lambda path: read_failures(path.parent)),
    Reader(
        "captions.jsonl",
        CaptionRow("a-0", "smiles", (0, 1), "m", "m", "s", 1, ("k",), "2026").to_row(),
        lambda path: read_captions(path.parent),
    ),
    Reader(
        "sources/a.json",
        {
            "schema": "dfer.source/1",
            "source": "../a.mp4",
            "size_bytes": 1,
            "modified_ns": 2,
            "num_frames": 3,
            "clips": [CLIP],
            "failure": FAILURE,
            "warnings": ["none"],
        },
        lambda path: read_record(path.parents[1], "a"),
        free=r"\.schema",
        optional=r"\.schema",
    ),
    Reader(
        ".lock.holder",
        {"process": 12, "host": "here", "since": "today", "command": "dfer"},
        lambda path: typed(Holder, read_json(path), str(path)),
    ),
    Reader(
        "parts.json",
        {"schema": "dfer.face_parts/1", "made": {"parsing": "segformer"}},
        lambda path: parts_made(path.parent),
        optional="made",
    ),
    Reader(
        "result.json",
        {
            "schema": "dfer.result/1",
            "dataset": "dfew",
            "method": "dfer-clip",
            "fold": 1,
            "official_split": True,
            "seed": 1,
            "checkpoint": "epoch-1",
            "selected_on": "val",
            "measured_on": "test",
            "evaluation": "dfew",
            "war": 0.5,
            "uar": 0.5,
        },
        read_run_result,
        optional="war|uar",
    ),
    Reader(
        "metrics.json",
        _metrics(),
        read_metrics,
        free="interval_percent|classes_without_clips|macro_f1",
        optional="interval_percent|classes_without_clips|macro_f1|war_method|uar_method",
    ),
    Reader(
        "metrics.jsonl",
        {"schema": EPOCH_SCHEMA, "epoch": 1},
        lambda path: list(read_typed_rows(path, EpochRow, schema=EPOCH_SCHEMA)),
    ),
    Reader(
        "predictions.jsonl",
        {
            "schema": "dfer.clip_prediction/1",
            "clip_id": "a",
            "label": "joy",
            "probabilities": {"joy": 0.5, "fear": 0.5},
        },
        lambda path: read_clip_predictions(path, ("joy", "fear")),
    ),
    Reader(
        "descriptions.json",
        shipped_texts(("joy", "fear"), "pn").to_json(),
        read_texts,
        free=r"^provenance",
        optional="style|provenance|negative",
    ),
    Reader(
        "run.json",
        {"schema": "dfer.results/1", "model": "toy", "folder": "/videos"},
        lambda path: read_results(path.parent),
    ),
    Reader(
        "config.json",
        {
            "schema": "dfer.train_config/1",
            **to_plain(TrainConfig()),
            "asked": {"optim": {"batch_size": 512}},
        },
        lambda path: read_train_config(FoldFolder(path.parent)),
        optional=".",
    ),
)


def paths_in(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value in nested tables and lists; of a list only the first entry."""
    entries: list[tuple[Any, Any]] = []
    if isinstance(content, dict):
        entries = list(content.items())
    elif isinstance(content, list) and content:
        entries = [(0, content[0])]
    for name, value in entries:
        yield (*path, name)
        yield from paths_in(value, (*path, name))


def dotted(path: tuple[Any, ...]) -> str:
    """A path as messages write it: `clips[0].label`."""
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return name.removeprefix(".")


def last_name(path: tuple[Any, ...]) -> str:
    """The field that a path belongs to."""
    return next(part for part in reversed(path) if isinstance(part, str))


def spoilt(content: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    place: Any = changed
    for name in path[:-1]:
        place = place[name]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


MISSING = object()
NESTED: Any = "deep"
for _ in range(40):
    NESTED = [NESTED]
SPOILERS: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "wrong": {"a table": [[1.5]]},
    "list": [[]],
    "text": "no such thing",
    "empty": "",
    "true": True,
    "huge": 10**4000,
    "negative": -(10**12),
    "many": 100_000_000,
    "float": 1.5,
    "infinite": "@1e999@",
    "path": "../../precious",
    "nul": "a\0b",
    "long": "x" * 10_000,
    "deep": NESTED,
}


def write(reader: Reader, folder: Path, content: Any) -> Path:
    path = folder / reader.file
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(content).replace('"@1e999@"', "1e999")
    path.write_text(f"{text}\n")  # a killed writer leaves a row without the line end
    if reader.file == "clips.jsonl":
        (folder / "dataset.json").write_text("{}")
    return path


def refusal(read: Callable[[], Any], path: Path) -> str | None:
    """The reader's message after the path; None if it reads. Checks what all messages share."""
    try:
        read()
    except DferError as refused:
        error = refused
    else:
        return None
    assert error.exit_code == 4, error.message
    assert str(path) in error.message
    assert "\n" not in error.message
    assert len(error.message) < 600 + len(str(path))
    return error.message.partition(str(path))[2]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.file)
def test_every_field_of_an_artefact_is_checked(reader: Reader, tmp_path: Path) -> None:
    path = write(reader, tmp_path, reader.content)
    assert refusal(lambda: reader.read(path), path) is None
    for place in paths_in(reader.content):
        name, field = dotted(place), last_name(place)
        for kind, value in SPOILERS.items():
            write(reader, tmp_path, spoilt(reader.content, place, value))
            said = refusal(lambda: reader.read(path), path)
            if re.search(reader.free, name):
                continue
            if kind == "missing":
                may_lack = isinstance(place[-1], int) or re.search(reader.optional, name)
                assert may_lack or (said is not None and field in said), (name, said)
            elif kind in ("wrong", "list", "huge", "infinite", "deep"):
                is_list = isinstance(value, list) and isinstance(_at(reader.content, place), list)
                assert said is not None, (name, kind)
                # The parser refuses a number that is not finite before it knows the fields.
                is_named = field in said or (kind == "infinite" and "1e999" in said)
                assert is_list or is_named, (name, kind, said)


def _at(content: Any, place: tuple[Any, ...]) -> Any:
    for name in place:
        content = content[name]
    return content


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.file)
@pytest.mark.parametrize("content", [None, 3, "text", [], [[]], {}, {"schema": []}])
def test_files_of_another_kind_are_refused(reader: Reader, content: Any, tmp_path: Path) -> None:
    path = write(reader, tmp_path, content)
    assert refusal(lambda: reader.read(path), path) is not None


def test_names_in_artefacts_that_become_paths_are_plain(tmp_path: Path) -> None:
    places = {
        "clips.jsonl": "clip_id",
        "captions.jsonl": "clip_id",
        "sources/a.json": "clips[0].clip_id",
        "result.json": "checkpoint evaluation",
    }
    for reader in READERS:
        for name in places.get(reader.file, "").split():
            place = ("clips", 0, "clip_id") if "[" in name else (name,)
            for hostile in ("../../x", "/etc", "", ".", "..", "a\0", "a/../b"):
                path = write(reader, tmp_path, spoilt(reader.content, place, hostile))
                said = refusal(lambda reader=reader, path=path: reader.read(path), path)
                assert said is not None, (name, hostile)
                assert f"{name}: expected text" in said


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_checkpoint(
        tmp_path_factory.mktemp("model") / "checkpoint",
        crop={"detector": "haar", "size": 80},
        trained_on={
            "dataset": "faces",
            "fold": 1,
            "official_split": False,
            "num_train": 3,
            "num_held_out": 1,
            "num_subjects": 2,
            "selection": "val",
            "seed": 1,
        },
        calibration={
            "temperature": 1.5,
            "fitted_on": "validation",
            "num_clips": 3,
            "ece_before": 0.2,
            "ece_after": 0.1,
            "min_confidence": 0.3,
            "min_confidence_rule": "best",
        },
        results={
            "measured_on": "test",
            "num_clips": 3,
            "war": 0.5,
            "war_interval": [0.4, 0.6],
            "uar": 0.5,
            "uar_interval": [0.4, 0.6],
        },
    )


def test_every_field_of_a_model_card_is_checked(checkpoint: Path) -> None:
    """Reading a card, or building a model from it, works as expected or is an error in one line."""
    path = checkpoint / "model.json"
    good = path.read_text()
    content = json.loads(good)
    must = re.compile(
        r"^(label_set|class_texts|image_size|sampling|calibration|results|trained_on|model"
        r"|backbone|backbone\.architecture\.\w+_cfg\.\w+|selected_on|schema)(\.|\[|$)"
    )
    try:
        for place in paths_in(content):
            name = dotted(place)
            for kind in ("missing", "null", "wrong", "list", "huge", "text", "deep", "infinite"):
                path.write_text(json.dumps(spoilt(content, place, SPOILERS[kind])))
                said = refusal(lambda: _use_card(checkpoint), path)
                is_table = isinstance(_at(content, place), dict)
                is_wrong = kind == ("deep" if is_table else "wrong")
                if is_wrong and must.search(name) and not name.startswith("model."):
                    assert said is not None, (name, kind)
                    assert last_name(place) in said, (name, kind, said)
    finally:
        path.write_text(good)
    restore_model(checkpoint)


def _use_card(checkpoint: Path) -> None:
    card = read_model_card(checkpoint)
    card_rows(card)
    card.calibration_of(("frames",))
    assert card.min_confidence >= 0


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("model", "num_frames"), 100_000_000, "model.json: num_frames: expected a whole number"),
        (("sampling", "num_frames"), 100_000_000, "sampling.num_frames: expected"),
        (("sampling", "num_frames"), 5, "sampling.num_frames: expected 4, as the model has, got 5"),
        (("image_size",), 10**6, "image_size: expected"),
        (("image_size",), 64, "image_size: expected 48"),
        (("model", "temporal_layers"), 10**6, "temporal_layers: expected"),
        (("model", "context_tokens"), 10**6, "context_tokens: expected"),
        (("model", "finecliper"), 3, "finecliper: expected a table"),
        (("model", "finecliper", "streams"), "frames", "streams: expected a list"),
        (("backbone", "architecture", "text_cfg", "width"), 10**9, "text_cfg.width: expected"),
        (("backbone", "architecture", "text_cfg", "layers"), 10**6, "text_cfg.layers: expected"),
        (("backbone", "architecture", "embed_dim"), 10**9, "embed_dim: expected"),
        (("backbone", "architecture", "embed_dim"), 65, "cannot be used|do not fit"),
        (("backbone", "architecture", "text_cfg", "heads"), 0, "cannot build"),
        (
            ("backbone", "architecture", "vision_cfg", "timm_model_name"),
            "hf-hub:stranger/model",
            "timm_model_name: expected text that is the name of a model",
        ),
        (("backbone", "architecture", "text_cfg", "hf_model_name"), "a/b", "hf_model_name: exp"),
        (
            ("backbone", "architecture", "vision_cfg", "timm_model_pretrained"),
            True,
            "timm_model_pretrained: expected one of False",
        ),
        (("backbone", "sha256"), MISSING, "backbone: missing sha256"),
        (("calibration", "temperature"), 0, "temperature: expected"),
        (("calibration", "temperature"), "hot", "temperature: expected a number"),
        (("label_set",), ["a", "a", "b"], "label_set: expected different labels"),
        (("class_texts",), ["a"], "as many class_texts"),
    ],
)
def test_a_model_is_not_built_from_an_impossible_card(
    place: tuple[str, ...], value: Any, said: str, checkpoint: Path
) -> None:
    path = checkpoint / "model.json"
    good = path.read_text()
    path.write_text(json.dumps(spoilt(json.loads(good), place, value)))
    try:
        with pytest.raises(ArtifactError, match=said) as caught:
            restore_model(checkpoint)
    finally:
        path.write_text(good)
    assert "model.json" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", [torch.float16, torch.float64, torch.int8, torch.complex64])
def test_weights_of_another_precision_are_rounded_but_numbers_of_another_kind_refused(
    kind: torch.dtype, checkpoint: Path
) -> None:
    path = checkpoint / "model.safetensors"
    good = path.read_bytes()
    weights = load_file(path)
    floats = {name: one.to(kind) for name, one in weights.items() if one.is_floating_point()}
    save_file({**weights, **floats}, path)
    try:
        if kind.is_floating_point:
            state = restore_model(checkpoint).module.state_dict()
            assert {one.dtype for one in state.values() if one.is_floating_point()} == {
                torch.float32
            }
        else:
            with pytest.raises(ArtifactError, match=f"holds {kind}, expected torch.float32"):
                restore_model(checkpoint)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"position": None}, "position: expected a table, got None"),
        ({"position": {"epoch": "one"}}, "position.epoch: expected a whole number, got 'one'"),
        ({"optimizer": {}}, "does not fit the model"),
        ({"optimizer": [1]}, "does not fit the model"),
    ],
)
def test_a_training_is_not_resumed_from_an_impossible_state(
    change: dict[str, Any], said: str, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = FoldFolder(begun / "fold-1").last / "training_state.pt"
    good = path.read_bytes()
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    try:
        assert dfer(["train", "--resume", str(begun)]) == 4
    finally:
        path.write_bytes(good)
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted."""
    folder = tmp_path_factory.mktemp("begun")
    store = bright_and_dark_store(folder / "faces", clips_per_class=4, frames=3)
    with pytest.raises(KeyboardInterrupt):
        train.run(small_config(store, folder / "runs"), Interrupting(after_steps=2))
    return folder / "runs" / "run"


def test_a_broken_journal_is_started_afresh(tmp_path: Path) -> None:
    out = tmp_path / ".table.csv.work"
    window = WindowPrediction("a", 0, 0.0, 1.0, "joy", 0.5, False, (0.5, 0.5), (0.0, 0.0, 1.0, 1.0))
    video = VideoPrediction(
        "a", ("joy", "fear"), (window,), ((0.0, 1.0),), None, (Moment(0, 0.5, "joy", 0.5, b"x"),)
    )
    source = tmp_path / "a"
    source.touch()
    found = VideoPrediction(str(source), *list(vars(video).values())[1:])
    Journal(out, "d").add(found, source_signature(source))
    header, row = (out / "journal.jsonl").read_text().splitlines()
    assert list(Journal(out, "d").done) == [str(tmp_path / "a")]
    content = json.loads(row)
    for place in paths_in(content):
        for kind in ("wrong", "huge", "missing"):
            spoilt_row = json.dumps(spoilt(content, place, SPOILERS[kind]))
            (out / "journal.jsonl").write_text(f"{header}\n{spoilt_row}\n")
            done = Journal(out, "d").done
            # an entry of a list, and fields that older rows lack
            may_lack = isinstance(place[-1], int) or place[-1] in ("person", "streams")
            assert done == {} or (kind == "missing" and may_lack), (place, kind)


def test_a_broken_answer_in_the_cache_is_ignored(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    answer = Answer("ab" * 32, {"a": 1}, {"b": 2}, ("raw",), {"total": 3}, "2026")
    cache.put(answer)
    assert cache.get(answer.key) == answer
    path = next(tmp_path.glob("*/*.json"))
    content = json.loads(path.read_text())
    for place in paths_in(content):
        for kind, value in SPOILERS.items():
            path.write_text(json.dumps(spoilt(content, place, value)))
            found = cache.get(answer.key)
            if kind == "wrong" and place[0] not in ("request", "parsed"):
                assert found is None, place


@pytest.mark.parametrize(
    "content",
    ["[" * 5000, '{"a": 1}', "[1]", '[{"name": 1}]', '[["a"]]', '{"a": "\\ud800"}', "[null]", "\0"],
)
def test_a_broken_list_of_classes_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"classes\.json"):
        read_label_list(str(path))


TOML = {
    "no table": "train = 3\ndata = 3\ngrid = 3\nfor = 3\n",
    "tables": "train.model = 3\nmodel = 3\ngrid.seed = 3\nfor.dfew = 3\n",
    "lists": "train.optim = [1]\noptim = [1]\ngrid.seed = []\nfor.dfew = [1]\n",
    "huge": "[train.model]\nnum_frames = 100000000\n[model]\nnum_frames = 100000000\n"
    "[grid]\n'model.num_frames' = [100000000]\n",
    "digits": f"train.seed = {'9' * 5000}\nseed = {'9' * 5000}\n",
    "dates": "train.name = 2026-01-01\nname = 2026-01-01\ngrid.name = [2026-01-01]\n",
    "infinite": "train.optim.lr_image = inf\noptim.lr_image = nan\n",
    "nul": 'train.out = "a\\u0000b"\nout = "a\\u0000b"\n',
    "deep": f"train = {'[' * 5000}{']' * 5000}\n",
    "long": f"train.{'x' * 5000} = 1\n{'x' * 5000} = 1\n",
}


@pytest.mark.parametrize("name", TOML)
def test_hostile_settings_are_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(TOML[name])
    for command in (
        ["train", "dfew", "--config", str(path)],
        ["train", "dfew", "--recipe", str(path)],
        ["sweep", str(path)],
    ):
        assert dfer(command) == 2, command
        message = capsys.readouterr().err
        assert "hostile.toml" in message, message
        assert len(message) < 1500


def test_a_sweep_of_a_million_runs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    numbers = list(range(1000))
    path.write_text(f'dataset = "dfew"\n[grid]\nseed = {numbers}\n"optim.epochs" = {numbers[1:]}\n')
    with pytest.raises(DferError, match="999000 combinations"):
        plan(path)


def _header(shape: str, kind: str) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


ARRAYS = {
    "pickle": (_header("(3,)", "|O"), "expected"),
    "text": (_header("(3,)", "<U5") + bytes(60), "expected"),
    "terabytes": (_header("(1000000000000,)", "<i8"), "0 bytes, expected 8000000000000"),
    "negative": (_header("(-1,)", "<i8"), "expected"),
    "scalar": (_header("()", "<i8") + bytes(8), "expected"),
    "wide": (_header("(3, 2)", "<i8") + bytes(48), "expected"),
    "structure": (
        _header("(3,)", "<i8").replace(b"'<i8'", b"[('a','<i8')]"),
        "frame_index|cannot read",
    ),
    "short": (_header("(3,)", "<i8") + bytes(8), "8 bytes, expected 24"),
    "long": (_header("(3,)", "<i8") + bytes(80), "80 bytes, expected 24"),
    "others": (_header("(2,)", "<i8") + bytes(16), "as many rows in each array"),
    "empty": (b"", "cannot read"),
    "no array": (b"PK" * 100, "cannot read"),
    "code": (_header("__import__('os').abort()", "<i8"), "cannot read"),
    "deep": (_header("(" * 3000 + ")" * 3000, "<i8"), "cannot read"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_hostile_arrays_are_refused_before_memory_is_allocated(name: str, tmp_path: Path) -> None:
    member, said = ARRAYS[name]
    path = tmp_path / "tracks" / "a.npz"
    path.parent.mkdir()
    arrays = {
        "pts_seconds": np.zeros(3),
        "box_xyxy_px": np.zeros((3, 4), np.float32),
        "score": np.zeros(3, np.float32),
    }
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("frame_index.npy", member)
    with pytest.raises(ArtifactError, match=said) as caught:
        read_track(tmp_path, "a")
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_bomb_of_zeros_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 4 << 20)
    path = tmp_path / "landmarks" / "a.npz"
    path.parent.mkdir()
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("landmarks_px.npy", "w") as file,
    ):
        file.write(_header("(9000, 68, 2)", "<f4"))
        for _ in range(5):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 15
    with pytest.raises(ArtifactError, match="landmarks_px: larger than 4 MiB"):
        read_landmarks(tmp_path, "a")
    stream = io.BytesIO()
    np.savez(stream, landmarks_px=np.zeros((2, 68, 2), np.float64))
    path.write_bytes(stream.getvalue())
    assert read_landmarks(tmp_path, "a").dtype == np.float32


def test_the_bounds_of_a_card_admit_every_known_clip(checkpoint: Path) -> None:
    assert read_model_card(checkpoint).label_set == LABELS
    checked = 0
    for name in [*open_clip.list_models(), *TOYS]:
        try:
            architecture = clip_architecture(name)
        except ConfigError:  # not a CLIP, or one whose text tower is not CLIP's own
            continue
        typed(Architecture, json.loads(json.dumps(architecture)), name)
        checked += 1
    assert checked > 50
