"""Which clips a fold is trained on, which choose its checkpoint, and which it is tested on."""

from dataclasses import dataclass

from dfercli.config import TrainConfig
from dfercli.data.clips import Clip, Fold
from dfercli.data.folds import num_folds, read_fold
from dfercli.data.sampling import split_validation
from dfercli.errors import ConfigError, DataError


@dataclass(frozen=True)
class FoldClips:
    """The clips of one fold by what they are for.

    Attributes:
        fold: As the data set gives it.
        train: Trained on.
        held_out: Choose the checkpoint; empty where nothing is chosen.
        held_out_name: `validation`, or `test` for best-on-test.
        test: Measured at the end; the held-out clips where there is no test list.
        test_name: What `test` is, in words.
    """

    fold: Fold
    train: tuple[Clip, ...]
    held_out: tuple[Clip, ...]
    held_out_name: str
    test: tuple[Clip, ...]
    test_name: str


def wanted_folds(config: TrainConfig) -> list[int]:
    """The folds to train.

    Raises:
        ConfigError: a fold that the data set does not have.
    """
    available = num_folds(config.dataset, config.data.folds)
    if config.fold == "all":
        return list(range(1, available + 1))
    if not config.fold.isdecimal() or not 1 <= int(config.fold) <= available:
        raise ConfigError(
            f"--fold takes 1 to {available} or all for {config.dataset}, got {config.fold!r}"
        )
    return [int(config.fold)]


def read_fold_clips(config: TrainConfig, number: int) -> FoldClips:
    """Read one fold and divide it: a pure function of the settings and the data set.

    Raises:
        ConfigError: a selection that these data do not allow.
        DataError: data that cannot be read or divided.
    """
    data = config.data
    fold = read_fold(
        config.dataset,
        root=data.root,
        fold=number,
        label_order=data.label_order,
        frames=data.frames,
        classes=data.classes,
        captions=data.captions,
        folds=data.folds,
        group=data.group,
        seed=config.seed,
    )
    test, test_name = fold.test, f"test clips of {fold.dataset} fold {number}"
    if fold.labelling:
        test_name += f" ({fold.labelling})"
    if data.test is not None:
        other = read_fold(data.test, label_order=data.label_order)
        test, test_name = other.test or other.train, f"all clips of {data.test}"
    train, held_out, held_out_name = _divide(config, fold, test)
    if not test:
        test, test_name = held_out, f"{held_out_name} clips of {fold.dataset}"
    return FoldClips(fold, train, held_out, held_out_name, test, test_name)


def _divide(
    config: TrainConfig, fold: Fold, test: tuple[Clip, ...]
) -> tuple[tuple[Clip, ...], tuple[Clip, ...], str]:
    if config.select == "best-on-test":
        if not test:
            raise ConfigError(
                f"--select best-on-test needs test clips, {fold.dataset} has none",
                hint="name a second data set with --test",
            )
        return fold.train, test, "test"
    if config.select == "last":
        return fold.train, (), "validation"
    # Clips of one subject stay together; a clip of nobody known stands for itself.
    groups = [clip.subject or f"clip {clip.clip_id}" for clip in fold.train]
    labels = [clip.label or "" for clip in fold.train]
    train, held_out = split_validation(groups, labels, config.data.validation, config.seed)
    if not held_out or not train:
        raise DataError(
            f"{fold.dataset}: {len(fold.train)} clips of {len(set(groups))} subjects cannot be "
            f"divided to hold out {config.data.validation:.0%} for the selection",
            hint="train without a selection: --select last",
        )
    return (
        tuple(fold.train[index] for index in train),
        tuple(fold.train[index] for index in held_out),
        "validation",
    )
