"""`dfer eval`: measure a checkpoint, and write the results."""

from dataclasses import replace
from pathlib import Path

from lightning_fabric import Fabric

from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.model_card import CARD_NAME, is_checkpoint, read_model_card
from dfercli.artifacts.run_config import dataset_name, read_asked_config
from dfercli.artifacts.run_folder import FoldFolder, find_checkpoint, fold_folders
from dfercli.config import EvalConfig
from dfercli.data.clips import Fold
from dfercli.data.fold_clips import read_fold_clips
from dfercli.data.folds import read_fold_of, split_warning
from dfercli.errors import ArtifactError, ConfigError
from dfercli.evaluation.measure import Measured, evaluate_checkpoint
from dfercli.inference.fabric import make_fabric
from dfercli.inference.locate import locate_trained, split_models
from dfercli.names import plain_name
from dfercli.progress import Progress


def run(config: EvalConfig, progress: Progress) -> tuple[Measured, ...]:
    """Evaluate a checkpoint on a data set, or each fold of a run on its own test clips.

    Raises:
        ConfigError: no data set given and none known.
        DataError: clips that cannot be read, or a label that the model does not know.
        ArtifactError: a checkpoint that cannot be used.
    """
    config, others = _located(config, progress)
    fabric = make_fabric(config.device, 1, config.precision)
    if config.dataset is not None:
        return (_evaluate_on(config, config.dataset, others, fabric, progress),)
    if others:
        raise ConfigError(
            f"{config.checkpoint} and others are measured together: name a data set",
            hint="dfer eval a,b faces-test/",
        )
    if config.mafw_classes != EvalConfig.mafw_classes:
        raise ConfigError(
            f"--mafw-classes {config.mafw_classes}: name the data set, a run's own has its classes",
            hint=f"dfer eval {config.checkpoint} mafw --mafw-classes {config.mafw_classes}",
        )
    folders = [folder for folder in _folds_of(config.checkpoint) if folder.config.is_file()]
    if not folders:
        raise ConfigError(
            f"{config.checkpoint} does not record what it was trained on: name a data set",
            hint=f"dfer eval {config.checkpoint} faces/",
        )
    measured = []
    for folder in folders:
        own = config
        if config.out is not None and len(folders) > 1:
            own = replace(config, out=config.out / folder.path.name)
        measured.append(_evaluate_fold(own, folder, fabric, progress))
    return tuple(measured)


def _located(config: EvalConfig, progress: Progress) -> tuple[EvalConfig, list[Path]]:
    """Paths in place of the names of models; results of named ones go to `runs/NAME`.

    Returns:
        The settings with the path of the first model, and the checkpoints of the others.
    """
    asked = config.checkpoint
    if asked.exists():
        return config, []
    first, *others = [locate_trained(name, progress) for name in split_models(str(asked))]
    config = replace(config, checkpoint=first)
    if config.out is None and config.dataset is not None:
        folder = FoldFolder(Path("runs") / plain_name(str(asked), "model"))
        config = replace(config, out=folder.evaluation(_folder_name(config, config.dataset)))
    return config, [place if place.is_file() else find_checkpoint(place) for place in others]


def _folds_of(path: Path) -> list[FoldFolder]:
    if not path.exists():
        raise ArtifactError(f"no such checkpoint or run: {path}")
    if is_checkpoint(path):  # it lies at <fold>/checkpoints/<name>
        return [FoldFolder(path.absolute().parent.parent)]
    return fold_folders(path) or [FoldFolder(path)]


def _evaluate_fold(
    config: EvalConfig, folder: FoldFolder, fabric: Fabric, progress: Progress
) -> Measured:
    """Measure a fold of a run on its test clips."""
    if not folder.is_finished:
        progress.note(f"{folder.path}: its training is not finished")
    trained = read_asked_config(folder)
    if config.root is not None:
        trained = replace(trained, data=replace(trained.data, root=config.root))
    given = is_checkpoint(config.checkpoint)
    checkpoint = config.checkpoint if given else find_checkpoint(folder.path)
    clips = read_fold_clips(trained, _fold_number(checkpoint))
    if not clips.test:
        raise ConfigError(
            f"{folder.path} was trained on all clips of {trained.dataset}: name a data set",
            hint=f"dfer eval {config.checkpoint} faces-test/",
        )
    if config.streams_from is None and trained.data.test is None:
        config = replace(config, streams_from=trained.data.streams_from)
    out = config.out or folder.evaluation(
        _folder_name(config, trained.data.test or trained.dataset)
    )
    with writing_file(out):
        return evaluate_checkpoint(
            checkpoint,
            clips.test,
            measured_on=clips.test_name
            + (" (leaks were allowed)" if trained.data.allow_leak else ""),
            selected=clips.selected,
            calibrated_on_these=clips.calibrated,
            out=out,
            fabric=fabric,
            config=config,
            progress=progress,
        )


def _fold_number(checkpoint: Path) -> int:
    """The fold that a checkpoint was trained on; its folder may have been renamed."""
    trained_on = read_model_card(checkpoint).trained_on
    if "fold" not in trained_on:
        raise ArtifactError(
            f"{checkpoint / CARD_NAME}: trained_on: missing fold",
            hint="name a data set to measure on",
        )
    return int(trained_on["fold"])


def _evaluate_on(
    config: EvalConfig, dataset: str, others: list[Path], fabric: Fabric, progress: Progress
) -> Measured:
    """Measure a checkpoint on the test clips of a data set, or on all if it has no test list."""
    fold = read_fold_of(dataset, config.data, fold=config.fold)
    if warning := split_warning(fold):
        progress.note(warning)
    is_file = config.checkpoint.is_file()
    checkpoint = config.checkpoint if is_file else find_checkpoint(config.checkpoint)
    kind = "test clips" if fold.test else "all clips"
    beside = checkpoint.parent if is_file else checkpoint.absolute().parent.parent
    out = config.out or FoldFolder(beside).evaluation(_folder_name(config, dataset))
    with writing_file(out):
        return evaluate_checkpoint(
            checkpoint,
            fold.test or fold.train,
            measured_on=f"{kind} of {fold.dataset} fold {fold.fold}{_labelled(config, fold)}",
            out=out,
            fabric=fabric,
            config=config,
            progress=progress,
            label_set=fold.label_set,
            others=others,
        )


def _labelled(config: EvalConfig, fold: Fold) -> str:
    """Which labels of a data set that has several, in brackets."""
    is_compound = fold.dataset == "mafw" and config.mafw_classes == "compound"
    labelling = fold.labelling or ("compound classes" if is_compound else "")
    return f" ({labelling})" if labelling else ""


def _folder_name(config: EvalConfig, dataset: str) -> str:
    """The data set's name, and whatever distinguishes several evaluations on it."""
    parts = [dataset_name(dataset)]
    parts += [config.mafw_classes] if config.mafw_classes != "single" else []
    parts += [config.classes] if config.classes != "auto" else []
    parts += ["+".join(config.streams)] if config.streams else []
    return "-".join(parts)
