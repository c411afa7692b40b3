"""Read values from files as the types that the code expects: nothing is converted or guessed.

`typed(ClipRow, row, where)` reads a dataclass; TypedDicts, tuples, dicts, unions, literals and
`Annotated` types with a bound are read the same way. An error names the place of the wrong value.

pydantic's TypeAdapter would not be shorter: it converts values unless strict, and a strict one
refuses dataclasses, tuples and paths in parsed JSON. We would also have to rewrite its messages.
"""

import dataclasses
import math
import reprlib
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from dfercli.errors import ArtifactError

ValueT = TypeVar("ValueT")
Read = Callable[[Any], Any]

LARGEST_INT = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Range:
    """Smallest and largest value of a number, as `Annotated[int, Range(1)]`."""

    lowest: float
    highest: float = math.inf

    def accepts(self, value: float) -> bool:
        """Tell whether `value` lies in the range."""
        return self.lowest <= value <= self.highest

    def __str__(self) -> str:
        if self.highest == math.inf:
            return f"of at least {self.lowest}"
        return f"from {self.lowest} to {self.highest}"


class _MisfitError(Exception):
    """A value of the wrong type, and its path below the value being read.

    The message is made only on demand, as a union tries one type after another.
    """

    def __init__(self, hint: Any, value: Any, reason: str | None = None) -> None:
        super().__init__()
        self.hint = hint
        self.value = value
        self.reason = reason
        self.path = ""

    def __str__(self) -> str:
        return self.reason or f"expected {describe(self.hint)}, got {shown(self.value)}"

    def below(self, name: str) -> "_MisfitError":
        joint = "" if not self.path or self.path.startswith("[") else "."
        self.path = f"{name}{joint}{self.path}"
        return self


def typed(kind: Any, value: Any, where: str, *, field: str = "", schema: str | None = None) -> Any:
    """Return a `value` from JSON or TOML as a `kind`.

    Entries that a dataclass or a TypedDict does not have are ignored: a later version may have
    written them.

    Args:
        kind: A dataclass, or any other type in the annotations of our dataclasses.
        value: The value.
        where: The file and the row in it, for the message.
        field: The field of the value, if it is not the whole file or row.
        schema: The expected value of the entry `schema`.

    Raises:
        ArtifactError: it is something else; the message names the field, what was expected and
            what was found.
    """
    try:
        if schema is not None:
            _require_schema(value, schema)
        return _reader(kind)(value)
    except _MisfitError as error:
        path = error.below(field).path if field else error.path
        place = f"{where}: {path}" if path else where
        raise ArtifactError(f"{place}: {error}") from None


def describe(hint: Any) -> str:
    """Describe the values of a type, for messages."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *bounds = get_args(hint)
        return " ".join([describe(base), *map(str, bounds)])
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(hint))
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(hint))
    if origin in (tuple, list):
        items = get_args(hint)
        if origin is tuple and items[-1] is not Ellipsis:
            return f"a list of {len(items)} values"
        return f"a list, each entry {describe(items[0])}"
    if origin is dict or hint is dict or dataclasses.is_dataclass(hint) or is_typeddict(hint):
        return "a table"
    names = {type(None): "none", str: "text", Path: "a path", int: "a whole number"}
    return {**names, float: "a number", bool: "true or false"}.get(hint, str(hint))


def shown(value: Any) -> str:
    """Show an untrusted value in a message: short, however large or deep it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    short.maxlevel = 2
    return short.repr(value)


def _require_schema(value: Any, schema: str) -> None:
    if not isinstance(value, dict):
        raise _MisfitError(dict, value)
    if value.get("schema") != schema:
        found = shown(value.get("schema"))
        raise _MisfitError(dict, value, f"expected schema {schema}, got {found}")


@cache
def _reader(hint: Any) -> Read:
    """The function that reads a type; made once per type."""
    origin = get_origin(hint)
    if hint is Any:
        return lambda value: value
    if origin is Annotated:
        return _bounded(hint)
    if origin in (Union, types.UnionType):
        return _union(hint)
    if origin is Literal:
        choices = get_args(hint)
        return _accepting(hint, lambda value: any(_same(value, choice) for choice in choices))
    if origin in (tuple, list):
        return _sequence(hint)
    if origin is dict:
        return _mapping(hint)
    if dataclasses.is_dataclass(hint) or is_typeddict(hint):
        return _record(hint)
    return _plain(hint)


def _plain(hint: Any) -> Read:
    if hint is int:
        return _accepting(hint, lambda v: type(v) is int and -LARGEST_INT <= v <= LARGEST_INT)
    if hint is float:
        return _number
    if hint is Path:
        is_path = _accepting(hint, lambda v: type(v) is str and v != "" and "\0" not in v)
        return lambda value: Path(is_path(value))
    if hint in (str, bool, type(None), dict):
        return _accepting(hint, lambda value: type(value) is hint)
    raise TypeError(f"no values of type {hint} are read from files")


def _accepting(hint: Any, accepts: Callable[[Any], bool]) -> Read:
    def read(value: Any) -> Any:
        if not accepts(value):
            raise _MisfitError(hint, value)
        return value

    return read


def _number(value: Any) -> float:
    fits = type(value) is float or (type(value) is int and abs(value) <= LARGEST_INT)
    if not fits or not math.isfinite(value):
        raise _MisfitError(float, value)
    return float(value)


def _same(value: Any, choice: Any) -> bool:
    return type(value) is type(choice) and value == choice


def _bounded(hint: Any) -> Read:
    base, *bounds = get_args(hint)
    read_base = _reader(base)

    def read(value: Any) -> Any:
        try:
            found = read_base(value)
        except _MisfitError as error:
            raise error if error.path else _MisfitError(hint, value) from None
        for bound in bounds:
            if not bound.accepts(found):
                raise _MisfitError(hint, value)
        return found

    return read


def _union(hint: Any) -> Read:
    options = [_reader(option) for option in get_args(hint)]

    def read(value: Any) -> Any:
        faults = []
        for option in options:
            try:
                return option(value)
            except _MisfitError as error:
                faults.append(error)
        # The closest type gives the most helpful message.
        nearest = max(faults, key=lambda fault: (len(fault.path), fault.reason is not None))
        raise nearest if nearest.path or nearest.reason else _MisfitError(hint, value)

    return read


def _sequence(hint: Any) -> Read:
    items, build = get_args(hint), get_origin(hint)
    each = [_reader(item) for item in items if item is not Ellipsis]
    is_fixed = build is tuple and Ellipsis not in items

    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple) or (is_fixed and len(value) != len(each)):
            raise _MisfitError(hint, value)
        readers = each if is_fixed else each * len(value)
        found = []
        for index, (reader, entry) in enumerate(zip(readers, value, strict=True)):
            try:
                found.append(reader(entry))
            except _MisfitError as error:
                raise error.below(f"[{index}]") from None
        return build(found)

    return read


def _mapping(hint: Any) -> Read:
    read_name, read_entry = map(_reader, get_args(hint))

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _MisfitError(hint, value)
        found = {}
        for name, entry in value.items():
            try:
                found[read_name(name)] = read_entry(entry)
            except _MisfitError as error:
                raise error.below(shown(name).strip("'")) from None
        return found

    return read


def _record(kind: Any) -> Read:
    """Read a dataclass, or a TypedDict, which keeps the entries that it does not name."""
    hints = get_type_hints(kind, include_extras=True)
    is_table = is_typeddict(kind)
    if is_table:
        required = set(kind.__required_keys__)
    else:
        required = {entry.name for entry in dataclasses.fields(kind) if _is_required(entry)}
    readers = {name: _reader(hint) for name, hint in hints.items()}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _MisfitError(kind, value)
        missing = [name for name in hints if name in required and name not in value]
        if missing:
            raise _MisfitError(kind, value, f"missing {', '.join(missing)}")
        found = dict(value) if is_table else {}
        for name, reader in readers.items():
            if name in value:
                try:
                    found[name] = reader(value[name])
                except _MisfitError as error:
                    raise error.below(name) from None
        return found if is_table else kind(**found)

    return read


def _is_required(entry: "dataclasses.Field[Any]") -> bool:
    missing = dataclasses.MISSING
    return entry.default is missing and entry.default_factory is missing
