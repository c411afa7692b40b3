"""Settings of data sets: which clips from which copy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dfercli.config.kinds import CountOrNone, Seed, Share
from dfercli.config.options import DATA, DEVICE, option, setting

OPEN_SETS = ("ravdess", "crema-d")
DATASETS = ("dfew", "ferv39k", "mafw", *OPEN_SETS)
A_DATASET = f"{', '.join(DATASETS)}, a face store, or a list file."
LABEL_ORDERS = ("dfer-clip", "mae-dfer", "s2d")


@dataclass(frozen=True)
class CopyConfig:
    """Where a copy of a data set is, and how to read its lists."""

    root: Path | None = option(
        None, "Folder of a benchmark's copy; else DFER_DATA/NAME, else data/NAME.", DATA
    )
    frames: str | None = option(None, "Folder of clips within the copy, if it has several.", DATA)
    captions: bool = option(False, "MAFW's lists of clips with captions.", DATA, "--captions")
    label_order: str | None = option(
        None,
        "Order of numeric labels: dfer-clip, mae-dfer, s2d or FILE.",
        DATA,
        suggestions=LABEL_ORDERS,
    )


@dataclass(frozen=True)
class DatasetConfig(CopyConfig):
    """Which clips and classes of a data set to use."""

    classes: Literal["single", "compound"] = option(
        "single", "MAFW's 11 single or 43 compound classes.", DATA, "--classes", "--mafw-classes"
    )


@dataclass(frozen=True)
class DataConfig(DatasetConfig):
    """Which clips to train on, and how to read them."""

    folds: int | None = option(
        None, "Split a face store into this many folds (with --group).", DATA
    )
    group: Literal["subject"] | None = option(
        None, "subject: no subject is in both training and test.", DATA
    )
    test: str | None = option(None, "A data set to test on, if the first has no test list.", DATA)
    allow_leak: bool = option(
        False,
        "Test even on clips whose subject, source or content is in training; the result says so.",
        DATA,
        "--allow-leak",
    )
    validation: Share = setting(
        0.1, "Share of the training clips held out to choose the checkpoint."
    )
    test_share: Share = option(
        0.2,
        "Share of your own clips, by subject, to measure on if there is no test list and no "
        "--test; 0 measures on the clips that select the checkpoint.",
        DATA,
    )
    split_seed: Seed | None = setting(
        None, "Seed of the splits into folds, test and validation; None: the seed of training."
    )
    frame_counts: Literal["disk", "listed"] = setting(
        "disk",
        "Frames of a clip to sample from: those on disk, or as many as its list says.",
    )
    sampler: Literal["shuffled", "square-root", "balanced"] = option(
        "shuffled",
        "Clips of an epoch: shuffled, all once; balanced, equally many of each class; square-root, "
        "in between, by the square root of their numbers.",
        DATA,
    )
    workers: CountOrNone | None = option(
        None,
        "Processes that read frames; 0: this one.",
        DEVICE,
        default="2; on a GPU one per core, at most 16",
    )
    streams_from: Path | None = option(
        None, "Folder of landmarks, parsing and captions by clip.", DATA
    )
