"""Files from elsewhere: fetched once, complete, by one process, and unchanged ever after.

One way for detectors' weights and for models by name: a lock, resuming, bounds, a
checksum, and a move into place. If no checksum is published, size and SHA-256 are recorded
at the first fetch, and a changed file is refused later.
"""

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dfercli.artifacts.atomic import read_json, unwritable, write_json
from dfercli.artifacts.file_sums import file_sha256
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.network import is_offline
from dfercli.errors import ArtifactError
from dfercli.progress import Progress, SilentProgress, Task
from dfercli.typed import Range, typed

if TYPE_CHECKING:
    from dfercli.artifacts.bounded_http import OnBytes

RECORD_SCHEMA = "dfer.fetched/1"
DRIVE = "drive:"
PAGES = (b"<!doctype", b"<html")
MEGABYTE = 1_000_000
ATTEMPTS = 3


@dataclass(frozen=True)
class Record:
    """The record of a fetched file whose owners publish no checksum.

    Attributes:
        place: Where from.
        size_bytes: Its size.
        sha256: Its SHA-256 in hexadecimal.
        fetched: When, ISO 8601.
    """

    place: str
    size_bytes: Annotated[int, Range(0)]
    sha256: str
    fetched: str


@dataclass(frozen=True)
class Remote:
    """A file elsewhere, and the facts about it.

    Attributes:
        name: Its name for the user.
        place: `https://…`, or `drive:` and the ID of a file on Google Drive.
        most_bytes: A bound above its size; a download ends there.
        record: The file with its recorded size and checksum.
        sha256: Its published SHA-256, or the known first digits.
        size_bytes: Its published size.
        hint: What to do if it cannot be fetched.
    """

    name: str
    place: str
    most_bytes: int
    record: Path
    sha256: str = ""
    size_bytes: int | None = None
    hint: str | None = None


def read_record(path: Path) -> Record | None:
    """The record of the first fetch; None before it.

    Raises:
        ArtifactError: the record is broken.
    """
    if not path.is_file():
        return None
    record: Record = typed(Record, read_json(path), str(path), schema=RECORD_SCHEMA)
    return record


def fault_of(remote: Remote, size: int, sha256: str) -> str | None:
    """Why a file of this size and checksum is not the expected one; None if it is."""
    if not sha256.startswith(remote.sha256):
        return f"its SHA-256 is {sha256}, expected {remote.sha256}"
    if remote.size_bytes is not None and size != remote.size_bytes:
        return f"it has {size} bytes, expected {remote.size_bytes}"
    first = read_record(remote.record)
    if first is not None and (size, sha256) != (first.size_bytes, first.sha256):
        return (
            f"it has changed since it was first fetched ({first.fetched}): {size} bytes, SHA-256 "
            f"{sha256}; then {first.size_bytes} bytes, SHA-256 {first.sha256}"
        )
    return None


def accept(remote: Remote, path: Path) -> Record:
    """Check a file against its published and recorded size and checksum, and record it.

    Raises:
        ArtifactError: it is another file, or a page from a browser or a server.
    """
    size, sha256 = path.stat().st_size, file_sha256(path)
    if is_page(path):
        raise _refusal(remote, f"{path} is a page (HTML), no file")
    if fault := fault_of(remote, size, sha256):
        hint = remote.hint
        if "has changed" in fault:
            hint = f"if you want the new one: rm {shlex.quote(str(remote.record))}"
        raise _refusal(remote, fault, hint)
    record = read_record(remote.record)
    if record is None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        record = Record(remote.place, size, sha256, now)
        write_json(remote.record, {"schema": RECORD_SCHEMA, **asdict(record)})
    return record


def is_page(path: Path) -> bool:
    """Tell whether a file is a page of HTML, as servers send in place of files."""
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES)


def fetch_file(
    remote: Remote,
    target: Path,
    progress: Progress | None = None,
    *,
    is_there: Callable[[], bool],
) -> Path:
    """Fetch a file to `target`, unless it is there already.

    A part is kept if the download broke off and the server can resume it.

    Args:
        remote: The file.
        target: Where to put it.
        progress: Where to report.
        is_there: Tells whether the file at `target` will do.

    Raises:
        ArtifactError: it cannot be fetched, is a page, or is another one than before.
    """
    if is_there():
        return target
    # An HTTP client takes a tenth of a second to import, and most processes fetch nothing.
    from dfercli.artifacts.bounded_http import DownloadError, version_path

    if is_offline():
        raise _refusal(remote, "DFER_OFFLINE is set")
    with exclusive(target.with_name(f".{target.name}.lock")):
        if is_there():  # another process fetched it while we waited
            return target
        part = target.with_name(f".{target.name}.part")
        try:
            _download(remote, part, progress or SilentProgress())
            try:
                accept(remote, part)
            except ArtifactError:
                part.unlink()  # it is complete, but not the expected file
                raise
            part.chmod(0o644)
            part.replace(target)
        except DownloadError as error:
            if not version_path(part).is_file():
                part.unlink(missing_ok=True)  # useless: it cannot be resumed
            raise _refusal(remote, str(error)) from error
        except OSError as error:
            raise unwritable(target, error) from error
    return target


def _download(remote: Remote, part: Path, progress: Progress) -> None:
    """Try a few times, as long as each brings more of the file."""
    from dfercli.artifacts.bounded_http import DownloadError, FileTooLargeError

    with _bar(remote, progress) as bar:
        held = 0
        for attempt in range(ATTEMPTS):
            try:
                _download_once(remote, part, bar.show)
                return
            except FileTooLargeError:
                raise
            except DownloadError:
                if attempt + 1 == ATTEMPTS or bar.received <= held:
                    raise
                held = bar.received


def _download_once(remote: Remote, part: Path, on_bytes: "OnBytes") -> None:
    from dfercli.artifacts.bounded_http import download
    from dfercli.artifacts.drive import download_from_drive

    if remote.place.startswith(DRIVE):
        file_id = remote.place.removeprefix(DRIVE)
        download_from_drive(file_id, part, most_bytes=remote.most_bytes, on_bytes=on_bytes)
    else:
        download(remote.place, part, most_bytes=remote.most_bytes, resume=True, on_bytes=on_bytes)


class _Bar:
    """A bar of megabytes, drawn once the first bytes are there and the size is known."""

    def __init__(self, remote: Remote, progress: Progress, stack: ExitStack) -> None:
        self._remote = remote
        self._progress = progress
        self._stack = stack
        self._task: Task | None = None
        self._shown = 0.0
        self.received = 0

    def show(self, received: int, total: int | None) -> None:
        if self._task is None:
            self._task = self._stack.enter_context(
                self._progress.task(
                    f"fetching {self._remote.name} (MB)", total and total / MEGABYTE
                )
            )
        self.received = received
        self._task.advance(received / MEGABYTE - self._shown)
        self._shown = received / MEGABYTE


@contextmanager
def _bar(remote: Remote, progress: Progress) -> Iterator[_Bar]:
    with ExitStack() as stack:
        yield _Bar(remote, progress, stack)


def _refusal(remote: Remote, reason: str, hint: str | None = None) -> ArtifactError:
    return ArtifactError(
        f"cannot fetch {remote.name} from {remote.place}: {reason}", hint=hint or remote.hint
    )
