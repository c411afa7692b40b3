"""Files and folders that are whole or absent: written to a temporary sibling, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfercli.documents import dump_json, parse_json, read_document
from dfercli.errors import ArtifactError, UnwritableError

TEMPORARY_MARK = ".partial-"


def is_temporary(path: Path) -> bool:
    """Tell whether `path` is the temporary sibling of an unfinished write."""
    return TEMPORARY_MARK in path.name


def unwritable(path: Path, error: OSError) -> UnwritableError:
    """Make the error for a path that cannot be written (disk full, no permission)."""
    return UnwritableError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def telling_what_is_kept(kept: Callable[[], str | None]) -> Iterator[None]:
    """Where the system refuses to write, say in the hint what is kept and how to go on.

    Args:
        kept: The hint; None if nothing is kept.
    """
    try:
        yield
    except UnwritableError as error:
        error.hint = error.hint or kept()
        raise


def kept_sources(count: int, place: Path, command: str = "the same command") -> str | None:
    """How to go on with the other sources; None if none is finished.

    Args:
        count: The finished ones.
        place: Where they are kept.
        command: What goes on.
    """
    if count == 0:
        return None
    return f"finished sources: {count}, kept in {place}; {command} goes on from there"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write a file to; rename it on success.

    Parent folders are made. On any failure the temporary file is removed and `path` keeps its
    content.

    Raises:
        ArtifactError: the system refused the write.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}{TEMPORARY_MARK}", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o644)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically.

    Bytes of file names that are not UTF-8 are escaped.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically as indented JSON that ends in a newline."""
    write_text(path, dump_json(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file, bounded in size and depth.

    Raises:
        ArtifactError: the file is missing, unreadable or not JSON.
    """
    try:
        return parse_json(read_document(path))
    except FileNotFoundError:
        raise ArtifactError(f"no such file: {path}") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ArtifactError(f"not valid JSON: {path}: {error}") from error


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder; rename it to `path` on success, else remove it.

    An existing folder at `path` is replaced: moved aside, and removed once the new one is there.

    Raises:
        ArtifactError: the system refused the write.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}{TEMPORARY_MARK}"))
        temporary.chmod(0o755)
        yield temporary
        if path.is_symlink():
            path.unlink()  # remove the link, not its target
        if path.is_dir():
            _replace_folder(path, temporary)
        else:
            temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def files_together(folder: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder, whose files take their places in `folder` on success.

    Other files in `folder` stay. The file `last` says that all are there and of one run: an older
    one goes before the others come, and the new one comes after them.

    Raises:
        ArtifactError: the system refused the write.
    """
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=TEMPORARY_MARK))
        yield temporary
        (folder / last).unlink(missing_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == last):
            path.replace(folder / path.name)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(path: Path, new: Path) -> None:
    """Replace the folder `path` by `new`; restore it if that fails."""
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}{TEMPORARY_MARK}"))
    path.replace(aside)  # on Linux an empty folder may be replaced
    try:
        new.replace(path)
    except OSError:
        aside.replace(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def replace_link(link: Path, target_name: str) -> None:
    """Point the symbolic link `link` at its sibling `target_name` in one step."""
    temporary = link.with_name(f".{link.name}{TEMPORARY_MARK}{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target_name)
        temporary.replace(link)
    except OSError as error:
        raise unwritable(link, error) from error
