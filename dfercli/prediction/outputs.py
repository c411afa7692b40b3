"""Check the settings of `dfer predict`, and choose the paths of its files."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dfercli.artifacts.bug_log import BUGS_FILE, users_log
from dfercli.artifacts.own_outputs import (
    Output,
    check_places,
    refuse_overwriting,
    refuse_sharing,
)
from dfercli.artifacts.store_writing import CONTENT_FILES
from dfercli.artifacts.tables import check_table_path
from dfercli.config import PredictConfig
from dfercli.errors import ConfigError
from dfercli.overrides import check
from dfercli.prediction.journal import work_folder
from dfercli.prediction.results_folder import (
    EXPORTS,
    OWN_NAMES,
    PAGE,
    check_folder,
    failures_path,
    is_folder,
    tables_of,
)
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.prediction.windows import check_windows

VIDEO_SUFFIX = ".mp4"
PAGE_SUFFIXES = (".html", ".htm")
OUTPUTS = ("out", "spans", "summary", "html", "video", "record", "faces_out")
READ = ("clock", "people", "clip_weights", "detector_weights", "identity_weights")


def check_config(config: PredictConfig) -> None:
    """Refuse settings that make no sense, before any work.

    Raises:
        ConfigError: naming the option, what was given and what is expected.
    """
    if not config.sources:
        raise ConfigError("no source given: name videos, folders, globs or a face store")
    if config.record is not None:
        raise ConfigError("--record goes with --camera")
    if config.show is not None:
        name = "--show" if config.show else "--headless"
        raise ConfigError(f"{name} goes with --camera: videos show no window")
    check(config, where="dfer predict")
    check_windows(config.window, config.stride)
    check_files(config)


def check_files(config: PredictConfig) -> None:
    """Refuse files of unknown formats, files of two options, and files that are also inputs.

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
    if config.video is not None:
        _check_video(config.video)
    check_places(config)
    refuse_sharing(list(_written(config)))
    refuse_overwriting(_written(config), _read(config))


def _check_video(video: Path) -> None:
    if _is_file_name(video):
        if video.is_dir():
            raise ConfigError(f"--video {video} is a folder and would be a file")
    elif video.suffix and not video.is_dir():
        raise ConfigError(f"--video takes a name in {VIDEO_SUFFIX}, or a folder, got {video}")
    elif os.path.lexists(video) and not video.is_dir():
        raise ConfigError(f"--video {video} is a file and would be a folder: it has no suffix")


def _written(config: PredictConfig) -> Iterator[Output]:
    """All files that a run may write, replace or remove, with the option that asks for each."""
    for name in OUTPUTS:
        path = getattr(config, name)
        if path is not None:
            yield Output(f"--{name.replace('_', '-')}", path)
    for place, path in (("out", config.out), ("html", config.html), ("video", config.video)):
        if path is not None:
            yield Output(f"--{place}", bugs_path(config))
            break
    if config.faces_out is not None:
        for name in CONTENT_FILES:
            yield Output("--faces-out", config.faces_out / name)
    if config.out is None:
        return
    yield Output("--out", work_folder(config.out), is_tree=True)
    if is_folder(config.out):
        for name in OWN_NAMES:
            own = config.out / name
            if name != PAGE or config.html is None or not _same(own, config.html):
                yield Output("--out", own, is_tree=name == EXPORTS)
        return
    yield Output("--out", failures_path(config.out))
    for path in tables_of(config)["events"]:
        yield Output("--out", path)


def _read(config: PredictConfig) -> Iterator[Path]:
    """The inputs that options name, besides sources. Models and labels may be names, too."""
    for name in READ:
        path = getattr(config, name)
        if path is not None:
            yield path
    for text in (*(config.model or "").split(","), *config.labels, config.camera or ""):
        if text and os.path.exists(text):
            yield Path(text)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def check_outputs(
    config: PredictConfig, sources: Sequence[Path], stores: Sequence[Path], num_sources: int
) -> None:
    """Refuse one annotated video for many sources, and outputs that are sources.

    Args:
        config: The settings.
        sources: Videos, images and folders of frames.
        stores: Face stores that are read.
        num_sources: Number of all sources, including those of the stores.

    Raises:
        ConfigError: `--video` names a file and there are several sources, or an output would take
            the place of a source or of a file of a store.
    """
    of_stores = [store / name for store in stores for name in ("", *CONTENT_FILES)]
    refuse_overwriting(_written(config), [*sources, *of_stores])
    if config.video is not None and num_sources > 1 and _is_file_name(config.video):
        raise ConfigError(
            f"--video {config.video} is one file, there are {num_sources} sources",
            hint="name a folder for the annotated videos",
        )


def annotated_path(video: Path, source: TrackedSource) -> Path:
    """The path of the annotated video of a source: the given file, or one in a folder."""
    if _is_file_name(video):
        return video
    key = re.sub(r"-\d+$", "", source.clips[0].clip_id)  # unique in its store, like the source
    return video / f"{key}{VIDEO_SUFFIX}"


def _is_file_name(path: Path) -> bool:
    return path.suffix.lower() == VIDEO_SUFFIX


def bugs_path(config: PredictConfig) -> Path:
    """The path of the log of bugs: beside the tables, else the page, else with the videos."""
    if config.out is not None and is_folder(config.out):
        return config.out / BUGS_FILE
    for place in (config.out, config.html, config.video):
        if place is not None and place.is_dir():  # of several annotated videos
            return place / BUGS_FILE
        if place is not None:
            return place.with_name(f"{place.stem}.{BUGS_FILE}")
    return users_log()
