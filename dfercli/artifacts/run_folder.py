"""Run folders: `runs/<name>/fold-1/` with checkpoints, metrics and results.

config.json          every setting, resolved; written before any work
environment.json     versions and hardware
metrics.jsonl        one row per epoch
checkpoints/last     link to the newest complete checkpoint
checkpoints/best     link to the best one so far, where one is selected
evaluation/<data set>/
result.json          written last: the run is finished
"""

import os
from dataclasses import dataclass
from pathlib import Path

from dfercli.artifacts.atomic import is_temporary, replace_link
from dfercli.artifacts.model_card import is_checkpoint
from dfercli.artifacts.removing import remove_own, require_no_links
from dfercli.artifacts.run_result import read_run_result
from dfercli.errors import ArtifactError
from dfercli.names import inside

RESULT_NAME = "result.json"


@dataclass(frozen=True)
class FoldFolder:
    """The paths inside one fold of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """Resolved settings."""
        return self.path / "config.json"

    @property
    def environment(self) -> Path:
        """Versions and hardware."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """One row per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest complete checkpoint."""
        return self.checkpoints / "last"

    @property
    def last_name(self) -> str | None:
        """The name of the newest complete checkpoint, or None."""
        return os.readlink(self.last) if self.last.is_symlink() else None

    @property
    def best(self) -> Path:
        """The best checkpoint so far."""
        return self.checkpoints / "best"

    @property
    def selected(self) -> Path:
        """The selected checkpoint: the best one if one was chosen, else the last."""
        return self.best if self.best.exists() else self.last

    @property
    def result(self) -> Path:
        """Written last."""
        return self.path / RESULT_NAME

    @property
    def is_finished(self) -> bool:
        """Whether training has finished."""
        return self.result.is_file()

    def evaluation(self, dataset: str) -> Path:
        """Folder of the results on a data set."""
        return inside(self.path, "evaluation", dataset)

    def point(self, link: Path, checkpoint: Path) -> None:
        """Point a link at a complete checkpoint, then remove those that no link points to."""
        require_no_links(self.path, self.checkpoints)
        replace_link(link, checkpoint.name)
        kept = {os.readlink(path) for path in (self.last, self.best) if path.is_symlink()}
        for folder in self.checkpoints.iterdir():
            if folder.is_dir() and not folder.is_symlink() and folder.name not in kept:
                remove_own(folder)


def fold_folders(run: Path) -> list[FoldFolder]:
    """The folds of a run, in order."""
    found = []
    for path in run.glob("fold-*"):
        number = path.name.removeprefix("fold-")
        if path.is_dir() and number.isascii() and number.isdigit():
            found.append((int(number), FoldFolder(path)))
    return [fold for _, fold in sorted(found, key=lambda item: item[0])]


def newest_finished_fold(runs: Path) -> FoldFolder | None:
    """The fold under `runs` whose training ended last, or None; see `RunResult.finished_as`."""
    return max(_finished_folds(runs), key=_ended, default=None)


def count_finished(runs: Path) -> int:
    """The highest `RunResult.finished_as` under `runs`, 0 if there is none."""
    return max((_ended(fold)[0] for fold in _finished_folds(runs)), default=0)


def _ended(fold: FoldFolder) -> tuple[int, int]:
    """The sort key for the end of folds; times decide among folds without a count."""
    try:
        counted = read_run_result(fold.result).finished_as
    except ArtifactError:
        counted = 0
    return counted, fold.result.stat().st_mtime_ns


def _finished_folds(runs: Path) -> list[FoldFolder]:
    return [
        fold
        for run in (sorted(runs.iterdir()) if runs.is_dir() else [])
        if run.is_dir() and not is_temporary(run)
        for fold in fold_folders(run)
        if fold.is_finished
    ]


def find_checkpoint(path: Path) -> Path:
    """Resolve `path` to a checkpoint folder.

    Args:
        path: A checkpoint folder, a fold folder, or a run folder (its first finished fold). In a
            fold, `best` is taken if there is one, else `last`.

    Raises:
        ArtifactError: there is none.
    """
    if is_checkpoint(path):
        return path
    if not path.exists():
        raise ArtifactError(f"no such checkpoint or run: {path}")
    folds = [FoldFolder(path), *fold_folders(path)]
    for fold in sorted(folds, key=lambda fold: not fold.is_finished):
        for link in (fold.best, fold.last):
            if is_checkpoint(link):
                return link
    raise ArtifactError(
        f"no checkpoint in {path}",
        hint="a checkpoint is a folder with model.json and model.safetensors, as `dfer train` "
        "writes it under runs/",
    )
