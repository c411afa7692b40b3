"""The LLM's address and key, and its errors in the user's terms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx2

from dfercli.artifacts.bounded_http import BodyTooLargeError, check_proxies, exchange
from dfercli.config import DescribeConfig
from dfercli.descriptions.completions import error_words, in_one_line
from dfercli.errors import ConfigError, DataError, ServiceError

if TYPE_CHECKING:
    from openai import OpenAI

MOST_BYTES = 4 << 20
"""Largest body of an answer; one has a few thousand bytes."""

_OF_KEYS = re.compile(
    r"\bapi[ _-]?key|\b(invalid|incorrect|wrong|missing|no|bad|expired) (\w+ )?(key|token)\b"
    "|unauthori|authenti|authori[sz]|credential|bearer|access.token|forbidden|permission"
    r"|\blog(ged)?[ -]?in\b|\bsign[ -]?in\b",
    re.IGNORECASE,
)
_OF_SAMPLING = re.compile(r"temperature|\bseed\b|sampling", re.IGNORECASE)

NO_KEY = "no-key"
"""Sent to the user's own servers, which need none, because the client requires one."""


class ServiceUnusableError(ServiceError):
    """An error that usually affects all requests: a wrong key, an unknown model, no server."""


class RequestLimitError(DataError):
    """`--max-requests` requests have been sent; finished work is kept."""


@dataclass(frozen=True)
class LlmServer:
    """The address of the LLM and its key.

    Attributes:
        base_url: Address of an OpenAI-compatible server; None for OpenAI's own.
        key: The API key; never shown, not even by `repr`.
    """

    base_url: str | None
    key: str = field(repr=False)

    @property
    def address(self) -> str:
        """Host and port, without user names, passwords and paths."""
        parts = urlsplit(self.base_url or "https://api.openai.com")
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    @property
    def plain_url(self) -> str | None:
        """The address without user name and password, for clients that log it."""
        if self.base_url is None:
            return None
        parts = urlsplit(self.base_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    @property
    def login(self) -> tuple[str, str] | None:
        """User name and password in the address, if any."""
        parts = urlsplit(self.base_url or "")
        if parts.username is None:
            return None
        return unquote(parts.username), unquote(parts.password or "")

    def redact(self, text: str) -> str:
        """Remove the key and the address's login from a text."""
        parts = urlsplit(self.base_url or "")
        user, password = self.login or ("", "")
        # A user name alone is a secret: it may be a token.
        names = () if password else (user, parts.username)
        for secret in (self.key, password, parts.password, *names):
            if secret and secret != NO_KEY:
                text = text.replace(secret, "(key)")
        return text


def server_from_environment(environment: Mapping[str, str]) -> LlmServer:
    """Read `OPENAI_BASE_URL` and `OPENAI_API_KEY`; your own server needs no key.

    Raises:
        ConfigError: neither is set, or the address is invalid.
    """
    base_url = environment.get("OPENAI_BASE_URL", "").strip() or None
    key = environment.get("OPENAI_API_KEY", "").strip()
    if base_url is not None:
        try:
            parts = urlsplit(base_url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise ConfigError(
                "OPENAI_BASE_URL is not the address of a server",
                hint="it looks like http://localhost:11434/v1",
            )
        if parts.query or parts.fragment:
            raise ConfigError("OPENAI_BASE_URL takes no ? and no #, which no path can follow")
    if not key and base_url is None:
        raise ConfigError(
            "this needs an LLM, and there is no key for one",
            hint="set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own "
            "(Ollama, vLLM, llama.cpp)",
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError("OPENAI_API_KEY holds characters that a key cannot have")
    return LlmServer(base_url, key or NO_KEY)


class _Bounded(httpx2.BaseTransport):
    """Sends the client's requests."""

    def __init__(self, server: LlmServer, seconds: float) -> None:
        self._login = server.login
        self._seconds = seconds

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return exchange(request, seconds=self._seconds, most_bytes=MOST_BYTES, login=self._login)


def open_client(server: LlmServer, config: DescribeConfig) -> "OpenAI":
    """A client of the server; each request is bounded in time and bytes.

    Raises:
        ConfigError: the proxies of the environment cannot be used.
    """
    from openai import OpenAI

    check_proxies()
    transport = _Bounded(server, config.timeout_seconds)
    return OpenAI(
        api_key=server.key,
        base_url=server.plain_url,
        max_retries=config.max_retries,
        http_client=httpx2.Client(transport=transport, follow_redirects=False),
    )


def service_error(
    error: Exception, server: LlmServer, model: str, config: DescribeConfig
) -> ServiceError:
    """Turn an error of the client into one line without secrets."""
    import openai

    at = f"{model} at {server.address}"
    tried = f"tried {config.max_retries + 1} times"
    cause = error.__cause__
    if isinstance(error, openai.APIStatusError):
        said, is_json = error_words(error.response.content, server.redact)
        place = error.response.headers.get("location")
        if error.status_code < 400:
            where = f" to {in_one_line(server.redact(place))}" if place else ""
            return ServiceError(
                f"{at} redirects{where} ({error.status_code}), which is not followed",
                hint="correct OPENAI_BASE_URL, or check the proxy before it",
            )
        used_up = error.code == "insufficient_quota"
        return refusal(at, error.status_code, said, tried, is_json=is_json, used_up=used_up)
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout):
        return _no_server(server, in_one_line(server.redact(str(cause))))
    if isinstance(error, openai.APITimeoutError):
        return ServiceError(
            f"{at}: no answer within {config.timeout_seconds:g} s, {tried}",
            hint="raise --timeout, or lower --concurrency",
        )
    if isinstance(cause, BodyTooLargeError):
        return ServiceError(f"{at}: its answer has more than {MOST_BYTES >> 20} MB, {tried}")
    reason = in_one_line(server.redact(str(cause or error)))
    if isinstance(cause, httpx2.ProxyError):
        return ServiceUnusableError(
            f"the proxy before {server.address} refuses: {reason}",
            hint="see HTTPS_PROXY, HTTP_PROXY and ALL_PROXY",
        )
    return ServiceError(f"{at}: the connection broke ({reason}), {tried}")


def refusal(
    at: str, status: int | None, said: str, tried: str, *, is_json: bool, used_up: bool = False
) -> ServiceError:
    """Why a server refuses, by its status and its message."""
    number = "" if status is None else f" ({status})"
    words = f": {said}" if said else ""
    if status in (401, 403) and is_json:
        return ServiceUnusableError(
            f"{at} refused the key{number}{words}", hint="check OPENAI_API_KEY"
        )
    if status == 407:
        return ServiceUnusableError(
            f"{at}: the proxy wants a login{number}{words}", hint="see HTTPS_PROXY and HTTP_PROXY"
        )
    if status == 404:
        return ServiceUnusableError(
            f"{at}: no such model or address{number}{words}",
            hint="--model names the model; OPENAI_BASE_URL usually ends in /v1",
        )
    if status == 429 and used_up:
        return ServiceUnusableError(f"{at}: the account is used up{number}{words}")
    if status == 429:
        return ServiceError(
            f"{at}: too many requests{number}, {tried}",
            hint="lower --rate or --concurrency and run it again",
        )
    if status is not None and status >= 500:
        return ServiceError(f"{at} failed{number}, {tried}{words}")
    if _OF_SAMPLING.search(said):
        return ServiceError(
            f"{at} refused the request{number}{words}",
            hint="a model that takes no temperature or seed needs --no-sampling",
        )
    if status in (401, 403) or _OF_KEYS.search(said):
        return ServiceUnusableError(
            f"{at} refused the request{number}{words}",
            hint="check OPENAI_API_KEY, and what a proxy before the LLM wants",
        )
    if status is not None and not is_json:  # an LLM server reports errors as JSON
        return ServiceError(
            f"{at} refused the request{number}{words}",
            hint="a proxy may stand before the LLM: check OPENAI_BASE_URL and OPENAI_API_KEY",
        )
    return ServiceError(
        f"{at} refused the request{number}{words}",
        hint="check --model; some proxies report a wrong OPENAI_API_KEY like this, too",
    )


def _no_server(server: LlmServer, reason: str) -> ServiceUnusableError:
    return ServiceUnusableError(
        f"no LLM server answers at {server.address}{f' ({reason})' if reason else ''}",
        hint="start it, or correct OPENAI_BASE_URL",
    )
