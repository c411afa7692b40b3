"""Where the LLM is, the key to it, and what its errors mean to the user."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dfercli.config import DescribeConfig
from dfercli.errors import ConfigError, DataError, ServiceError

NO_KEY = "no-key"
"""Sent to servers of one's own, which want none but whose client insists on one."""


class ServiceUnusableError(ServiceError):
    """The service refuses all requests alike: a wrong key, an unknown model, no server there."""


class RequestLimitError(DataError):
    """`--max-requests` requests have been sent; what was done is kept."""


@dataclass(frozen=True)
class LlmServer:
    """Where the LLM is, and the key to it.

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

    def redact(self, text: str) -> str:
        """Take the key and a password in the address out of a text."""
        for secret in (self.key, urlsplit(self.base_url or "").password):
            if secret and secret != NO_KEY:
                text = text.replace(secret, "(key)")
        return text


def server_from_environment(environment: Mapping[str, str]) -> LlmServer:
    """Read `OPENAI_BASE_URL` and `OPENAI_API_KEY`; a server of one's own needs no key.

    Raises:
        ConfigError: neither is set, or the address is none.
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
                "OPENAI_BASE_URL is no address of a server",
                hint="it looks like http://localhost:11434/v1",
            )
    if not key and base_url is None:
        raise ConfigError(
            "this needs an LLM, and there is no key for one",
            hint="set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own "
            "(Ollama, vLLM, llama.cpp)",
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError("OPENAI_API_KEY holds characters that no key has")
    return LlmServer(base_url, key or NO_KEY)


def service_error(
    error: Exception, server: LlmServer, model: str, config: DescribeConfig
) -> ServiceError:
    """Turn an error of the client into one line without secrets."""
    import openai

    at = f"{model} at {server.address}"
    said = server.redact(" ".join(_said(error).split()))[:200]
    if isinstance(error, openai.APITimeoutError):
        if "Connect" in type(error.__cause__).__name__:
            return _no_server(server)
        return ServiceError(
            f"{at}: no answer within {config.timeout_seconds:g} s, "
            f"tried {config.max_retries + 1} times",
            hint="raise --timeout, or lower --concurrency",
        )
    if isinstance(error, openai.APIConnectionError):
        if "Connect" in type(error.__cause__).__name__:
            return _no_server(server)
        return ServiceError(f"{at}: the connection broke, tried {config.max_retries + 1} times")
    if not isinstance(error, openai.APIStatusError):
        return ServiceError(f"{at}: {said}")
    status = error.status_code
    if status in (401, 403):
        return ServiceUnusableError(
            f"{at} refused the key ({status}): {said}", hint="check OPENAI_API_KEY"
        )
    if status == 404:
        return ServiceUnusableError(
            f"{at}: no such model or address (404): {said}",
            hint="--model names the model; OPENAI_BASE_URL usually ends in /v1",
        )
    if status == 429 and error.code == "insufficient_quota":
        return ServiceUnusableError(f"{at}: the account is used up (429): {said}")
    if status == 429:
        return ServiceError(
            f"{at}: too many requests (429), tried {config.max_retries + 1} times",
            hint="lower --rate or --concurrency and run it again",
        )
    if status >= 500:
        return ServiceError(f"{at} failed ({status}), tried {config.max_retries + 1} times: {said}")
    return ServiceError(
        f"{at} refused the request ({status}): {said}",
        hint="a model that takes no temperature or seed needs --no-sampling",
    )


def _no_server(server: LlmServer) -> ServiceUnusableError:
    return ServiceUnusableError(
        f"no LLM server answers at {server.address}",
        hint="start it, or correct OPENAI_BASE_URL",
    )


def _said(error: Exception) -> str:
    """The server's own words in an error, where it has some."""
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return body["message"]
    return str(error)
