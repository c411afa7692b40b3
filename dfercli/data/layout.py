"""Find the copy of a data set, and the clips in it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from dfercli.data.frames import is_video_file
from dfercli.documents import decoded, read_document
from dfercli.errors import DataError

ROOT_VARIABLE = "DFER_DATA"


def dataset_root(name: str, root: Path | None) -> Path:
    """The folder of a benchmark's copy: `root`, else `DFER_DATA/<name>`, else `data/<name>`.

    Below `DFER_DATA` and `data` upper and lower case are the same (`DFEW`, `dfew`).

    Raises:
        DataError: there is no such folder.
    """
    if root is not None:
        if not root.is_dir():
            raise DataError(f"no folder {root} (--root of {name})")
        return root
    bases = [Path(base) for base in (os.environ.get(ROOT_VARIABLE), "data") if base]
    for base in bases:
        for entry in sorted(base.iterdir()) if base.is_dir() else []:
            if entry.name.lower() == name and entry.is_dir():
                return entry
    looked = " and ".join(str(base / name) for base in bases)
    raise DataError(
        f"no copy of {name}: no folder {looked}",
        hint=f"give its folder: --root FOLDER, or set {ROOT_VARIABLE} to the folder that holds it",
    )


def first_existing(
    root: Path, candidates: Iterable[str], nested: Sequence[str] = ()
) -> Path | None:
    """The first of `candidates` that exists under `root` or one of its `nested` folders."""
    for candidate in candidates:
        for inner in ("", *nested):
            path = root / inner / candidate
            if path.exists():
                return path
    return None


def frames_folder(
    dataset: str,
    root: Path,
    candidates: Sequence[str],
    *,
    chosen: str | None,
    nested: Sequence[str] = (),
) -> Path:
    """The folder that holds the clips: the `chosen` one, else the first candidate that exists.

    Raises:
        DataError: there is none.
    """
    if chosen is not None:
        folder = root / chosen
        if not folder.is_dir():
            raise DataError(f"{dataset}: no folder of frames {folder}")
        return folder
    found = first_existing(root, candidates, nested)
    if found is None or not found.is_dir():
        raise DataError(
            f"{dataset}: no folder of frames in {root} (looked for {', '.join(candidates)})",
            hint="name it with --frames FOLDER, relative to the root",
        )
    return found


def index_clips(folder: Path, depth: int = 1) -> dict[str, Path]:
    """Find the clips `depth` levels below `folder` without looking into them.

    Returns:
        Path below `folder`, without the suffix of a video -> the folder of frames, or the video
        file where there is no folder of that name.
    """
    found: dict[str, Path] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir()
            if depth > 1 and is_folder:
                below = index_clips(Path(entry.path), depth - 1)
                found.update((f"{entry.name}/{key}", path) for key, path in below.items())
            elif depth == 1 and is_folder:
                found[entry.name] = Path(entry.path)
            elif depth == 1 and is_video_file(Path(entry.name)):
                found.setdefault(Path(entry.name).stem, Path(entry.path))
    return found


def index_numbered_clips(folder: Path) -> dict[int, Path]:
    """`index_clips` for clips named by numbers, padded or not; other names are ignored."""
    return {int(name): path for name, path in index_clips(folder).items() if name.isdecimal()}


def read_list_text(path: Path) -> str:
    """Read a list as text: UTF-8 with or without a BOM, else GBK.

    Raises:
        DataError: it cannot be read, or is neither.
    """
    try:
        content = read_document(path)
    except OSError as error:
        raise DataError(f"cannot read the list {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"cannot read the list {path}: {error}") from error
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return decoded(content, encoding)
        except UnicodeDecodeError:
            continue
        except ValueError as error:
            raise DataError(f"cannot read the list {path}: {error}") from error
    raise DataError(f"the list {path} is neither UTF-8 nor GBK text")


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list that are not blank, each with its number.

    Raises:
        DataError: the list cannot be read, or is empty.
    """
    text = read_list_text(path)
    lines = [
        (number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()
    ]
    if not lines:
        raise DataError(f"the list {path} is empty")
    return lines


def name_below(path: Path, root: Path) -> str:
    """`path` for reports: relative to `root` if it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
