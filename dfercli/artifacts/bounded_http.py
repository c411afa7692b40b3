"""HTTP with bounds: an exchange ends within its time and its bytes, whatever the server does.

The timeout of a socket bounds one read, so a server that drips bytes holds its client for ever.
Here a whole exchange (name, connection, TLS, headers, body) is a task of its own event loop,
which is cancelled when its time is up. Bodies are counted as they arrive. Nothing is unpacked,
only downloads follow redirects, and cookies are not kept.
"""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import anyio
import httpx2

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.artifacts.network import CONNECT_SECONDS, STALL_BYTES, STALL_SECONDS, blamed
from dfercli.artifacts.own_loop import run_in_own_loop
from dfercli.errors import ArtifactError, ConfigError
from dfercli.typed import typed

T = TypeVar("T")
OnBytes = Callable[[int, int | None], None]

MOST_REDIRECTS = 5
PROXY_WANTS_A_LOGIN = 407
_PLAIN = {"Accept-Encoding": "identity"}
_KEPT_HEADERS = ("location", "retry-after", "retry-after-ms", "x-should-retry")
_PAGES = (b"<!doctype", b"<html")
_BROKEN = (
    *(httpx2.InvalidURL, httpx2.StreamError, ssl.SSLError, ConnectionError, EOFError, ValueError),
    *(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError),
)
"""Errors of a broken connection that the client raises besides its own `RequestError`."""


class BodyTooLargeError(httpx2.ReadError):
    """A body is larger than its bound."""


class DownloadError(Exception):
    """A file could not be downloaded; the message says why.

    Attributes:
        status: The status of the server's refusal, if it refused.
        retry_after: The wait that it asks for, in its own words.
    """

    def __init__(
        self, message: str, status: int | None = None, retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the server refused only for now."""
        return self.status is not None and (self.status in (408, 429) or self.status >= 500)


class FileTooLargeError(DownloadError):
    """The file is larger than its bound; another attempt would not change that."""


def exchange(
    request: httpx2.Request,
    *,
    seconds: float,
    most_bytes: int,
    login: tuple[str, str] | None = None,
) -> httpx2.Response:
    """Send a request and return the whole answer, with few of its headers.

    Args:
        request: The request.
        seconds: Longest time for all of it.
        most_bytes: Most bytes of the body.
        login: User name and password for the server.

    Raises:
        httpx2.RequestError: it failed: no connection, too late, too large, broken.
        ConfigError: the proxies or certificates that the environment names cannot be used.
    """
    request.headers.update(_PLAIN)
    # Less than the whole time, to tell a missing server from one that does not answer.
    request.extensions["timeout"] = {"connect": min(CONNECT_SECONDS, 0.8 * seconds)}
    url = str(request.url)
    try:
        with_bound = asyncio.wait_for(_exchange(request, most_bytes, login), seconds)
        return run_in_own_loop(with_bound)
    except asyncio.TimeoutError:
        said = blamed(f"no answer within {seconds:g} s", url)
        raise httpx2.ReadTimeout(said, request=request) from None
    except BodyTooLargeError:
        raise
    except httpx2.RequestError as error:
        raise type(error)(blamed(str(error), url), request=request) from error
    except _BROKEN as error:
        said = blamed(str(error) or type(error).__name__, url)
        raise httpx2.ReadError(said, request=request) from error


def download(
    url: str,
    target: Path,
    *,
    most_bytes: int,
    resume: bool = False,
    on_bytes: OnBytes | None = None,
) -> str:
    """Download `url` to `target`; return the SHA-256 in hexadecimal.

    Redirects may lead only to https, or from http to http. A page (HTML) is not a file.

    Args:
        url: An address of http or https.
        target: The file; its content is replaced.
        most_bytes: A bound above the size of the file; the download ends there.
        resume: Go on where an earlier download of the same version of the file ended. The
            version is recorded beside `target` until the file is whole.
        on_bytes: Called with the bytes so far, and with those of the whole file if the
            server says so.

    Raises:
        FileTooLargeError: it is larger than `most_bytes`.
        DownloadError: it failed or stalled.
        OSError: `target` cannot be written.
        ConfigError: the proxies or certificates that the environment names cannot be used.
    """
    try:
        return run_in_own_loop(_download(url, target, most_bytes, resume, on_bytes))
    except BodyTooLargeError as error:
        raise FileTooLargeError(str(error)) from error
    except FileTooLargeError:
        raise
    except (DownloadError, httpx2.RequestError, *_BROKEN) as error:
        status = error.status if isinstance(error, DownloadError) else None
        if status not in (None, PROXY_WANTS_A_LOGIN):
            raise  # the server itself has answered
        said = blamed(str(error) or type(error).__name__, url)
        raise DownloadError(said, status) from error


def version_path(target: Path) -> Path:
    """The record of a resumable download: the version of the file of which `target` is a part."""
    return target.with_name(f"{target.name}.version")


def check_proxies() -> None:
    """Check the proxies and certificates of the environment.

    Raises:
        ConfigError: it cannot be used.
    """
    _client()


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _client(login: tuple[str, str] | None = None) -> httpx2.AsyncClient:
    """A client that knows the proxies of the environment; it serves one exchange."""
    try:
        return httpx2.AsyncClient(
            auth=login, verify=_certificates(), follow_redirects=False, timeout=None
        )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"the proxy or the certificates of the environment cannot be used: {error}",
            hint="see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from None


async def _exchange(
    request: httpx2.Request, most_bytes: int, login: tuple[str, str] | None
) -> httpx2.Response:
    async with _client(login) as client:
        response = await client.send(request, stream=True)
        try:
            _refuse_packed(response)
            body = b"".join([part async for part in _bounded(response, most_bytes)])
        finally:
            await response.aclose()
    # The body is read as UTF-8, whatever character set a server may make up.
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return httpx2.Response(response.status_code, headers=headers, content=body, request=request)


async def _download(
    url: str, target: Path, most_bytes: int, resume: bool, on_bytes: OnBytes | None
) -> str:
    place = httpx2.URL(url)
    part = _Part.of(url, target, most_bytes) if resume else None
    headers = {**_PLAIN, **(part.headers() if part is not None else {})}
    async with _client() as client:
        for _ in range(MOST_REDIRECTS + 1):
            request = client.build_request(
                "GET", place, headers=headers, extensions={"timeout": {"connect": CONNECT_SECONDS}}
            )
            sending = client.send(request, stream=True)
            try:
                response = await asyncio.wait_for(sending, STALL_SECONDS)
            except asyncio.TimeoutError:
                raise DownloadError(f"no answer within {STALL_SECONDS:g} s") from None
            try:
                if not response.has_redirect_location:
                    return await _store(response, target, most_bytes, part, on_bytes)
                place = _next_place(place, response.headers["location"])
            finally:
                await response.aclose()
    raise DownloadError(f"it redirects more than {MOST_REDIRECTS} times")


def _next_place(place: httpx2.URL, location: str) -> httpx2.URL:
    following = place.join(location)
    if following.scheme != "https" and not (following.scheme == place.scheme == "http"):
        raise DownloadError(
            f"it redirects from {place.scheme} to {following.scheme}, which is refused"
        )
    return following


def _refuse_packed(response: httpx2.Response) -> None:
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing != "identity":
        raise httpx2.DecodingError(
            f"the body is packed ({packing[:20]}), which was not asked for",
            request=response.request,
        )


async def _bounded(response: httpx2.Response, most_bytes: int) -> AsyncIterator[bytes]:
    received = 0
    async for part in response.aiter_raw():
        received += len(part)
        if received > most_bytes:
            raise BodyTooLargeError(f"more than {most_bytes} bytes", request=response.request)
        yield part


@dataclass(frozen=True)
class _Version:
    """The file and version of a part."""

    url: str
    validator: str


@dataclass(frozen=True)
class _Part:
    """The part of a file that an earlier download left, and its version."""

    url: str
    target: Path
    held: int
    validator: str

    @property
    def beside(self) -> Path:
        return version_path(self.target)

    @classmethod
    def of(cls, url: str, target: Path, most_bytes: int) -> "_Part":
        part = cls(url, target, 0, "")
        if not target.is_file() or target.stat().st_size >= most_bytes:
            return part
        try:
            version: _Version = typed(_Version, read_json(part.beside), str(part.beside))
        except ArtifactError:
            return part  # its version is unknown: start over
        if version.url != url:
            return part
        return cls(url, target, target.stat().st_size, version.validator)

    def headers(self) -> dict[str, str]:
        if not self.held:
            return {}
        return {"Range": f"bytes={self.held}-", "If-Range": self.validator}

    def begin(self, response: httpx2.Response) -> None:
        """Record the version that comes, if the server tells versions apart."""
        tag = response.headers.get("etag", "")
        validator = tag if tag.startswith('"') else response.headers.get("last-modified", "")
        if validator:
            write_json(self.beside, asdict(_Version(self.url, validator)))
        else:
            self.beside.unlink(missing_ok=True)

    def done(self) -> None:
        self.beside.unlink(missing_ok=True)


def _continues(response: httpx2.Response, part: _Part | None) -> bool:
    """Tell whether a response holds the missing rest of a part."""
    if response.status_code != 206 or part is None or not part.held:
        return False
    return response.headers.get("content-range", "").startswith(f"bytes {part.held}-")


async def _store(
    response: httpx2.Response,
    target: Path,
    most_bytes: int,
    part: _Part | None,
    on_bytes: OnBytes | None,
) -> str:
    continues = _continues(response, part)
    if response.status_code != 200 and not continues:
        refusal = DownloadError(
            f"the server answered {response.status_code}",
            response.status_code,
            response.headers.get("retry-after"),
        )
        if part is not None and not refusal.may_pass:
            part.done()  # else a part that the server refuses would be offered for ever
        raise refusal
    if response.headers.get("content-type", "").strip().lower().startswith("text/html"):
        raise DownloadError("the server sent a page (text/html), no file")
    _refuse_packed(response)
    held = part.held if part is not None and continues else 0
    declared = int(response.headers.get("content-length", 0))
    if held + declared > most_bytes:
        raise FileTooLargeError(
            f"the file is said to have {held + declared} bytes, at most {most_bytes} fit"
        )
    digest = hashlib.sha256()
    if held:
        digest = _digest_of(target)
    elif part is not None:
        target.unlink(missing_ok=True)
        part.begin(response)
    total = held + declared if declared else None
    received = marked = 0
    since = time.monotonic()
    pieces = aiter(_bounded(response, most_bytes - held))
    with target.open("ab" if held else "wb") as file:
        while True:
            left = since + STALL_SECONDS - time.monotonic()
            try:
                piece = await asyncio.wait_for(anext(pieces), left)
            except StopAsyncIteration:
                break
            except asyncio.TimeoutError:
                raise DownloadError(
                    f"it stalled: {received - marked} bytes in {STALL_SECONDS:g} s"
                ) from None
            if held + received == 0 and piece.lstrip()[:9].lower().startswith(_PAGES):
                raise DownloadError("the server sent a page (HTML), no file")
            digest.update(piece)
            file.write(piece)
            received += len(piece)
            if on_bytes is not None:
                on_bytes(held + received, total)
            if received - marked >= STALL_BYTES:
                marked, since = received, time.monotonic()
    if part is not None:
        part.done()
    return digest.hexdigest()


def _digest_of(path: Path) -> "hashlib._Hash":
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest
