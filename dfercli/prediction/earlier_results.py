"""Results of an earlier run in the places of this one: they are not lost silently."""

import os
from collections.abc import Iterable
from pathlib import Path

from dfercli.artifacts.timelines import read_videos
from dfercli.config import PredictConfig
from dfercli.errors import ArtifactError, ConfigError
from dfercli.prediction.results_folder import EXPORTS, RUN, SUMMARY, is_folder, read_record
from dfercli.progress import Progress


def tell_replaced(config: PredictConfig, names: Iterable[str], progress: Progress) -> None:
    """Print one line about replaced files, and refuse to lose results that this run does not make.

    With `overwrite`, neither.

    Args:
        config: The settings.
        names: The sources, as tables name them.
        progress: Where to report.

    Raises:
        ConfigError: a finished folder holds results of other videos, or timelines that were
            written or edited since.
    """
    if config.overwrite:
        return
    folder = config.out if config.out is not None and is_folder(config.out) else None
    if folder is not None and (folder / RUN).is_file():
        number = _require_same(folder, names)
        videos = "1 video" if number == 1 else f"{number} videos"
        progress.note(f"{folder}: the results of {videos} of an earlier run are replaced")
    asked = (config.out, config.spans, config.summary, config.html, config.video)
    there = [str(path) for path in asked if path and path.is_file() and path.parent != folder]
    if there:
        verb = "is" if len(there) == 1 else "are"
        progress.note(f"{', '.join(there)} of an earlier run {verb} replaced")


def _require_same(folder: Path, names: Iterable[str]) -> int:
    """Refuse unless the videos of the folder are among `names`; return how many they are."""
    hint = "name another folder, or replace what is there with --overwrite"
    try:
        started_in = read_record(folder).folder
        rows = list(read_videos(folder / SUMMARY))
    except ArtifactError as error:
        raise ConfigError(
            f"--out {folder} holds results that cannot be read: {error.message}", hint=hint
        ) from error
    now = {os.path.abspath(name) for name in names}
    with_results = [r.source for r in rows if r.failure is None or r.seen_seconds > 0]
    lost = [
        source for source in with_results if os.path.abspath(Path(started_in, source)) not in now
    ]
    if lost:
        raise ConfigError(
            f"--out {folder} holds results of {len(lost)} of {len(rows)} videos that are not "
            f"among the sources, such as {lost[0]}",
            hint=hint,
        )
    finished = (folder / RUN).stat().st_mtime_ns
    exports = sorted(path for path in (folder / EXPORTS).rglob("*") if path.is_file())
    newer = [path for path in exports if path.stat().st_mtime_ns > finished]
    if newer:
        raise ConfigError(
            f"--out {folder}: {newer[0]} was written after the results, and would be removed",
            hint=hint,
        )
    return len(rows)
