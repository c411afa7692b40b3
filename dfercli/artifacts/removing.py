"""Remove files inside one of our folders: never outside it, never through a link."""

import os
import shutil
from pathlib import Path

from dfercli.artifacts.atomic import is_temporary
from dfercli.errors import ArtifactError
from dfercli.names import inside


def remove_inside(folder: Path, *names: str) -> None:
    """Remove the file or folder that `names` lead to below `folder`, if it exists.

    Of a link, only the link itself is removed.

    Args:
        folder: A folder of ours. It may be a link: it is what the user named.
        names: See `names.inside`.

    Raises:
        ArtifactError: a name that leads elsewhere, a link on the way, or the system refuses.
    """
    path = inside(folder, *names)
    require_no_links(folder, path.parent)
    remove_own(path)


def remove_temporary(folder: Path, path: Path) -> None:
    """Remove what an unfinished write below `folder` left at `path`, as `remove_inside` does.

    Raises:
        ArtifactError: it is not such a leftover, a link is on the way, or the system refuses.
    """
    if not is_temporary(path) or folder not in path.parents:
        raise ArtifactError(f"{path} is not an unfinished write in {folder}")
    require_no_links(folder, path.parent)
    remove_own(path)


def remove_own(path: Path) -> None:
    """Remove a file or folder that our own code names; of a link, only the link itself.

    Raises:
        ArtifactError: the system refuses.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot remove {path}: {error.strerror or error}") from error


def require_no_links(folder: Path, path: Path) -> None:
    """Refuse a `path` below `folder` that goes through a link, which may lead anywhere.

    Raises:
        ArtifactError: a part of the path below `folder` is a link (named).
    """
    for part in (path, *path.parents):
        if part == folder:
            return
        if part.is_symlink():
            raise ArtifactError(
                f"{part} is a link to {os.readlink(part)}: its target is not touched",
                hint=f"move its content into {folder}, or link {folder} as a whole",
            )
