"""The clips of a fold for training, for selecting the checkpoint, and for testing."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dfercli.config import TrainConfig
from dfercli.data.clips import Clip, Fold, group_of, has_one_class, main_label
from dfercli.data.folds import dataset_kind, num_folds, read_fold, read_fold_of
from dfercli.data.sampling import split_validation
from dfercli.errors import ConfigError, DataError

VALIDATION = "validation"
VALIDATION_DRAW, TEST_DRAW = 0x5EED, 0x7E57  # to make the two splits independent


@dataclass(frozen=True)
class FoldClips:
    """The clips of one fold by their use.

    Attributes:
        fold: As the data set gives it.
        train: Trained on.
        held_out: Choose the checkpoint; empty where nothing is chosen.
        held_out_name: `validation`, or `test` for best-on-test.
        test: Measured at the end; the held-out clips where there is no test list.
        test_name: What `test` is, as text.
    """

    fold: Fold
    train: tuple[Clip, ...]
    held_out: tuple[Clip, ...]
    held_out_name: str
    test: tuple[Clip, ...]
    test_name: str

    @property
    def selected(self) -> bool:
        """Whether a clip that is measured on also chose the checkpoint."""
        chose = {(clip.location, clip.clip_id) for clip in self.held_out}
        return any((clip.location, clip.clip_id) in chose for clip in self.test)

    @property
    def calibrated(self) -> bool:
        """Whether a clip that is measured on also fitted the temperature."""
        return self.selected and self.held_out_name == VALIDATION


def split_seed(config: TrainConfig) -> int:
    """The seed of every split of a data set."""
    return config.seed if config.data.split_seed is None else config.data.split_seed


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
    fold = read_fold_of(
        config.dataset,
        data,
        fold=number,
        folds=data.folds,
        group=data.group,
        seed=split_seed(config),
    )
    test, test_name = fold.test, f"test clips of {fold.dataset} fold {number}"
    if fold.labelling:
        test_name += f" ({fold.labelling})"
    if data.test is not None:
        other = read_fold(data.test, label_order=data.label_order)
        test, test_name = other.test or other.train, f"all clips of {data.test}"
    elif not test and data.test_share and dataset_kind(config.dataset) != "benchmark":
        fold = _with_test_part(config, fold)
        test, test_name = fold.test, f"test part of {fold.dataset}, {data.test_share:.0%} by "
        test_name += "subject" if any(clip.subject for clip in test) else "source"
    if data.frame_counts == "listed":
        fold = replace(fold, train=_as_listed(fold.train), test=_as_listed(fold.test))
        test = _as_listed(test)
    train, held_out, held_out_name = _divide(config, fold, test)
    test = _that_can_be_judged(test)
    if not test:
        test = held_out
        test_name = f"{held_out_name} clips of {fold.dataset}: selected and measured on the same"
        test_name += " clips"
    return FoldClips(fold, train, held_out, held_out_name, test, test_name)


def _as_listed(clips: tuple[Clip, ...]) -> tuple[Clip, ...]:
    """Clips that are sampled as if they had as many frames as their list says."""
    return tuple(replace(clip, sampled_as=clip.listed_frames) for clip in clips)


def _divide(
    config: TrainConfig, fold: Fold, test: tuple[Clip, ...]
) -> tuple[tuple[Clip, ...], tuple[Clip, ...], str]:
    if config.select == "best-on-test":
        if not test:
            raise ConfigError(
                f"--select best-on-test needs test clips, {fold.dataset} has none",
                hint="name a second data set with --test",
            )
        return fold.train, _that_can_be_judged(test), "test"
    if config.select == "last":
        return fold.train, (), VALIDATION
    train, held_out = _parted(
        config,
        fold,
        config.data.validation,
        VALIDATION_DRAW,
        what="for the selection",
        hint="train without a selection: --select last",
    )
    return train, held_out, VALIDATION


def _with_test_part(config: TrainConfig, fold: Fold) -> Fold:
    """The fold with a part of its training clips as its test clips, other subjects."""
    train, test = _parted(
        config,
        fold,
        config.data.test_share,
        TEST_DRAW,
        what="to measure on",
        hint="name a second data set with --test, or measure on the clips that select: "
        "--test-share 0",
    )
    return replace(fold, train=train, test=test)


def _parted(
    config: TrainConfig, fold: Fold, share: float, draw: int, *, what: str, hint: str
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    groups = [group_of(clip) for clip in fold.train]
    labels = [main_label(clip) or "" for clip in fold.train]
    kept, held_out = split_validation(groups, labels, share, split_seed(config), draw)
    if not held_out or not kept:
        raise DataError(
            f"{fold.dataset}: {len(fold.train)} clips of {len(set(groups))} subjects cannot be "
            f"divided to hold out {share:.0%} {what}",
            hint=hint,
        )
    return (
        tuple(fold.train[index] for index in kept),
        _that_can_be_judged(fold.train[index] for index in held_out),
    )


def _that_can_be_judged(clips: Iterable[Clip]) -> tuple[Clip, ...]:
    """Leave out the clips of several classes; their subjects still stay held out."""
    return tuple(clip for clip in clips if has_one_class(clip))
