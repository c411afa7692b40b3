"""Settings from TOML files and `--set NAME=VALUE` put over a dataclass of defaults."""

import dataclasses
import math
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dfercli.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass(frozen=True)
class Range:
    """Smallest and largest value of a setting, as `Annotated[int, Range(1)]`."""

    lowest: float
    highest: float = math.inf

    def __str__(self) -> str:
        if self.highest == math.inf:
            return f"of at least {self.lowest}"
        return f"from {self.lowest} to {self.highest}"


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {path}: {error}") from error


def override(config: ConfigT, values: Mapping[str, Any], *, where: str) -> ConfigT:
    """Return `config` with `values` in place of its own; nested tables reach nested dataclasses.

    Values may be TOML values or strings, which are read as the type of their field. Every unknown
    name and every wrong type is reported, all at once.

    Args:
        config: A frozen dataclass; its fields may be dataclasses.
        values: Name -> value; the value of a dataclass field is a mapping.
        where: What the values come from, for the message.

    Raises:
        ConfigError: naming all that is wrong.
    """
    faults: list[str] = []
    result = _override(config, values, "", faults)
    if faults:
        raise ConfigError(f"{where}: " + "; ".join(faults))
    return result


def check(config: Any, *, where: str) -> None:
    """Refuse a config whose values are not what their fields take, as `override` would.

    Raises:
        ConfigError: naming all that is wrong.
    """
    override(config, to_plain(config), where=where)


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


def _override(config: Any, values: Mapping[str, Any], prefix: str, faults: list[str]) -> Any:
    hints = get_type_hints(type(config), include_extras=True)
    known = [field.name for field in dataclasses.fields(config)]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        path = prefix + name
        if name not in known:
            faults.append(f"unknown setting {path} (known: {', '.join(known)})")
        elif dataclasses.is_dataclass(hints[name]):
            if isinstance(value, Mapping):
                changes[name] = _override(getattr(config, name), value, f"{path}.", faults)
            else:
                faults.append(f"{path} is a table of settings, got {value!r}")
        else:
            try:
                changes[name] = _read_as(hints[name], value)
            except (TypeError, ValueError):
                faults.append(f"{path}: expected {_describe(hints[name])}, got {value!r}")
    return dataclasses.replace(config, **changes)


def _read_as(hint: Any, value: Any) -> Any:
    """Read `value` as the type `hint`; raise TypeError or ValueError where it does not fit."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, allowed = get_args(hint)
        number = _read_as(base, value)
        return number if allowed.lowest <= number <= allowed.highest else _refuse()
    if origin in (Union, types.UnionType):
        if type(None) in get_args(hint) and (value is None or value in ("none", "")):
            return None
        for option in get_args(hint):
            if option is not type(None):
                return _read_as(option, value)
    if origin is Literal:
        for choice in get_args(hint):
            if str(choice) == str(value):
                return choice
        raise ValueError
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else list(value)
        return tuple(_read_as(get_args(hint)[0], item) for item in items if item != "")
    if hint is bool:
        words = {"true": True, "1": True, "false": False, "0": False}
        return words[str(value).lower()] if str(value).lower() in words else _refuse()
    if isinstance(value, bool):
        raise TypeError
    if hint is int:
        return int(value) if isinstance(value, (int, str)) else _refuse()
    if hint is float:
        number = float(value) if isinstance(value, (int, float, str)) else _refuse()
        return number if math.isfinite(number) else _refuse()
    if hint is Path:
        return Path(value)
    return value if isinstance(value, str) else _refuse()


def _refuse() -> Any:
    raise TypeError


def _describe(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        base, allowed = get_args(hint)
        return f"{_describe(base)} {allowed}"
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(hint))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(hint))
    if origin is tuple:
        return f"a list, each entry {_describe(get_args(hint)[0])}"
    names = {type(None): "none", str: "text", Path: "a path", int: "a whole number"}
    return {**names, float: "a number", bool: "true or false"}.get(hint, str(hint))
