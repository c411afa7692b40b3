"""Untrusted JSON and TOML: refused unless bounded in size and depth, and unambiguous.

`parse_json` and `parse_toml` raise a ValueError with a brief reason; the caller adds the file and
knows whose error it is.
"""

import errno
import json
import math
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

MAX_DEPTH = 64
MAX_DOCUMENT_BYTES = 16 << 20
MAX_ROWS_BYTES = 1 << 30
BOM = b"\xef\xbb\xbf"


def read_document(path: Path, *, may_be_pipe: bool = False) -> bytes:
    """Read a file of at most `MAX_DOCUMENT_BYTES`.

    Args:
        path: The file.
        may_be_pipe: Also accept a pipe, such as a shell's `<(…)`, for files that a user names.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, or not a file.
    """
    with os.fdopen(_open_file(path, may_be_pipe), "rb") as file:
        content = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
    return content


def require_regular(path: Path) -> Path:
    """Refuse what is there and not a file: opening a pipe would wait forever for its writer.

    Raises:
        OSError: a folder, a pipe or a device.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path


def decoded(content: bytes, encoding: str = "utf-8-sig") -> str:
    """Decode the text that somebody wrote; a byte order mark is dropped.

    Raises:
        ValueError: other bytes, or a zero byte, which no text holds and no path can.
    """
    text = content.decode(encoding)
    if "\0" in text:
        raise ValueError(f"a zero byte in line {text[: text.index(chr(0))].count(chr(10)) + 1}")
    return text


def read_lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Read the lines of a file one by one.

    Yields:
        A line without its newline, and whether it had one: the last line of a truncated file
        has none.

    Raises:
        OSError: the file cannot be read.
        ValueError: it or one of its lines is too large, or it is not a file.
    """
    with os.fdopen(_open_file(path, may_be_pipe=False), "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_ROWS_BYTES:
            raise ValueError(f"larger than {MAX_ROWS_BYTES >> 20} MiB")
        while line := file.readline(MAX_DOCUMENT_BYTES + 1):
            if len(line) > MAX_DOCUMENT_BYTES:
                raise ValueError(f"a line is longer than {MAX_DOCUMENT_BYTES >> 20} MiB")
            yield line.removesuffix(b"\n"), line.endswith(b"\n")


def dump_json(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    r"""JSON that every reader takes, in which letters stay letters.

    Python holds bytes of file names that are not UTF-8 as halves of surrogate pairs; these are
    spelt out and read back as the letters `\udcff`.
    """
    text = json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=False)
    return text if text.isascii() else _HALVES.sub(_spelt_out, text)


def parse_json(content: bytes | str) -> Any:
    """Parse JSON that every reader understands alike.

    Raises:
        ValueError: not UTF-8, not JSON, nested deeper than `MAX_DEPTH`, a name twice in an object,
            a number that is not finite, or half of a surrogate pair.
    """
    text = _decode(content)
    try:
        value = DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _refuse_depth(value)
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value)
    return value


def end_of_json(text: str, start: int) -> int:
    """Where the JSON value that begins at `start` ends; its content is not checked.

    Raises:
        ValueError: none begins there.
    """
    try:
        return SCANNER.raw_decode(text, start)[1]
    except RecursionError:
        raise _too_deep() from None


def parse_toml(content: bytes | str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: not UTF-8, not TOML, or nested deeper than `MAX_DEPTH`.
    """
    if sys.version_info >= (3, 11):  # imported here, as workers that find faces read no TOML
        import tomllib
    else:
        import tomli as tomllib

    try:
        value = tomllib.loads(_decode(content))
    except RecursionError:
        raise _too_deep() from None
    _refuse_depth(value)
    return value


def _open_file(path: Path, may_be_pipe: bool) -> int:
    # Opening a pipe that nobody writes to would block forever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if may_be_pipe else os.O_NONBLOCK))
    kind = os.fstat(handle).st_mode
    if stat.S_ISREG(kind) or (may_be_pipe and (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind))):
        return handle
    os.close(handle)
    raise ValueError("a folder" if stat.S_ISDIR(kind) else "not a regular file")


def _decode(content: bytes | str) -> str:
    if isinstance(content, bytes):
        try:
            return content.removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 (at byte {error.start})") from None
    return content.removeprefix("\ufeff")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice[:60]!r} comes twice in an object")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
)
SCANNER = json.JSONDecoder()
_HALVES = re.compile("[\ud800-\udfff]")


def _spelt_out(half: re.Match[str]) -> str:
    return f"\\\\u{ord(half[0]):04x}"


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [outer for outer in level if isinstance(outer, dict | list)]
        if not containers:
            return
        level = [
            inner
            for outer in containers
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    raise _too_deep()


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair") from None


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {MAX_DEPTH} levels")
