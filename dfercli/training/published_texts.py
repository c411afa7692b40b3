"""The class texts of a training that come out of a published checkpoint, or stand in for them."""

from dataclasses import replace
from pathlib import Path

from dfercli.artifacts.model_card import read_model_card
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.config import TrainConfig
from dfercli.errors import ConfigError
from dfercli.inference.locate import locate_trained
from dfercli.labels import ELEVEN, SEVEN
from dfercli.models.published_checkpoint import published_class_texts, read_published
from dfercli.progress import Progress
from dfercli.registry import named_model

CHECKPOINTS = (".pth", ".pt", ".tar")


def is_published_checkpoint(path: Path | None) -> bool:
    """Whether descriptions are a checkpoint of the published code, and not texts in JSON."""
    if path is None:
        return False
    return path.suffix.lower() in CHECKPOINTS or is_named_model(path)


def is_named_model(path: Path) -> bool:
    """Whether descriptions are a model that `dfer models` knows, and no file."""
    return not path.exists() and named_model(str(path)) is not None


def require_texts(config: TrainConfig) -> None:
    """Refuse a recipe whose texts are its authors' if nothing provides them.

    Raises:
        ConfigError: no checkpoint and no leave to go on with our own texts.
    """
    model = config.model
    if model.text_type != "published" or model.own_texts or model.class_texts:
        return
    if model.descriptions is None:
        raise ConfigError(
            "the published class texts are their authors' and do not come with dfer",
            hint="take them out of a published checkpoint: --descriptions CHECKPOINT.pth; or train "
            "with ours, and be labelled so: --own-texts",
        )


def with_class_texts(
    config: TrainConfig, label_set: tuple[str, ...], progress: Progress
) -> TrainConfig:
    """The settings with the texts in them that a published checkpoint holds, class by class.

    Args:
        config: The settings.
        label_set: The classes of the data.
        progress: Where to report.

    Raises:
        ConfigError: a checkpoint of other classes.
        ArtifactError: a file that is not a published checkpoint.
    """
    model = config.model
    if model.text_type == "published" and model.own_texts and model.descriptions is None:
        progress.note("class texts: our own, not those of the published training")
        return replace(config, model=replace(model, text_type="description"))
    if model.class_texts or not is_published_checkpoint(model.descriptions):
        return config
    assert model.descriptions is not None
    by_class = _texts_in(model.descriptions, progress)
    if absent := [name for name in label_set if name not in by_class]:
        raise ConfigError(
            f"{model.descriptions} has the texts of {len(by_class)} classes, none for "
            f"{', '.join(absent)}"
        )
    chosen = tuple(by_class[name] for name in label_set)
    progress.info(f"class texts: out of {model.descriptions}, such as {chosen[0]!r}")
    return replace(config, model=replace(model, class_texts=chosen))


def _texts_in(path: Path, progress: Progress) -> dict[str, str]:
    """The class texts of a published checkpoint, or of a model by name, class by class."""
    if is_named_model(path):
        path = locate_trained(str(path), progress)
    if path.is_dir():
        card = read_model_card(find_checkpoint(path))
        return dict(zip(card.label_set, card.class_texts, strict=True))
    texts = published_class_texts(read_published(path))
    known = {len(names): names for names in (SEVEN, ELEVEN)}.get(len(texts), ())
    return dict(zip(known, texts, strict=False))
