"""Mutations of bytes, texts, JSON and TOML, each by a random generator.

Each returns the new content and a few words about the change.
"""

import copy
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Changed = tuple[bytes, str]

DEEP = 10_000
LONG = 100_000
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x1b[31m"
MARKUP = "<script>fuzz(1)</script>[bold]x[/bold][/]"
VICTIM = "victim"


def hostile_names(outside: Path) -> list[str]:
    """File names that a hostile person would choose; paths lead to `outside`, which is watched."""
    return [
        f"../../{VICTIM}",
        f"../../../{VICTIM}",
        str(outside / VICTIM),
        f"a/../../../{VICTIM}",
        "..",
        ".",
        "",
        " ",
        "a/b",
        "a\\b",
        "a\x00b",
        "n" * 300,
        "n" * LONG,
        "\ud800",
        "\udcff",
        ESCAPE,
        "two\nlines",
        "right\u202eleft",
        "\u0085\u009b31m",
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-1+1",
        "@SUM(1)",
        "-rf",
        "NUL",
        ".lock",
        MARKUP,
        "{{ 7 * 7 }}",
        "$HOME",
        "~",
        "https://user:secret@127.0.0.1:9/x",
    ]


def _values(rng: random.Random, outside: Path) -> Any:
    """A value that no reader expects."""
    names = hostile_names(outside)
    numbers = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 100_000_000)
    reals = (float("nan"), float("inf"), float("-inf"), 1e308, -0.0, 0.5, 1e-320)
    others: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": None}, "0", "1.5")
    pick = rng.random()
    if pick < 0.4:
        return rng.choice(names)
    if pick < 0.6:
        return rng.choice(numbers)
    if pick < 0.7:
        return rng.choice(reals)
    if pick < 0.75:
        return [rng.choice(names)] * rng.choice((1, 3, 5000))
    return copy.deepcopy(rng.choice(others))


def paths_in(tree: Any) -> list[tuple[Any, ...]]:
    """The paths in a JSON value, as keys and indices from the top."""
    found: list[tuple[Any, ...]] = [()]
    items: Any = ()
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    for key, value in items:
        found += [(key, *rest) for rest in paths_in(value)]
    return found


def change_tree(rng: random.Random, tree: Any, outside: Path) -> tuple[Any, str]:
    """Change a JSON value in one or a few places."""
    tree = copy.deepcopy(tree)
    said = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 5))):
        everything, *places = paths_in(tree)
        place = rng.choice(places) if places and rng.random() < 0.98 else everything
        if not place:
            tree = _values(rng, outside)
            said.append(f"all = {short(tree)}")
            continue
        holder = tree
        for key in place[:-1]:
            holder = holder[key]
        key = place[-1]
        where = ".".join(map(str, place))
        kind = rng.random()
        if kind < 0.22:
            del holder[key]
            said.append(f"no {short(where)}")
        elif kind < 0.3 and isinstance(holder, dict):
            name = rng.choice(hostile_names(outside))
            holder[name] = holder.pop(key)
            said.append(f"{short(where)} is called {short(name)}")
        elif kind < 0.36 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
            said.append(f"{short(where)} twice")
        elif kind < 0.42:
            holder[key] = {"a": holder[key]} if rng.random() < 0.5 else [holder[key]]
            said.append(f"{short(where)} wrapped")
        else:
            holder[key] = _values(rng, outside)
            said.append(f"{short(where)} = {short(holder[key])}")
    return tree, ", ".join(said)


def short(value: Any) -> str:
    """A value in at most 60 printable characters."""
    text = repr(value) if not isinstance(value, str) or not value.isprintable() else value
    return text if len(text) <= 60 else f"{text[:50]}… ({len(text)} characters)"


def change_json(rng: random.Random, content: bytes, outside: Path) -> Changed:
    """Change a JSON file: mostly a value in it, else the whole file."""
    if rng.random() < 0.25:
        return change_form(rng, content)
    tree, said = change_tree(rng, json.loads(content), outside)
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"), said


def change_rows(rng: random.Random, content: bytes, outside: Path) -> Changed:
    """Change a JSON lines file: mostly one row, else the whole file."""
    lines = content.splitlines()
    pick = rng.random()
    if not lines or pick < 0.15:
        return change_form(rng, content)
    number = rng.randrange(len(lines))
    if pick < 0.2:
        lines[number : number + 1] = [lines[number]] * rng.choice((0, 2, 3))
        return b"\n".join(lines) + b"\n", f"row {number + 1} doubled or gone"
    if pick < 0.3:
        lines[number], said = change_form(rng, lines[number])
        return b"\n".join(lines) + b"\n", f"row {number + 1}: {said}"
    tree, said = change_tree(rng, json.loads(lines[number]), outside)
    lines[number] = json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )
    return b"\n".join(lines) + b"\n", f"row {number + 1}: {said}"


def change_form(rng: random.Random, content: bytes) -> Changed:
    """Change the syntax of a JSON file, whatever its content."""
    cut = rng.randrange(len(content) + 1)
    ways: tuple[tuple[str, Callable[[], bytes]], ...] = (
        ("empty", lambda: b""),
        ("cut short", lambda: content[:cut]),
        ("a NUL byte", lambda: content[:cut] + b"\0" + content[cut:]),
        ("not UTF-8", lambda: content[:cut] + b"\xff\xfe\x80" + content[cut:]),
        ("UTF-16", lambda: content.decode("utf-8", "replace").encode("utf-16")),
        ("with a byte order mark", lambda: b"\xef\xbb\xbf" + content),
        ("lists in lists", lambda: b"[" * DEEP + b"]" * DEEP),
        ("tables in tables", lambda: b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        ("a list in its end", lambda: content.rstrip()[:-1] + b',"z":' + b"[" * DEEP),
        ("a number of many digits", lambda: b'{"schema": ' + b"9" * 50_000 + b"}"),
        ("null", lambda: b"null"),
        ("a number", lambda: b"17"),
        ("a text", lambda: b'"text"'),
        ("a list", lambda: b"[1, 2]"),
        ("an empty table", lambda: b"{}"),
        ("a long line", lambda: b'{"schema": "' + b"x" * 5_000_000 + b'"}'),
        ("twice", lambda: content + content),
        ("garbage", lambda: rng.randbytes(500)),
    )
    name, make = rng.choice(ways)
    return make(), name


TOML_VALUES = (
    *("nan", "inf", "-inf", "-1", "0", "100000000", "1e400", "9" * 5000, "true", '""', "[]", "{}"),
    *("[[[[]]]]", '"\\u001b[2J"', '"../../victim"', "1979-05-27", "'''x'''", '"x" # y', "[1, 'a']"),
    *("1", "2", "7", "0.5", "0.001", "false", '"last"', '"val"', '"auto"', '"all"', '"cpu"'),
    *("[" * DEEP + "]" * DEEP, '"' + "x" * LONG + '"', '"=cmd()"', "2026-01-01T00:00:00Z"),
)


def change_toml(rng: random.Random, content: bytes, outside: Path) -> Changed:
    """Change a TOML file: a value, a key, a table, or the whole file."""
    lines = content.decode().splitlines()
    settings = [number for number, line in enumerate(lines) if "=" in line]
    pick = rng.random()
    if pick < 0.2 or not settings:
        return change_text(rng, content, outside)
    number = rng.choice(settings)
    name, _, value = lines[number].partition("=")
    if pick < 0.7:
        new = rng.choice(TOML_VALUES)
        lines[number] = f"{name}= {new}"
        said = f"{name.strip()} = {short(new)}"
    elif pick < 0.78:
        dotted = ".".join(["a"] * rng.choice((3, 5000)))
        lines[number] = f"{dotted} = {value}"
        said = f"{name.strip()} under {short(dotted)}"
    elif pick < 0.86:
        key = rng.choice(hostile_names(outside)).encode("utf-8", "replace").decode()
        lines[number] = f"{json.dumps(key)} = {value}"
        said = f"{name.strip()} is called {short(key)}"
    elif pick < 0.93:
        lines.insert(number, lines[number])
        said = f"{name.strip()} twice"
    else:
        lines[number] = rng.choice((f"[{name.strip()}]", f"[[{name.strip()}]]", "[", "[[]]", "= 1"))
        said = f"{name.strip()} made {lines[number]}"
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"), said


def change_text(rng: random.Random, content: bytes, outside: Path) -> Changed:
    """Change a text, a list or a CSV file: a word, a line, or the whole file."""
    lines = content.split(b"\n")
    number = rng.randrange(len(lines))
    name = rng.choice(hostile_names(outside)).encode("utf-8", "surrogatepass")
    ways: tuple[tuple[str, Callable[[], bytes]], ...] = (
        ("empty", lambda: b""),
        ("a NUL byte", lambda: content[:5] + b"\0" + content[5:]),
        ("Latin-1", lambda: content + "é".encode("latin-1")),
        ("UTF-16", lambda: content.decode("utf-8", "replace").encode("utf-16")),
        ("a byte order mark", lambda: b"\xef\xbb\xbf" + content),
        ("a line of 5 MB", lambda: content + b"x" * 5_000_000),
        ("100,000 lines", lambda: content + (lines[number][:200] + b"\n") * LONG),
        ("only separators", lambda: b",,,,\n" * 50),
        ("an open quote", lambda: content + b'"' + content),
        ("garbage", lambda: rng.randbytes(2000)),
        ("cut short", lambda: content[: rng.randrange(len(content) + 1)]),
        ("carriage returns", lambda: content.replace(b"\n", b"\r")),
    )
    if rng.random() < 0.4:
        said, make = rng.choice(ways)
        return make(), said
    words = [match.span() for match in re.finditer(rb"[^\s,;]+", lines[number])]
    if words and rng.random() < 0.75:
        begin, end = rng.choice(words)
        lines[number] = lines[number][:begin] + name + lines[number][end:]
        said = f"a word of line {number + 1} = {short(name)}"
    elif rng.random() < 0.5:
        lines[number : number + 1] = [lines[number]] * rng.choice((0, 2))
        said = f"line {number + 1} gone or twice"
    else:
        lines.insert(number, name)
        said = f"line {number + 1} = {short(name)}"
    return b"\n".join(lines), said


def change_bytes(rng: random.Random, content: bytes) -> Changed:
    """Change a binary file: flip, insert or remove bytes, overwrite its header, cut it short."""
    if not content:
        return rng.randbytes(64), "random bytes"
    data = bytearray(content)
    size = len(data)
    pick = rng.random()
    if pick < 0.3:
        count = rng.choice((1, 3, 20, max(size // 100, 1)))
        for _ in range(count):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
        return bytes(data), f"{count} bits flipped"
    if pick < 0.5:
        for _ in range(rng.choice((1, 4, 12))):
            data[rng.randrange(min(size, 512))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        return bytes(data), "bytes of the header changed"
    if pick < 0.62:
        place = rng.randrange(max(size - 4, 1))
        new = rng.choice((0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**31))
        data[place : place + 4] = new.to_bytes(4, rng.choice(("little", "big")))
        return bytes(data), f"a number at {place} = {new}"
    if pick < 0.78:
        cut = rng.randrange(size)
        return bytes(data[:cut]), f"cut after {cut} of {size} bytes"
    if pick < 0.88:
        begin = rng.randrange(size)
        end = min(begin + rng.choice((1, 50, 2000)), size)
        if rng.random() < 0.5:
            del data[begin:end]
            return bytes(data), f"{end - begin} bytes taken out at {begin}"
        data[begin:end] = rng.randbytes(end - begin)
        return bytes(data), f"{end - begin} random bytes at {begin}"
    if pick < 0.94:
        return bytes(data) * 2, "twice"
    return rng.choice((b"", bytes(size), rng.randbytes(size), b"text\n" * 100)), "other content"


def replace_file(rng: random.Random, path: Path, outside: Path, *, named: bool) -> str | None:
    """Now and then, something else in place of a file; None leaves the file alone.

    Args:
        rng: Source of chance.
        path: The file.
        outside: Where a link may lead.
        named: Whether the user names it on the command line; then it never becomes a pipe.
    """
    if rng.random() > 0.05:
        return None
    path.unlink()
    kind = rng.choice(("a folder", "a link to nowhere", "a link to itself", "a link out", "a pipe"))
    if named and kind == "a pipe":
        kind = "a folder"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a link to nowhere":
        path.symlink_to("nowhere")
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    else:
        path.symlink_to(outside / VICTIM / "file.txt")
    return kind
