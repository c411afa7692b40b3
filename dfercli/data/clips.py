"""The common form of data sets: clips with labels as names, in folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfercli.errors import DataError


@dataclass(frozen=True)
class Clip:
    """One labelled sample: a folder of face crops, or a video file of them.

    Attributes:
        clip_id: Unique within its data set.
        location: The folder of frames (jpg or png, natural order), or the video file.
        label: Class name, if known.
        subject: The person, if known.
        listed_frames: The number of frames that a list or manifest claims, if any.
        exact: Whether another number of frames on disk is an error (a face store), or known to
            happen (published lists were made after padding on disk).
        store: Its face store, which may hold further streams of it.
        groups: Further facts, such as the sex of the person.
        sampled_as: Sample as if it had this many frames; the last one replaces missing ones.
        source: The video that it was cut from, if known: an absolute path, links resolved.
        soft_label: Share of each class by name, adding up to 1, if training should take these
            instead of the label; see `dfercli.data.targets`.
    """

    clip_id: str
    location: Path
    label: str | None
    subject: str | None = None
    listed_frames: int | None = None
    exact: bool = False
    store: Path | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    sampled_as: int | None = None
    soft_label: Mapping[str, float] = field(default_factory=dict)


def main_label(clip: Clip) -> str | None:
    """The class of a clip: its label, else the one with the greatest share, the first of equals."""
    if clip.label is not None or not clip.soft_label:
        return clip.label
    return max(clip.soft_label, key=lambda name: clip.soft_label[name])


def has_one_class(clip: Clip) -> bool:
    """Whether a prediction of the clip can be right or wrong; not if classes share it."""
    return clip.label is not None or not clip.soft_label


def label_index(clip: Clip, label_set: Sequence[str]) -> int:
    """The index of a clip's class in the label set, -1 if it has none.

    Raises:
        DataError: the label is not in the label set.
    """
    label = main_label(clip)
    if label is None:
        return -1
    if label not in label_set:
        raise DataError(
            f"clip {clip.clip_id} has the label {label!r}, "
            f"which is not in the label set ({', '.join(label_set)})"
        )
    return list(label_set).index(label)


def group_of(clip: Clip) -> str:
    """The group that a split keeps together: the subject, else the source, else the clip."""
    if clip.subject is not None:
        return clip.subject
    return f"source {clip.source}" if clip.source is not None else f"clip {clip.clip_id}"


@dataclass(frozen=True)
class Fold:
    """One training and test list of a data set.

    Attributes:
        dataset: Its name, such as `dfew`, or the path of a face store or list file.
        fold: 1-based, as published.
        label_set: Class names; the order gives the index of each class in a model's output.
        train: Clips to train on; the validation part is split off these.
        test: Clips of the published test list; empty if the data set has none.
        official: Whether these are the published lists.
        frame_source: The kind of frames, for reports: the folder they came from.
        labelling: The origin of the labels if the data leave a choice; every result names it.
        benchmark: The benchmark of lists that are recognised by their counts.
        published_fold: Its fold, if the counts tell.
    """

    dataset: str
    fold: int
    label_set: tuple[str, ...]
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]
    official: bool
    frame_source: str
    labelling: str = ""
    benchmark: str | None = None
    published_fold: int | None = None
