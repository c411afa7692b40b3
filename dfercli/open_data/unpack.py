"""Unpacking an archive of a stranger: its names, links and sizes are checked before a byte."""

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from dfercli.artifacts.atomic import TEMPORARY_MARK, unwritable
from dfercli.artifacts.removing import require_no_links
from dfercli.errors import ArtifactError
from dfercli.names import RelativeName, inside

MOST_FILES = 100_000
MOST_TIMES_PACKED = 20
"""Videos hardly shrink: an archive that grows by more than this factor does not hold videos."""
SPARE_BYTES = 256 << 20
PART_BYTES = 1 << 20


def unpack(
    archive: Path,
    folder: Path,
    wanted: Callable[[str], bool],
    on_bytes: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Unpack files of a zip archive below `folder`, over those of the same names.

    The files are unpacked beside their place and moved into it one by one once all are complete.

    Args:
        archive: The archive.
        folder: Where its files go.
        wanted: Tells whether the file of this name is unpacked.
        on_bytes: Called with the bytes that were written since the last call.

    Returns:
        The names of the files below `folder`.

    Raises:
        ArtifactError: no archive or a damaged one; a name that leads out of the folder, a link, a
            name twice, more files or bytes than an archive of videos has; too little room; or the
            system refuses a write.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = _checked(archive, content)
            members = [member for member in members if wanted(member.filename)]
            require_room(folder, sum(member.file_size for member in members), str(archive))
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=f".{TEMPORARY_MARK}") as name:
                parts = Path(name)
                for member in members:
                    _write(content, member, inside(parts, member.filename), on_bytes)
                for member in members:
                    place = inside(folder, member.filename)
                    require_no_links(folder, place.parent)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    inside(parts, member.filename).replace(place)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # RuntimeError is zipfile's word for a password, and for a packing that it does not know.
        raise ArtifactError(f"{archive} cannot be unpacked: {error}") from error
    except OSError as error:
        raise unwritable(folder, error) from error
    return [member.filename for member in members]


def require_room(folder: Path, num_bytes: int, what: str) -> None:
    """Refuse work that the disk has no room for.

    Raises:
        ArtifactError: saying what is needed and what is there.
    """
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < num_bytes + SPARE_BYTES:
        raise ArtifactError(
            f"{what} needs {_gigabytes(num_bytes)} in {folder}, where {_gigabytes(free)} are free"
        )


def _checked(archive: Path, content: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive, once all of its entries were looked at."""
    entries = content.infolist()
    if len(entries) > MOST_FILES:
        raise ArtifactError(f"{archive} holds {len(entries)} entries, expected {MOST_FILES}")
    unpacked = sum(entry.file_size for entry in entries)
    packed = archive.stat().st_size
    if unpacked > MOST_TIMES_PACKED * packed:
        raise ArtifactError(
            f"{archive} would grow from {packed} to {unpacked} bytes, "
            f"expected at most {MOST_TIMES_PACKED} times"
        )
    members = []
    seen = set()
    for entry in entries:
        name = entry.filename.removesuffix("/")
        mode = stat.S_IFMT(entry.external_attr >> 16)
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArtifactError(f"{archive}: {name[:80]!r} is a link or a device, expected files")
        is_hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
        if is_hidden and ".." not in name:
            continue  # leftovers of operating systems
        if not RelativeName().accepts(name):
            raise ArtifactError(
                f"{archive}: expected names {RelativeName()}, got {name[:80]!r}",
                hint="whoever made this wanted to write files elsewhere",
            )
        if entry.is_dir():
            continue
        if name.casefold() in seen:
            raise ArtifactError(f"{archive} holds {name[:80]!r} twice")
        seen.add(name.casefold())
        members.append(entry)
    return members


def _write(
    content: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    place: Path,
    on_bytes: Callable[[int], None],
) -> None:
    """Write one file; zipfile itself ends it at the size that the archive declares."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with content.open(member) as source, place.open("xb") as target:
        while part := source.read(PART_BYTES):
            target.write(part)
            on_bytes(len(part))


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
