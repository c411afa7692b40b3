"""Records of Zenodo: which files they have, and fetching one although servers fail now and then."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx2

from dfercli.artifacts.bounded_http import (
    DownloadError,
    FileTooLargeError,
    OnBytes,
    download,
    exchange,
)
from dfercli.artifacts.file_sums import file_md5
from dfercli.artifacts.network import is_offline
from dfercli.documents import parse_json
from dfercli.errors import ArtifactError, ConfigError, ServiceError
from dfercli.names import PlainName
from dfercli.typed import Range, typed

PLACE_VARIABLE = "DFER_ZENODO"
PLACE = "https://zenodo.org"
RECORD_SECONDS = 60.0
MOST_RECORD_BYTES = 8 << 20
TRIES = 5
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 120.0

T = TypeVar("T")


@dataclass(frozen=True)
class RecordFile:
    """A file of a record.

    Attributes:
        key: Its name.
        size: In bytes.
        checksum: `md5:` and its MD5 in hexadecimal.
    """

    key: Annotated[str, PlainName()]
    size: Annotated[int, Range(0)]
    checksum: str

    @property
    def md5(self) -> str:
        """Its MD5 in hexadecimal."""
        return self.checksum.removeprefix("md5:")


@dataclass(frozen=True)
class _Record:
    files: tuple[RecordFile, ...]


def zenodo_place() -> str:
    """The address of Zenodo: `DFER_ZENODO`, such as a mirror, else zenodo.org.

    Raises:
        ConfigError: `DFER_ZENODO` is not the address of a server.
    """
    place = os.environ.get(PLACE_VARIABLE, "").rstrip("/") or PLACE
    if not place.startswith(("https://", "http://")):
        raise ConfigError(f"{PLACE_VARIABLE} takes https://… or http://…, got {place[:80]!r}")
    return place


@dataclass(frozen=True)
class Patience:
    """How work goes on while a server refuses for now.

    Attributes:
        note: Called with one line each time.
        wait: Waits this many seconds; it may raise to end the work.
    """

    note: Callable[[str], None]
    wait: Callable[[float], None] = time.sleep


def read_record(record: str, patience: Patience) -> tuple[RecordFile, ...]:
    """The files of a record.

    Raises:
        ArtifactError: offline by `DFER_OFFLINE`, or an answer that is not a record.
        ServiceError: no answer, or a refusal, several times.
    """
    url = f"{zenodo_place()}/api/records/{record}"
    if is_offline():
        raise ArtifactError(f"cannot read {url}: DFER_OFFLINE is set")
    response = _patiently(lambda: _ask(url), f"read {url}", patience)
    try:
        content: Any = parse_json(response.content)
    except ValueError as error:
        raise ArtifactError(f"{url}: not valid JSON: {error}") from error
    found: _Record = typed(_Record, content, url)
    return found.files


def fetch_file(
    record: str,
    file: RecordFile,
    target: Path,
    patience: Patience,
    on_bytes: OnBytes,
) -> None:
    """Fetch a file of a record to `target`; resume an existing part.

    Raises:
        ArtifactError: another MD5 than the record says, twice; or it cannot be written.
        ServiceError: it could not be fetched, several times.
    """
    url = f"{zenodo_place()}/records/{record}/files/{file.key}?download=1"
    for _ in range(2):
        if not (target.is_file() and target.stat().st_size == file.size):
            _patiently(
                lambda: _download(url, target, file.size, on_bytes), f"fetch {url}", patience
            )
        found = file_md5(target)
        if found == file.md5:
            return
        target.unlink()
        patience.note(f"{file.key}: its MD5 is {found}, expected {file.md5}: fetching it once more")
    raise ArtifactError(f"{url}: its MD5 is {found}, expected {file.md5}, twice")


class _RefusedError(Exception):
    """A server did not do it this time.

    Attributes:
        may_help: Whether trying again may help.
        wait_seconds: The wait that the server asks for, if any.
    """

    def __init__(self, reason: str, *, may_help: bool, wait_seconds: float | None) -> None:
        super().__init__(reason)
        self.may_help = may_help
        self.wait_seconds = wait_seconds


def _patiently(work: Callable[[], T], what: str, patience: Patience) -> T:
    """Do `work`; if the server refuses for now, wait as it asks and try again."""
    for number in range(1, TRIES + 1):
        try:
            return work()
        except _RefusedError as refusal:
            if number == TRIES or not refusal.may_help:
                times = f" ({number} tries)" if number > 1 else ""
                raise ServiceError(f"cannot {what}: {refusal}{times}") from refusal
            asked = refusal.wait_seconds
            wait = FIRST_WAIT_SECONDS * 2 ** (number - 1) if asked is None else asked
            if wait > LONGEST_WAIT_SECONDS:
                raise ServiceError(
                    f"cannot {what}: {refusal}; the server asks to wait {wait:.0f} s"
                ) from refusal
            patience.note(f"cannot {what}: {refusal}: trying again in {wait:.0f} s")
            patience.wait(wait)
    raise AssertionError("unreachable")


def _ask(url: str) -> httpx2.Response:
    request = httpx2.Request("GET", url)
    try:
        response = exchange(request, seconds=RECORD_SECONDS, most_bytes=MOST_RECORD_BYTES)
    except httpx2.RequestError as error:
        raise _RefusedError(str(error), may_help=True, wait_seconds=None) from error
    if response.status_code != 200:
        status, asked = response.status_code, response.headers.get("retry-after")
        raise _refusal_of(DownloadError(f"the server answered {status}", status, asked))
    return response


def _download(url: str, target: Path, size: int, on_bytes: OnBytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        download(url, target, most_bytes=size, resume=True, on_bytes=on_bytes)
    except DownloadError as error:
        if error.status is not None:
            raise _refusal_of(error) from error
        may_help = not isinstance(error, FileTooLargeError)
        raise _RefusedError(str(error), may_help=may_help, wait_seconds=None) from error
    there = target.stat().st_size
    if there != size:
        reason = f"it ended after {there} of {size} bytes"
        raise _RefusedError(reason, may_help=True, wait_seconds=None)


def _refusal_of(error: DownloadError) -> _RefusedError:
    asked = error.retry_after
    wait = float(asked) if asked is not None and asked.isdecimal() else None
    return _RefusedError(str(error), may_help=error.may_pass, wait_seconds=wait)
