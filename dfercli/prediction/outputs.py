"""Check the settings of `dfer predict`, and choose the paths of its files."""

import re
from collections.abc import Sequence
from pathlib import Path

from dfercli.artifacts.bug_log import BUGS_FILE, users_log
from dfercli.artifacts.own_outputs import refuse_overwriting
from dfercli.artifacts.store_writing import CONTENT_FILES
from dfercli.artifacts.tables import check_table_path
from dfercli.config import PredictConfig
from dfercli.errors import ConfigError
from dfercli.overrides import check
from dfercli.prediction.results_folder import check_folder, is_folder
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.prediction.windows import check_windows

VIDEO_SUFFIX = ".mp4"
PAGE_SUFFIXES = (".html", ".htm")
OUTPUTS = ("out", "spans", "summary", "html", "video")


def check_config(config: PredictConfig) -> None:
    """Refuse settings that make no sense, before any work.

    Raises:
        ConfigError: naming the option, what was given and what is expected.
    """
    if not config.sources:
        raise ConfigError("no source given: name videos, folders, globs or a face store")
    if config.record is not None:
        raise ConfigError("--record goes with --camera")
    check(config, where="dfer predict")
    check_windows(config.window, config.stride)
    check_files(config)


def check_files(config: PredictConfig) -> None:
    """Refuse names of files that say no known format.

    Raises:
        ConfigError: naming the option, what was given and what is expected.
    """
    if config.out is not None and is_folder(config.out):
        check_folder(config.out)
    elif config.out is not None:
        check_table_path(config.out)
    if config.export and (config.out is None or not is_folder(config.out)):
        raise ConfigError(
            "--export goes into the folder of --out, and there is none",
            hint=f"--out results --export {','.join(config.export)}",
        )
    if config.spans is not None:
        check_table_path(config.spans, "--spans")
    if config.summary is not None:
        check_table_path(config.summary, "--summary")
    if config.html is not None and config.html.suffix.lower() not in PAGE_SUFFIXES:
        raise ConfigError(f"--html takes a name in .html, got {config.html}")


def check_outputs(
    config: PredictConfig, sources: Sequence[Path], stores: Sequence[Path], num_sources: int
) -> None:
    """Refuse one annotated video for many sources, and outputs that are sources.

    Args:
        config: The settings.
        sources: Videos, images and folders of frames.
        stores: Face stores that are read.
        num_sources: Sources in all, those of the stores with them.

    Raises:
        ConfigError: `--video` names a file and there are several sources, or an output would take
            the place of a source or of a file of a store.
    """
    outputs = {f"--{name}": getattr(config, name) for name in OUTPUTS}
    of_stores = [store / name for store in stores for name in ("", *CONTENT_FILES)]
    tables = [] if config.clock is None else [config.clock]
    refuse_overwriting(outputs, [*sources, *of_stores, *tables])
    if config.video is not None and num_sources > 1 and _is_file_name(config.video):
        raise ConfigError(
            f"--video {config.video} is one file, there are {num_sources} sources",
            hint="name a folder for the annotated videos",
        )


def annotated_path(video: Path, source: TrackedSource) -> Path:
    """Where the annotated video of a source goes: the file asked for, or one in a folder."""
    if _is_file_name(video):
        return video
    key = re.sub(r"-\d+$", "", source.clips[0].clip_id)  # unique in its store, like the source
    return video / f"{key}{VIDEO_SUFFIX}"


def _is_file_name(path: Path) -> bool:
    return path.suffix.lower() == VIDEO_SUFFIX


def bugs_path(config: PredictConfig) -> Path:
    """Where the tracebacks of bugs go: to the tables, else the page, else the videos."""
    if config.out is not None and is_folder(config.out):
        return config.out / BUGS_FILE
    for place in (config.out, config.html, config.video):
        if place is not None:
            return place.with_name(f"{place.stem}.{BUGS_FILE}")
    return users_log()
