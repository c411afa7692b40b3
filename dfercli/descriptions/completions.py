"""The body of an OpenAI-compatible server's answer: its text, or its fault."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dfercli.descriptions.answers import clean_texts
from dfercli.documents import dump_json, parse_json

SHOWN_LETTERS = 200
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
MOST_TOKENS = 10**9
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class Completion:
    """The content of a body.

    Attributes:
        raw: The body without secrets, as it may be stored.
        text: The LLM's text; empty if there is a fault.
        fault: The fault of the body.
        refusal: The server's words, if it answers with an error.
        status: The status in such an error.
        usage: Tokens that the server counted.
    """

    raw: str
    text: str = ""
    fault: str | None = None
    refusal: str | None = None
    status: int | None = None
    usage: dict[str, int] = field(default_factory=dict)


def read_completion(body: bytes, clean: Callable[[str], str]) -> Completion:
    """Read a body of any kind; `clean` removes secrets from its texts."""
    try:
        value = clean_texts(parse_json(body), clean)
    except ValueError as problem:
        raw = clean(body.decode("utf-8", errors="replace"))
        if isinstance(problem, json.JSONDecodeError):
            return Completion(
                raw, fault=f"the server sent no JSON (got: {in_one_line(raw)[:80] or 'nothing'})"
            )
        return Completion(raw, fault=f"the server's JSON cannot be used: {problem}")
    raw = dump_json(value)
    try:
        content = value["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        if isinstance(value, dict) and value.get("error"):
            error = value["error"]
            code = error.get("code") if isinstance(error, dict) else None
            status = code if type(code) is int and 400 <= code < 600 else None
            return Completion(raw, refusal=_words(value) or raw[:SHOWN_LETTERS], status=status)
        return Completion(raw, fault="the server's answer is not a chat completion")
    if content is None:
        content = ""
    if not isinstance(content, str):
        return Completion(raw, fault="the server's answer holds no text")
    counted = value.get("usage")
    counts = counted if isinstance(counted, dict) else {}
    usage = {
        name: counts[name]
        for name in COUNTS
        if type(counts.get(name)) is int and 0 <= counts[name] <= MOST_TOKENS
    }
    return Completion(raw, content, usage=usage)


def error_words(body: bytes, clean: Callable[[str], str]) -> tuple[str, bool]:
    """The words of an error's body in one line, and whether it is in JSON."""
    try:
        value = clean_texts(parse_json(body), clean)
    except ValueError:
        return in_one_line(clean(body.decode("utf-8", errors="replace"))), False
    return in_one_line(_words(value) or dump_json(value)), True


def in_one_line(text: str) -> str:
    """The start of a text or page, without tags and control characters."""
    start = _TAG.sub(" ", text[: 10 * SHOWN_LETTERS])
    printable = "".join(letter if letter.isprintable() else " " for letter in start)
    return " ".join(printable.split())[:SHOWN_LETTERS]


def _words(value: Any) -> str:
    """The message in an error: `error.message`, `error`, `message` or `detail`."""
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            return _words(value[name])
    return value if isinstance(value, str) else ""
