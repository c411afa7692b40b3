"""Which model predicts: a checkpoint, the newest finished run, or CLIP without training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfercli.artifacts.exported_files import is_torchscript
from dfercli.artifacts.model_card import ModelCard, read_model_card
from dfercli.artifacts.run_folder import find_checkpoint, newest_finished_fold
from dfercli.config import ModelConfig, PredictConfig
from dfercli.descriptions.texts import fill, read_texts, zero_shot_templates
from dfercli.errors import ConfigError
from dfercli.labels import SEVEN
from dfercli.progress import Progress

if TYPE_CHECKING:
    from dfercli.inference.loaded_model import LoadedModel


@dataclass(frozen=True)
class ChosenModel:
    """The chosen model.

    Attributes:
        name: Where it came from, as text.
        card: What it says about itself.
        load: Loads it. That imports torch and open_clip, which takes seconds; faces can be found
            meanwhile.
    """

    name: str
    card: ModelCard
    load: Callable[[], "LoadedModel"]

    @property
    def label_set(self) -> tuple[str, ...]:
        """The K class names, in the order of the outputs."""
        return self.card.label_set


def ready_choice(model: "LoadedModel") -> ChosenModel:
    """A model that is loaded already."""
    return ChosenModel(model.name, model.card, lambda: model)


def choose_model(config: PredictConfig, progress: Progress) -> ChosenModel:
    """Find the model that `config` asks for, and say which it is.

    Raises:
        ConfigError: settings that contradict each other, or an unknown CLIP.
        ArtifactError: a checkpoint or weights that are missing or cannot be used; of a
            folder, faults of the weights are found by `load`.
    """
    wants_zero_shot = config.clip is not None or bool(config.labels)
    if config.checkpoint is not None and wants_zero_shot:
        raise ConfigError(
            "--labels and --clip are for zero-shot CLIP; a checkpoint has its own",
            hint="omit --checkpoint, or train on your classes: dfer train",
        )
    checkpoint, why = config.checkpoint, "as asked for"
    if checkpoint is None and not wants_zero_shot:
        fold = newest_finished_fold(config.runs)
        if fold is not None:
            checkpoint, why = fold.path, f"newest finished run in {config.runs}"
    if checkpoint is not None:
        if is_torchscript(checkpoint) and config.trust_code:
            progress.note(f"running the code in {checkpoint}, as --trust-code allows")
        model = _trained(checkpoint, config)
        progress.note(f"model: {model.name} ({why})")
        if streams := other_streams(model.card):
            progress.note(
                f"it was also trained on {', '.join(streams)}: using the frames only, "
                "without its calibration, which was fitted with all of them"
            )
    else:
        if not wants_zero_shot:
            progress.note(f"no finished run in {config.runs}: using zero-shot CLIP")
        model = _zero_shot(config)
        first = model.card.class_texts[0]
        progress.note(f"model: {model.name}; class texts such as {first!r}")
    progress.note(f"labels: {', '.join(model.label_set)}")
    return model


def other_streams(card: ModelCard) -> list[str]:
    """The streams besides the frames that a model was trained on (FineCLIPER)."""
    if card.model.get("method") != "finecliper":
        return []
    own = card.model.get("finecliper", {})
    return [name for name in own.get("streams", []) if name != "frames"]


def _trained(path: Path, config: PredictConfig) -> ChosenModel:
    def load() -> "LoadedModel":
        from dfercli.inference.loaded_model import load_checkpoint

        return load_checkpoint(
            path,
            device=config.device,
            precision=config.precision,
            clip_weights=config.clip_weights,
            trust_code=config.trust_code,
        )

    if path.is_file():  # only its content says what it is
        return ready_choice(load())
    checkpoint = find_checkpoint(path)
    card = read_model_card(checkpoint).looking_at(("frames",))
    return ChosenModel(str(checkpoint), card, load)


def _zero_shot(config: PredictConfig) -> ChosenModel:
    from dfercli.inference.loaded_model import ready
    from dfercli.inference.restore import zero_shot_model

    name = config.clip or ModelConfig.clip
    texts = class_texts(config.labels or SEVEN, config.templates)
    restored = zero_shot_model(name, config.clip_weights, texts)
    described = f"zero-shot CLIP {name}"
    model = ready(restored, described, device=config.device, precision=config.precision)
    return ready_choice(model)


def class_texts(labels: tuple[str, ...], templates: str) -> dict[str, list[str]]:
    """The texts of zero-shot classes.

    Args:
        labels: Each a name, which goes into the templates, or NAME=TEXT; or a single .json file of
            descriptions by `dfer describe`.
        templates: A set of zero-shot templates.

    Raises:
        ConfigError: an unknown set, fewer than two classes, or one of them twice.
        ArtifactError: a descriptions file that is missing or broken.
    """
    if len(labels) == 1 and labels[0].endswith(".json"):
        written = read_texts(Path(labels[0]))
        return dict(zip(written.label_set, map(list, written.positive), strict=True))
    forms = zero_shot_templates(templates)
    texts: dict[str, list[str]] = {}
    for label in labels:
        name, equals, text = (part.strip() for part in label.partition("="))
        if not name or (equals and not text):
            raise ConfigError(f"--labels takes NAME or NAME=TEXT, got {label!r}")
        if name in texts:
            raise ConfigError(f"--labels names {name!r} twice")
        texts[name] = [text] if text else [fill(form, name) for form in forms]
    if len(texts) < 2:
        raise ConfigError(f"--labels needs at least two classes, got {', '.join(texts) or 'none'}")
    return texts
