"""Find the videos that a table means: by path, or by the end of the path."""

import os
from collections.abc import Iterable
from pathlib import Path

from dfercli.errors import DataError


class PathEnds:
    """Paths by their ends, as `talk.mp4` and `monday/talk.mp4` of `videos/monday/talk.mp4`.

    Args:
        paths: The candidates.
        folder: The folder that relative paths begin at.
    """

    def __init__(self, paths: Iterable[str], folder: Path = Path()) -> None:
        self._folder = folder
        self._by_end: dict[tuple[str, ...], list[str]] = {}
        self._paths = frozenset(paths)
        for path in sorted(self._paths):
            parts = self._parts(path)
            for start in range(len(parts)):
                self._by_end.setdefault(parts[start:], []).append(path)

    def fitting(self, asked: str) -> list[str]:
        """The paths that `asked` may mean: the exact path, else all that end in it."""
        if asked in self._paths:
            return [asked]
        end = Path(asked).parts
        if not end:
            return []
        return self._by_end.get(self._parts(asked)) or self._by_end.get(end, [])

    def one(self, asked: str, where: str, what: str = "videos") -> str | None:
        """The one path that a row of a table means; None if none fits.

        Args:
            asked: As the row calls it.
            where: The table and the row, for the message.
            what: The paths are called there.

        Raises:
            DataError: several fit.
        """
        found = self.fitting(asked)
        if len(found) > 1:
            raise DataError(
                f"{where}: {asked!r} fits {len(found)} {what}, such as {found[0]} and {found[1]}",
                hint="write more of the path",
            )
        return found[0] if found else None

    def _parts(self, path: str) -> tuple[str, ...]:
        return Path(os.path.abspath(self._folder / path)).parts
