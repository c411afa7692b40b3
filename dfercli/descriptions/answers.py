"""Reading an LLM's answer: JSON, also where it is wrapped in other text."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class AnswerForm(Generic[T]):
    """The form that an answer must have.

    Attributes:
        name: Name of the form, for servers that want one.
        schema: Its JSON schema.
        read: Turns the JSON value into what the caller wants; raises ValueError where it does not
            fit, with the reason.
    """

    name: str
    schema: dict[str, Any]
    read: Callable[[Any], T]


def parse_answer(text: str, form: AnswerForm[T]) -> tuple[Any, T]:
    """Return the first JSON value in `text` that fits `form`, and what the form makes of it.

    Tries the whole text, then code fences, then every `{` or `[` in it.

    Raises:
        ValueError: nothing in it fits; the message says why.
    """
    text = _THINKING.sub("", text).strip()
    if not text:
        raise ValueError("it is empty")
    reason = "it holds no JSON"
    for value in _json_values(text):
        try:
            return value, form.read(value)
        except ValueError as error:
            reason = str(error)
    raise ValueError(reason)


def _json_values(text: str) -> Iterator[Any]:
    for candidate in (text, *_FENCE.findall(text)):
        try:
            yield json.loads(candidate)
        except ValueError:
            continue
    decoder = json.JSONDecoder()
    position = 0
    while (opening := re.search(r"[{\[]", text[position:])) is not None:
        start = position + opening.start()
        try:
            value, end = decoder.raw_decode(text, start)
        except ValueError:
            position = start + 1
        else:
            yield value
            position = end
