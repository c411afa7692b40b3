"""Which classes to describe: 7, 11, or a user's file."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfercli.documents import decoded, parse_json, read_document
from dfercli.errors import ConfigError, DataError
from dfercli.labels import ELEVEN, SEVEN
from dfercli.typed import shown


@dataclass(frozen=True)
class LabelList:
    """Classes to describe.

    Attributes:
        label_set: Their names in order.
        definitions: Name -> definition, for the classes that have one.
        name: Short name of the list, for file names: `7`, `11`, or the stem of the file.
    """

    label_set: tuple[str, ...]
    definitions: dict[str, str] = field(default_factory=dict)
    name: str = ""


def read_label_list(classes: str) -> LabelList:
    """Read `7`, `11`, or a file: one label per line (`#` starts a comment), or JSON.

    JSON is a list of names, a table of name -> definition, or a list of
    `{"name": …, "definition": …}`.

    Raises:
        ConfigError: no such file.
        DataError: no labels, one twice, or a broken file.
    """
    if classes == "7":
        return LabelList(SEVEN, name="7")
    if classes == "11":
        return LabelList(ELEVEN, name="11")
    path = Path(classes)
    try:
        content = decoded(read_document(path, may_be_pipe=True))
    except FileNotFoundError:
        raise ConfigError(f"--classes takes 7, 11 or a file, got {classes!r}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the list of classes {path}: {error}") from error
    if content.lstrip().startswith(("[", "{")):
        entries = _entries_from_json(path, content)
    else:
        lines = (line.partition("#")[0].strip() for line in content.splitlines())
        entries = [(line, "") for line in lines if line]
    names = [" ".join(name.split()) for name, _ in entries]
    if not names:
        raise DataError(f"{path} holds no class")
    for name in names:
        if ":" in name or not name.isprintable() or not any(map(str.isalpha, name)):
            raise DataError(
                f"{path}: {name!r} is not a class name (expected words)",
                hint='definitions go into a JSON file: {"awe": "wonder at something vast"}',
            )
    counts = Counter(name.casefold() for name in names)
    twice = sorted({name for name in names if counts[name.casefold()] > 1})
    if twice:
        raise DataError(f"{path} lists a class twice: {', '.join(twice[:5])}")
    definitions = {
        name: text for name, (_, text) in zip(names, entries, strict=True) if text.strip()
    }
    return LabelList(tuple(names), definitions, path.stem)


def _entries_from_json(path: Path, content: str) -> list[tuple[str, str]]:
    try:
        value = parse_json(content)
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error
    items: list[Any] = list(value.items()) if isinstance(value, dict) else value
    return [_entry(path, item) for item in items]


def _entry(path: Path, item: Any) -> tuple[str, str]:
    if isinstance(item, str):
        item = (item, "")
    elif isinstance(item, dict):
        item = (item.get("name"), item.get("definition", ""))
    if not (isinstance(item, tuple) and all(isinstance(part, str) for part in item)):
        raise DataError(
            f"{path}: expected a class name or a name with a definition, got {shown(item)}"
        )
    return item
