"""`parts.json`: how the landmarks, parsing maps and regions beside it were made.

    {"schema": "dfer.face_parts/1", "made": {"landmarks": "2DFAN4-...", "parsing": "segformer ..."}}

It lies in a face store, or in the folder of the parts of a benchmark's copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dfercli.artifacts.atomic import is_temporary, read_json, write_json
from dfercli.errors import ConfigError
from dfercli.typed import typed

PARTS_SCHEMA = "dfer.face_parts/1"
PARTS_FILE = "parts.json"
PART_FOLDERS = ("landmarks", "parsing", "regions")
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class PartsRecord:
    """What `parts.json` says: how the parts were made, by folder."""

    made: dict[str, str] = field(default_factory=dict)


def parts_made(store: Path) -> dict[str, str]:
    """Read how the existing parts were made, by folder; `NOT_RECORDED` where that is unknown.

    Raises:
        ArtifactError: `parts.json` is broken.
    """
    path = store / PARTS_FILE
    made: dict[str, str] = {}
    if path.is_file():
        made = typed(PartsRecord, read_json(path), str(path), schema=PARTS_SCHEMA).made
    return {name: made.get(name, NOT_RECORDED) for name in PART_FOLDERS if _holds(store / name)}


def record_parts(store: Path, made: Mapping[str, str], dataset: str | None = None) -> None:
    """Record how parts are made, before the first one is written.

    Args:
        store: The folder.
        made: How, by folder.
        dataset: The benchmark whose parts these are; None in a face store.

    Raises:
        ConfigError: parts that are there were made in another way (listed).
    """
    before = parts_made(store)
    differences = [
        f"{name} {before[name]!r} -> {how!r}"
        for name, how in sorted(made.items())
        if before.get(name, how) != how
    ]
    if differences:
        raise ConfigError(
            f"{store} holds parts that were made in another way: {'; '.join(differences)}",
            hint="make them the same way, use another --out, or --overwrite",
        )
    about = {} if dataset is None else {"dataset": dataset}
    row = {"schema": PARTS_SCHEMA, **about, "made": {**before, **made}}
    write_json(store / PARTS_FILE, row)


def _holds(folder: Path) -> bool:
    return folder.is_dir() and any(not is_temporary(entry) for entry in folder.iterdir())
