"""Open data sets of raw videos as sources: labels, subjects and groups from the files' names."""

from dataclasses import dataclass
from pathlib import Path

from dfercli.artifacts.face_store import RawSetRecord
from dfercli.config import PreprocessConfig
from dfercli.data.layout import dataset_root
from dfercli.data.open_sets import RAW_SETS
from dfercli.data.raw_sets import Choice, RawCopy, RawSet, find_takes, refuse_pointers
from dfercli.errors import ConfigError
from dfercli.preprocessing.source_labels import Labelling
from dfercli.progress import Progress
from dfercli.video.sources import Source


@dataclass(frozen=True)
class RawSources:
    """The videos of an open data set.

    Attributes:
        sources: One for each take, also for those that the choice of labels leaves out.
        labelling: Path of a source -> its label, subject and groups.
        label_set: The classes.
        record: Their entry in the face store.
    """

    sources: list[Source]
    labelling: dict[Path, Labelling]
    label_set: tuple[str, ...]
    record: RawSetRecord


def raw_set_of(config: PreprocessConfig) -> RawSet | None:
    """The open data set that the sources name, else None."""
    return RAW_SETS.get(config.sources[0].lower()) if len(config.sources) == 1 else None


def choice_of(config: PreprocessConfig, raw_set: RawSet) -> Choice:
    """How `--labels`, `--calm` and `--ties` choose the labels of an open data set.

    Raises:
        ConfigError: classes, which the data set has itself.
    """
    if config.classes:
        raise ConfigError(f"{raw_set.name} has its own classes, got --classes")
    return Choice(None if config.labels is None else str(config.labels), config.calm, config.ties)


def find_raw_sources(raw_set: RawSet, config: PreprocessConfig, progress: Progress) -> RawSources:
    """Find and label the videos of an open data set.

    Raises:
        ConfigError: labels that the data set does not have.
        DataError: no copy, no video in it, a table that is missing, or git LFS pointers.
    """
    copy = find_takes(raw_set, dataset_root(raw_set.name, config.root))
    refuse_pointers(copy)
    labels = raw_set.label([take for take, _ in copy.takes], copy.root, choice_of(config, raw_set))
    for line in notes_on(copy):
        progress.note(line)
    sources, labelling = [], {}
    for take, file in copy.takes:
        path = file.absolute()
        path = path.parent.resolve() / path.name
        sources.append(Source(path, path.parent.name, str(file.relative_to(copy.root)), "video"))
        labelling[path] = Labelling(
            labels.by_key[take.key],
            take.subject,
            dict(labels.groups[take.key]),
            dict(labels.soft.get(take.key, {})),
        )
    used = sum(label is not None for label in labels.by_key.values()) + len(labels.soft)
    progress.note(f"{raw_set.title}: {used} of {len(sources)} takes, {labels.how}")
    record: RawSetRecord = {"name": raw_set.name, "labelling": labels.how}
    return RawSources(sources, labelling, labels.label_set, record)


def notes_on(copy: RawCopy) -> list[str]:
    """What a copy holds besides the takes that are used, one line each."""
    lines = [f"left out {len(paths)} {reason}" for reason, paths in copy.left_out.items()]
    if copy.doubles:
        lines.append(f"left out {len(copy.doubles)} files that show the same takes without sound")
    if copy.strangers:
        lines.append(
            f"left out {len(copy.strangers)} videos with other names, such as {copy.strangers[0]}"
        )
    return lines
