"""Read an LLM's answer: JSON, even if wrapped in other text.

A server is not trusted: the length of an answer is bounded, and only a few places are tried.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dfercli.documents import end_of_json, parse_json

T = TypeVar("T")

MOST_LETTERS = 400_000
"""Longest answer to read."""
MOST_TEXT_LETTERS = 4_000
"""Longest text in an answer; a class text or a caption has a few hundred letters."""
MOST_TRIES = 64
"""Brackets in an answer at which JSON may begin."""

_OPENING = re.compile(r"[{\[]")
_THINKING = re.compile(r"(</?think>)", re.IGNORECASE)
_LANGUAGE = re.compile(r"\A[\w-]*\s*")


@dataclass(frozen=True)
class AnswerForm(Generic[T]):
    """The form that an answer must have.

    Attributes:
        name: Name of the form, for servers that need one.
        schema: Its JSON schema.
        read: Converts the JSON value for the caller; raises ValueError with the reason if it does
            not fit.
    """

    name: str
    schema: dict[str, Any]
    read: Callable[[Any], T]


def parse_answer(text: str, form: AnswerForm[T], clean: Callable[[str], str]) -> tuple[Any, T]:
    """Return the first JSON value in `text` that fits `form`, and what the form makes of it.

    Tries the whole text, then code fences, then every `{` or `[` in it.

    Args:
        text: The LLM's text.
        form: The expected form.
        clean: Applied to every text in the value, such as taking secrets out.

    Raises:
        ValueError: nothing in it fits; the message says why.
    """
    if len(text) > MOST_LETTERS:
        raise ValueError(f"it has {len(text)} letters, at most {MOST_LETTERS} are read")
    text = _without_thinking(text).strip()
    if not text:
        raise ValueError("it is empty")
    reason = "it holds no JSON"
    for candidate in _candidates(text):
        try:
            value = clean_texts(parse_json(candidate), clean)
            return value, form.read(value)
        except json.JSONDecodeError:
            continue
        except ValueError as error:
            reason = str(error)
    raise ValueError(reason)


def clean_texts(value: Any, clean: Callable[[str], str]) -> Any:
    """A JSON value with `clean` applied to every text in it, names included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [clean_texts(item, clean) for item in value]
    if isinstance(value, dict):
        return {clean(name): clean_texts(item, clean) for name, item in value.items()}
    return value


def bounded_text(text: str) -> str:
    """Refuse a text far longer than any usable one: counting its tokens would take minutes.

    Raises:
        ValueError: it is too long.
    """
    if len(text) > MOST_TEXT_LETTERS:
        raise ValueError(f"a text has {len(text)} letters, at most {MOST_TEXT_LETTERS} are read")
    return text


def _without_thinking(text: str) -> str:
    """Remove the text between `<think>` and `</think>`."""
    kept: list[str] = []
    thought: list[str] = []
    for part in _THINKING.split(text):
        mark = part.lower()
        if thought and mark == "</think>":
            thought = []
        elif thought or mark == "<think>":
            thought.append(part)
        else:
            kept.append(part)
    return "".join([*kept, *thought])


def _candidates(text: str) -> Iterator[str]:
    """Candidates for JSON: the whole text, code fences, then text from each bracket on."""
    yield text
    for fenced in text.split("```")[1 : 2 * MOST_TRIES : 2]:
        yield _LANGUAGE.sub("", fenced)
    position = 0
    for _ in range(MOST_TRIES):
        opening = _OPENING.search(text, position)
        if opening is None:
            return
        start = opening.start()
        try:
            position = end_of_json(text, start)
        except ValueError:
            position = start + 1
        else:
            yield text[start:position]
