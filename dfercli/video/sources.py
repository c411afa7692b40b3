"""Find the sources in a user's arguments: videos, folders of numbered frames, single images."""

import glob
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from dfercli.attempts import attempt
from dfercli.documents import parse_json, read_document
from dfercli.errors import ChangedError, DataError
from dfercli.video.containers import is_own_output
from dfercli.video.images import are_numbered_frames, is_image, natural_key

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "mts", "m2ts", "ts", "wmv"),
        *("flv", "3gp", "ogv", "gif", "mxf", "vob", "asf", "divx", "f4v", "y4m"),
    )
)


@dataclass(frozen=True)
class Source:
    """A source of frames.

    Attributes:
        path: Absolute path of a file, or of a folder of frames.
        folder: Name of the folder it lies in, as it was given.
        name: Its path below the folder that was given, or its file name.
        kind: What it is.
    """

    path: Path
    folder: str
    name: str
    kind: Literal["video", "frames", "image"]


def find_sources(
    places: tuple[str, ...], note: Callable[[str], None] | None = None
) -> list[Source]:
    """Find all sources in files, folders (recursively) and globs.

    Folders of face stores and hidden folders are passed over. A folder whose images are numbered
    is one source. A folder without anything to read is a source too, beside others: reading
    it reports that. Annotated videos and previews that dfer wrote are left out, unless such
    a file is all that there is.

    Args:
        places: As they were typed.
        note: Called with a line that says how many files were left out.

    Returns:
        Each source once, sorted by path.

    Raises:
        DataError: a place does not exist, or none holds anything to read.
    """
    found: dict[Path, Source] = {}
    empty: dict[Path, Source] = {}
    passed_over: list[Path] = []
    for place in places:
        for path in _expand(place):
            sources = _in_folder(path) if path.is_dir() else [_from_file(path, path.name)]
            if not sources:
                passed_over.append(path)
            if not sources and not _is_store(path):
                folder = _source(path, path.name, "frames")
                empty[folder.path] = folder
            for source in sources:
                found.setdefault(source.path, source)
    if not found:
        raise DataError(f"no video or image in {passed_over[0]}")
    found = {**empty, **found}
    if len(found) > 1:
        found = _without_own(found, note)
    return [found[path] for path in sorted(found)]


def _without_own(
    found: dict[Path, Source], note: Callable[[str], None] | None
) -> dict[Path, Source]:
    # A source that cannot even be inspected is kept: reading it will say why.
    own = [path for path, one in found.items() if attempt(partial(_is_own, one)) is True]
    if len(own) == len(found):
        raise DataError(
            f"all {len(own)} videos were written by dfer itself (annotated copies or previews)",
            hint="name the videos that they were made from",
        )
    if own and note is not None:
        note(f"left out {len(own)} of {len(found)} files: dfer wrote them, such as {own[0]}")
    return {path: source for path, source in found.items() if path not in own}


def _is_own(source: Source) -> bool:
    return source.kind == "video" and source.path.is_file() and is_own_output(source.path)


def _expand(place: str) -> list[Path]:
    path = Path(place).expanduser()
    if path.exists():
        return [path]
    if glob.has_magic(place):
        matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)
        if matches:
            return [Path(match) for match in matches]
        raise DataError(f"nothing matches {place}")
    hint = "--camera takes addresses" if "://" in place else None
    raise DataError(f"no such file or folder: {place}", hint=hint)


def _from_file(path: Path, name: str) -> Source:
    return _source(path, name, "image" if is_image(path) else "video")


def _source(path: Path, name: str, kind: Literal["video", "frames", "image"]) -> Source:
    # A link keeps its own name: many people sort their videos in folders of links.
    path = Path(os.path.abspath(path))
    return Source(path.parent.resolve() / path.name, path.parent.name, name, kind)


def _in_folder(root: Path) -> list[Source]:
    sources = []
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        if _is_store(here):
            subfolders.clear()
            continue
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        visible = sorted(name for name in names if not name.startswith("."))
        images = [name for name in visible if is_image(Path(name))]
        if are_numbered_frames(images):
            name = here.name if here == root else str(here.relative_to(root))
            sources.append(_source(here, name, "frames"))
            images = []
        videos = [name for name in visible if Path(name).suffix.lower() in VIDEO_SUFFIXES]
        for name in [*videos, *images]:
            sources.append(_from_file(here / name, str((here / name).relative_to(root))))
    return sources


def _is_store(folder: Path) -> bool:
    """Tell whether a folder is a face store: its crops are not sources."""
    try:
        dataset = parse_json(read_document(folder / "dataset.json"))
    except (OSError, ValueError) as error:
        if (folder / "clips.jsonl").is_file() and (folder / "frames").is_dir():
            raise DataError(
                f"{folder} is a face store whose dataset.json cannot be read: {error}"
            ) from error
        return False
    return isinstance(dataset, dict) and str(dataset.get("schema")).startswith("dfer.face_store/")


def source_signature(path: Path) -> tuple[int, int]:
    """Size and modification time, to notice that a source changed; (0, 0) if it is gone.

    A folder keeps its time when a frame is overwritten. So for a folder, the time is a number that
    changes with the name, size and time of any frame.
    """
    try:
        if not path.is_dir():
            status = path.stat()
            return status.st_size, status.st_mtime_ns
        with os.scandir(path) as entries:
            frames = sorted(
                (os.fsencode(entry.name), entry.stat().st_size, entry.stat().st_mtime_ns)
                for entry in entries
                if is_image(Path(entry.name))
            )
    except OSError:
        return 0, 0
    digest = hashlib.sha256(repr(frames).encode()).digest()
    return sum(size for _, size, _ in frames), int.from_bytes(digest[:7], "big")


@dataclass(frozen=True)
class SourceState:
    """The state of a source before it is read.

    Attributes:
        path: Where it is.
        signature: See `source_signature`.
        inodes: Of it and, where it is a folder, of what lies in it: another file of the same size
            and time in its place has another one.
    """

    path: Path
    signature: tuple[int, int]
    inodes: tuple[int, ...]

    def is_other(self) -> bool:
        """Whether somebody wrote or replaced the source since."""
        return source_state(self.path) != self

    def require_same(self) -> None:
        """Make sure that the source was not written or replaced since.

        Raises:
            ChangedError: somebody did.
        """
        if self.is_other():
            raise ChangedError(f"{self.path}: it changed while it was read")


def source_state(path: Path) -> SourceState:
    """The current state of a source, to be compared after reading it."""
    inodes = []
    with suppress(OSError):
        inodes.append(path.stat().st_ino)
        if path.is_dir():
            with os.scandir(path) as entries:
                inodes += sorted(entry.inode() for entry in entries)
    return SourceState(path, source_signature(path), tuple(inodes))
