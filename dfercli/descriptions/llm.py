"""Requests to an LLM: any server with the OpenAI protocol; cached, rate-limited and counted."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from dfercli.artifacts.cache_folder import cache_folder
from dfercli.config import DescribeConfig
from dfercli.descriptions.answers import AnswerForm, parse_answer
from dfercli.descriptions.cache import Answer, AnswerCache, request_key
from dfercli.descriptions.completions import Completion, in_one_line, read_completion
from dfercli.descriptions.llm_server import (
    LlmServer,
    RequestLimitError,
    open_client,
    refusal,
    server_from_environment,
    service_error,
)
from dfercli.descriptions.prompt_files import read_template, render
from dfercli.errors import ServiceError

T = TypeVar("T")

MOST_SENT_BACK = 4_000
"""Letters of a faulty answer that are sent back for repair, and paid for again."""


@dataclass
class Tally:
    """What a run has sent so far.

    Attributes:
        sent: Requests, without the client's own retries.
        from_cache: Requests that the cache answered.
        usage: Tokens that the server counted.
    """

    sent: int = 0
    from_cache: int = 0
    usage: dict[str, int] = field(default_factory=dict)


class Llm:
    """Sends requests to one server, through the cache; thread-safe."""

    def __init__(
        self,
        server: LlmServer,
        cache: AnswerCache,
        config: DescribeConfig,
        note: Callable[[str], None],
    ) -> None:
        self.server = server
        self.tally = Tally()
        self._cache = cache
        self._config = config
        self._note = note
        self._client = open_client(server, config)
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._schema_taken: bool | None = None  # None: not known yet

    def ask(
        self, prompt: str, form: AnswerForm[T], *, model: str, images: tuple[bytes, ...] = ()
    ) -> tuple[T, Answer]:
        """Return the answer as `form` reads it, and the answer itself.

        An answer that cannot be read is sent back once for repair.

        Args:
            prompt: The rendered prompt.
            form: The form of the answer.
            model: Name of the model.
            images: JPEG files.

        Raises:
            ServiceUnusableError: no request to this server can work.
            ServiceError: this request failed, or its answer cannot be read.
            RequestLimitError: the limit of requests is reached.
        """
        request = {
            "prompt": prompt,
            "images": [hashlib.sha256(image).hexdigest() for image in images],
            "model": model,
            "parameters": self._parameters(),
            "schema": form.schema,
        }
        key = request_key(request)
        with self._cache.locked(key):
            kept = None if self._config.refresh else self._cache.get(key)
            if kept is not None:
                try:
                    value = form.read(kept.parsed)
                except ValueError:
                    kept = None  # written by hand or by another version: ask again
                else:
                    with self._lock:
                        self.tally.from_cache += 1
                    return value, kept
            value, answer = self._ask_and_repair(key, request, prompt, form, model, images)
            self._cache.put(answer)
            return value, answer

    def _ask_and_repair(
        self,
        key: str,
        request: dict[str, Any],
        prompt: str,
        form: AnswerForm[T],
        model: str,
        images: tuple[bytes, ...],
    ) -> tuple[T, Answer]:
        first = self._send(prompt, form, model, images)
        asked = [first]
        try:
            parsed, value = self._parse(first, form)
        except ValueError as problem:
            again = prompt  # without an answer there is nothing to repair
            if first.fault is None:
                again = render(
                    read_template("repair.txt"),
                    "repair.txt",
                    prompt=prompt,
                    answer=first.text[:MOST_SENT_BACK] or "(nothing)",
                    problem=str(problem),
                    schema=json.dumps(form.schema),
                )
            second = self._send(again, form, model, images)
            asked.append(second)
            try:
                parsed, value = self._parse(second, form)
            except ValueError as error:
                got = (
                    "" if second.fault else f" (got: {in_one_line(second.text)[:80] or 'nothing'})"
                )
                raise ServiceError(
                    f"{model} at {self.server.address}: the answer cannot be read, even after "
                    f"asking again: {error}{got}"
                ) from None
        usage = {
            name: sum(completion.usage.get(name, 0) for completion in asked)
            for completion in asked
            for name in completion.usage
        }
        with self._lock:
            for name, number in usage.items():
                self.tally.usage[name] = self.tally.usage.get(name, 0) + number
        return value, Answer(
            key=key,
            request=request,
            parsed=parsed,
            raw=tuple(completion.raw for completion in asked),
            usage=usage,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _parse(self, completion: Completion, form: AnswerForm[T]) -> tuple[Any, T]:
        if completion.fault is not None:
            raise ValueError(completion.fault)
        return parse_answer(completion.text, form, self.server.redact)

    def _parameters(self) -> dict[str, Any]:
        if not self._config.send_sampling:
            return {}
        return {"temperature": self._config.temperature, "seed": self._config.seed}

    def _send(
        self, prompt: str, form: AnswerForm[Any], model: str, images: tuple[bytes, ...]
    ) -> Completion:
        """Send one request and return the server's answer."""
        import openai

        self._take_turn()
        message = {"role": "user", "content": _message_content(prompt, images)}
        arguments: dict[str, Any] = {"model": model, "messages": [message], **self._parameters()}
        response_format = {
            "type": "json_schema",
            "json_schema": {"name": form.name, "schema": form.schema, "strict": True},
        }
        create: Any = self._client.chat.completions.with_raw_response.create
        try:
            if self._schema_taken is not False:
                try:
                    response = create(**arguments, response_format=response_format).http_response
                    self._schema_taken = True
                    return self._read(response.content, model)
                except (openai.BadRequestError, openai.UnprocessableEntityError):
                    if self._schema_taken:
                        raise
            response = create(**arguments).http_response
        except openai.OpenAIError as error:
            raise service_error(error, self.server, model, self._config) from None
        with self._lock:
            if self._schema_taken is None:
                self._schema_taken = False
                self._note(f"{self.server.address} takes no JSON schema: asking for plain JSON")
        return self._read(response.content, model)

    def _read(self, body: bytes, model: str) -> Completion:
        completion = read_completion(body, self.server.redact)
        if completion.refusal is None:
            return completion
        # Gateways send errors with status 200.
        raise refusal(
            f"{model} at {self.server.address}",
            completion.status,
            in_one_line(completion.refusal),
            "asked once",
            is_json=True,
        )

    def _take_turn(self) -> None:
        """Count a request, and wait until the rate allows it."""
        with self._lock:
            limit = self._config.max_requests
            if limit is not None and self.tally.sent >= limit:
                raise RequestLimitError(
                    f"the limit of {limit} requests is reached",
                    hint="finished work is kept: run it again to continue, or raise --max-requests",
                )
            self.tally.sent += 1
            if self._config.rate is None:
                return
            start = max(self._next_start, time.monotonic())
            self._next_start = start + 60 / self._config.rate
        time.sleep(max(0.0, start - time.monotonic()))


def open_llm(
    config: DescribeConfig, environment: Mapping[str, str], note: Callable[[str], None]
) -> Llm:
    """Set up the LLM of the environment without sending anything.

    Raises:
        ConfigError: there is no key.
    """
    cache = AnswerCache(config.cache or cache_folder("llm"))
    return Llm(server_from_environment(environment), cache, config, note)


def _message_content(prompt: str, images: tuple[bytes, ...]) -> str | list[dict[str, Any]]:
    if not images:
        return prompt
    parts: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    for image in images:
        url = "data:image/jpeg;base64," + base64.b64encode(image).decode("ascii")
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts
