"""The artefacts that dfer reads: their place, their mutations, and the commands that read them."""

import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from fuzzing import binaries
from fuzzing import commands as by
from fuzzing.mutations import (
    change_bytes,
    change_json,
    change_rows,
    change_text,
    change_toml,
    hostile_names,
    replace_file,
    short,
)
from fuzzing.running import Case

SLOW = ("train", "eval", "export", "sweep")
HASHES = "content.jsonl"
LINK_BYTES = 100_000  # larger files are linked into a case, not copied


@dataclass(frozen=True)
class Artefact:
    """One kind of file.

    Attributes:
        name: In the table.
        seed: The file or folder among the seeds that is copied into the case.
        files: A glob of the files to mutate; empty if the seed is a file.
        how: json, rows, toml, text, bytes, npz, safetensors, torch, onnx or torchscript.
        commands: Takes the place of the copy and the seeds; gives command lines that read it.
        writes: Whether the commands may write into the copy.
    """

    name: str
    seed: str
    files: str
    how: str
    commands: by.Commands
    writes: bool = False


ARTEFACTS = (
    Artefact("store: dataset.json", "faces", "dataset.json", "json", by.store),
    Artefact("store: dataset.json, added to", "faces", "dataset.json", "json", by.made_again, True),
    Artefact("store: clips.jsonl", "faces", "clips.jsonl", "rows", by.store),
    Artefact("store: failures.jsonl", "faces", "failures.jsonl", "rows", by.store),
    Artefact("store: sources", "faces", "sources/*.json", "json", by.made_again, True),
    Artefact("store: sources, read", "faces", "sources/*.json", "json", by.store),
    Artefact("store: captions.jsonl", "faces", "captions.jsonl", "rows", by.captions),
    Artefact("store: parts.json", "faces", "parts.json", "json", by.streams),
    Artefact("store: tracks", "faces", "tracks/*.npz", "npz", by.store),
    Artefact("store: landmarks", "faces", "landmarks/*.npz", "npz", by.streams),
    Artefact("store: parsing", "faces", "parsing/*/*.png", "bytes", by.streams),
    Artefact("store: crops", "faces", "frames/*/*.jpg", "bytes", by.store),
    Artefact("model.json", "checkpoint", "model.json", "json", by.model),
    Artefact("model.safetensors", "checkpoint", "model.safetensors", "safetensors", by.model),
    Artefact("training_state.pt", "runs", "**/last/training_state.pt", "torch", by.resumed, True),
    Artefact("published .pth", "published.pth", "", "torch", by.published),
    Artefact("ONNX", "model.onnx", "", "onnx", by.exported),
    Artefact("TorchScript", "model.torchscript", "", "torchscript", by.exported),
    Artefact("run: config.json", "runs", "**/config.json", "json", by.run, True),
    Artefact("run: environment.json", "runs", "**/environment.json", "json", by.run, True),
    Artefact("run: metrics.jsonl", "runs", "**/metrics.jsonl", "rows", by.run, True),
    Artefact("run: result.json", "runs", "**/result.json", "json", by.run, True),
    Artefact("run: evaluation", "runs", "**/evaluation/*/*.json", "json", by.run, True),
    Artefact("run: predictions", "runs", "**/evaluation/*/*.jsonl", "rows", by.run, True),
    Artefact("run: model.json", "runs", "**/last/model.json", "json", by.run, True),
    Artefact("descriptions", "texts/texts.json", "", "json", by.texts),
    Artefact("descriptions, pn", "texts/pn.json", "", "json", by.texts),
    Artefact("classes.txt", "texts/classes.txt", "", "text", by.classes),
    Artefact("classes.json", "texts/classes.json", "", "json", by.classes),
    Artefact("LLM prompt", "texts/template.txt", "", "text", by.template),
    Artefact("labels.csv", "texts/labels.csv", "", "text", by.labels),
    Artefact("DFEW's lists", "dfew", "EmoLabel_DataSplit/**/*1.csv", "text", by.benchmark("dfew")),
    Artefact("FERV39k's lists", "ferv39k", "4_setups/**/*.csv", "text", by.benchmark("ferv39k")),
    Artefact("MAFW's lists", "mafw", "Train*/single/no_c*/set_1/*", "text", by.benchmark("mafw")),
    Artefact("list file", "list", "train.txt", "text", by.own_list),
    Artefact("order of labels", "list", "order.txt", "text", by.own_list),
    Artefact("--config", "texts/settings.toml", "", "toml", by.settings),
    Artefact("recipe", "texts/recipe.toml", "", "toml", by.recipe),
    Artefact("sweep", "texts/sweep.toml", "", "toml", by.sweep),
    Artefact(
        "journal of predict", "stopped", ".x.csv.work/journal.jsonl", "rows", by.journal, True
    ),
    Artefact("feature cache", "features", "**/*.safetensors", "safetensors", by.features, True),
    Artefact("LLM cache", "llm", "??/*.json", "json", by.llm_cache, True),
    Artefact("detector weights", "detector.onnx", "", "bytes", by.detector),
)


def artefact_case(name: str, number: int, seeds: Path, folder: Path, *, quick: bool) -> Case:
    """Make a case: a copy of one artefact, mutated, and a command that reads it.

    Args:
        name: The case's name, which seeds all chance.
        number: Picks the kind of artefact.
        seeds: The folder of seeds.
        folder: The case's own folder.
        quick: Skip commands that train or measure.
    """
    rng = random.Random(name)
    usable = [
        kind
        for kind in ARTEFACTS
        if (seeds / kind.seed).exists()
        and not (quick and all(command[0] in SLOW for command in kind.commands(seeds, seeds)))
    ]
    artefact = usable[number % len(usable)]
    outside = folder / "outside"
    copy = _copied(artefact, seeds, folder)
    path = copy if copy.is_file() else rng.choice(_files(copy, artefact.files))
    own = [path.stem]
    # A file that the user names may be a pipe, such as <(…) in a shell.
    said = replace_file(rng, path, outside, named=copy.is_file()) or mutate(
        rng, path, artefact.how, outside
    )
    if artefact.name == "store: sources":
        said += _as_if_changed(rng, path, outside)
    lines = artefact.commands(_named(artefact, copy), seeds)
    arguments = rng.choice([c for c in lines if not (quick and c[0] in SLOW)])
    if said == "100,000 lines" and arguments[0] == "train":
        arguments = lines[0]  # training on so many clips rightly takes hours
    kept = [outside, seeds / "checkpoint", seeds / "videos"]
    if artefact.seed == "faces":
        kept += [
            crops for crops in (copy / "frames").iterdir() if not crops.name.startswith(own[0])
        ]
    what = f"{path.relative_to(folder)}: {said}"
    writable = (copy,) if artefact.writes else ()
    if artefact.seed == "faces" and arguments[0] == "train":
        # It keeps the hashes of clips in the store, and must leave all else as it is.
        writable = (copy,)
        kept += [file for file in copy.rglob("*") if file.is_file() and file.name != HASHES]
    return Case(name, artefact.name, what, arguments, writable, tuple(kept), _nobody_serves)


def _nobody_serves() -> dict[str, str]:
    """An address without an LLM server: cached answers must suffice."""
    return {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}


def sound_case(name: str, number: int, seeds: Path, folder: Path, *, quick: bool) -> Case | None:
    """The number-th command over an intact artefact, which must succeed; None after the last.

    Without this check, a hunt might find nothing because everything is refused for another reason.
    """
    usable = [kind for kind in ARTEFACTS if (seeds / kind.seed).exists()]
    pairs = [
        (kind, n)
        for kind in usable
        for n, command in enumerate(kind.commands(seeds, seeds))
        if not (quick and command[0] in SLOW)
    ]
    if number >= len(pairs):
        return None
    artefact, which = pairs[number]
    copy = _copied(artefact, seeds, folder)
    arguments = artefact.commands(_named(artefact, copy), seeds)[which]
    if artefact.how == "torchscript" and arguments[0] == "predict":
        arguments = (*arguments, "--trust-code")
    writable = (copy,) if artefact.writes else ()
    kind = f"sound: {artefact.name}"
    return Case(name, kind, "as it was", arguments, writable, serve=_nobody_serves)


def _copied(artefact: Artefact, seeds: Path, folder: Path) -> Path:
    """Copy what a kind of case needs, and return where the artefact lies."""
    copy = folder / "in" / Path(artefact.seed).name
    if artefact.seed == "stopped":
        copy = folder / "out"  # the journal lies beside the table
    copy_seed(seeds / artefact.seed, copy)
    if artefact.seed == "faces":
        copy_seed(seeds / "videos", folder / "in" / "videos")
    if artefact.how == "torch" and artefact.seed == "runs":
        for result in copy.rglob("result.json"):
            result.unlink()  # else there is nothing to resume
    if artefact.name == "sweep":
        text = copy.read_text().replace("{out}", str(folder / "out" / "swept"))
        copy.write_text(text)
    return copy


def _named(artefact: Artefact, copy: Path) -> Path:
    """The path for the command line; of a folder of runs, the first run."""
    return copy / "first" if artefact.seed == "runs" else copy


def mutate(rng: random.Random, path: Path, how: str, outside: Path) -> str:
    """Mutate a file in place, in the way of its format."""
    if how == "npz":
        return binaries.change_npz(rng, path)
    if how == "torch":
        return binaries.change_torch_file(rng, path, outside)
    with_outside = {
        "safetensors": binaries.change_safetensors,
        "onnx": binaries.change_onnx,
        "torchscript": binaries.change_torchscript,
    }
    if how in with_outside:
        return with_outside[how](rng, path, outside)
    content = path.read_bytes()
    path.unlink()  # the file may be a link to a seed
    if how == "bytes":
        new, said = change_bytes(rng, content)
    else:
        change = {"json": change_json, "rows": change_rows, "toml": change_toml}
        new, said = change.get(how, change_text)(rng, content, outside)
    path.write_bytes(new)
    return said


def copy_seed(seed: Path, copy: Path) -> None:
    """Copy a file or folder with its times; large files are linked, as nobody writes into them."""
    copy.parent.mkdir(parents=True, exist_ok=True)

    def put(source: str, target: str) -> str:
        if os.path.getsize(source) > LINK_BYTES and not source.endswith((".pt", ".pth")):
            os.link(source, target)
        else:
            shutil.copy2(source, target)
        return target

    if seed.is_file():
        put(str(seed), str(copy))
    else:
        shutil.copytree(seed, copy, symlinks=True, copy_function=put, dirs_exist_ok=True)


def _files(folder: Path, pattern: str) -> list[Path]:
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not files:
        raise FileNotFoundError(f"no {pattern} in {folder}")
    return files


def _as_if_changed(rng: random.Random, path: Path, outside: Path) -> str:
    """Make a mutated record belong to a source that has changed since; dfer then removes it."""
    if not path.is_file():  # gone, or a pipe, which nobody writes to
        return ""
    try:
        record = json.loads(path.read_text())
        if rng.random() < 0.6:
            record["size_bytes"] = 1
        said = ""
        if rng.random() < 0.5:
            record["clips"][0]["clip_id"] = name = rng.choice(hostile_names(outside)[:10])
            said = f", clip_id = {short(name)}"
        path.write_text(json.dumps(record))
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""  # there is nothing left to change
    return f"{said}, of a source that changed"
