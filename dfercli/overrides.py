"""Override a dataclass of defaults by settings from TOML files and `--set NAME=VALUE`."""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dfercli.documents import parse_toml, read_document
from dfercli.errors import ConfigError
from dfercli.typed import LARGEST_INT, describe, shown

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass(frozen=True)
class SplitBy:
    """Marks a tuple whose text is split in its own way: `Annotated[tuple[str, ...], SplitBy(f)]`.

    Attributes:
        split: Turns the text into entries; it may raise a ConfigError.
    """

    split: Callable[[str], list[str]]

    def __str__(self) -> str:
        return "with commas between"


class _TwiceError(ValueError):
    """A choice that comes twice in a list; the message says which."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing or not TOML.
    """
    try:
        return parse_toml(read_document(path, may_be_pipe=True))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"not valid TOML: {path}: {error}") from error


def override(
    config: ConfigT, values: Mapping[str, Any], *, where: str, literal: bool = False
) -> ConfigT:
    """Return `config` with `values` in place of its own; nested tables reach nested dataclasses.

    Values may be TOML values or strings, which are read as the type of their field. Every unknown
    name and every wrong type is reported, all at once.

    Args:
        config: A frozen dataclass; its fields may be dataclasses.
        values: Name -> value; the value of a dataclass field is a mapping.
        where: The origin of the values, for the message.
        literal: Take names literally: the word `none` is not None, and an empty text is refused.
            So it is for options of the command line, where None is an option left out, and in
            JSON, which has `null`. TOML has no such value: there, and after `--set`, `none` and
            an empty text stand for it.

    Raises:
        ConfigError: naming all that is wrong.
    """
    faults: list[str] = []
    result: ConfigT = _override(config, values, "", faults, literal)
    if faults:
        raise ConfigError(f"{where}: " + "; ".join(faults))
    return result


def check(config: Any, *, where: str) -> None:
    """Refuse a config whose values do not fit their fields, as `override` would.

    Raises:
        ConfigError: naming all that is wrong.
    """
    override(config, to_plain(config), where=where, literal=True)


def set_by_path(assignments: list[str]) -> dict[str, Any]:
    """Turn `["optim.batch_size=8"]` into `{"optim": {"batch_size": "8"}}`.

    Raises:
        ConfigError: assignments without `=`; all are named.
    """
    without_value = [text for text in assignments if not text.partition("=")[1]]
    if without_value:
        raise ConfigError(f"--set takes NAME=VALUE, got {', '.join(map(repr, without_value))}")
    nested: dict[str, Any] = {}
    for assignment in assignments:
        path, _, value = assignment.partition("=")
        *sections, name = path.strip().split(".")
        table = nested
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {assignment}: {section} was given a value before")
        table[name] = value.strip()
    return nested


def to_plain(config: Any) -> Any:
    """Return a config as JSON-ready values: tables, lists, strings and numbers."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            field.name: to_plain(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, Path):
        return str(config)
    if isinstance(config, (tuple, list)):
        return [to_plain(item) for item in config]
    return config


def _override(config: Any, values: Any, prefix: str, faults: list[str], literal: bool) -> Any:
    if not isinstance(values, Mapping):
        faults.append(f"{prefix.rstrip('.') or 'it'} is a table of settings, got {shown(values)}")
        return config
    kind: Any = type(config)
    hints = _hints(kind)
    known = [field.name for field in dataclasses.fields(config)]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        if name not in known:
            faults.append(f"unknown setting {path[:80]} (known: {', '.join(known)})")
        elif dataclasses.is_dataclass(hints[name]):
            nested = getattr(config, name)
            changes[name] = _override(nested, value, f"{path}.", faults, literal)
        else:
            try:
                changes[name] = _read_as(hints[name], value, literal)
            except _TwiceError as error:
                faults.append(f"{path}: {error}")
            except (TypeError, ValueError, OverflowError):
                faults.append(f"{path}: expected {describe(hints[name])}, got {_given(value)}")
    return dataclasses.replace(config, **changes)


def _given(value: Any) -> str:
    return shown(str(value) if isinstance(value, Path) else value)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _read_as(hint: Any, value: Any, literal: bool) -> Any:
    """Read `value` as the type `hint`; raise TypeError or ValueError if it does not fit."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, allowed = get_args(hint)
        if isinstance(allowed, SplitBy):
            entries = allowed.split(value) if isinstance(value, str) else value
            return _read_as(base, entries, literal)
        number = _read_as(base, value, literal)
        return number if allowed.accepts(number) else _refuse()
    if origin in (Union, types.UnionType):
        if type(None) in get_args(hint):
            if value is None or (value in ("none", "") and not literal):
                return None
            if value == "":
                _refuse()
        for option in get_args(hint):
            if option is not type(None):
                return _read_as(option, value, literal)
    if origin is Literal:
        for choice in get_args(hint):
            if str(choice) == str(value):
                return choice
        raise ValueError
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise TypeError
        entry = get_args(hint)[0]
        entries = tuple(_read_as(entry, item, literal) for item in items if item != "")
        return _each_once(entries) if get_origin(entry) is Literal else entries
    if hint is bool:
        words = {"true": True, "1": True, "false": False, "0": False}
        return words[str(value).lower()] if str(value).lower() in words else _refuse()
    if isinstance(value, bool):
        raise TypeError
    if hint is int:
        whole = int(value) if isinstance(value, (int, str)) else _refuse()
        return whole if abs(whole) <= LARGEST_INT else _refuse()
    if hint is float:
        number = float(value) if isinstance(value, (int, float, str)) else _refuse()
        return number if math.isfinite(number) else _refuse()
    if not isinstance(value, str if hint is str else (str, Path)) or "\0" in str(value):
        raise TypeError
    if hint is Path and str(value) == "-":  # `-` is a stream elsewhere; here it would be a file
        raise TypeError
    return hint(value)


def _each_once(choices: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list of choices; a repeated one would only be another name for the same setting."""
    for number, choice in enumerate(choices):
        if choice in choices[:number]:
            raise _TwiceError(f"{choice} comes twice")
    return choices


def _refuse() -> Any:
    raise TypeError
