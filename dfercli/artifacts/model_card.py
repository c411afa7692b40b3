"""`model.json`: all that is needed to build a model again, to use it, and to judge it."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import read_json
from dfercli.errors import ArtifactError

MODEL_SCHEMA = "dfer.model/1"
CARD_NAME = "model.json"


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint says about itself.

    Attributes:
        label_set: Class names; the order of the model's outputs.
        class_texts: One text per class.
        negative_texts: One negative text per class, where the model has them (FineCLIPER).
        model: The settings of the model (`ModelConfig`), its method among them.
        backbone: CLIP's `name`, `tag`, `sha256` of the weights, `architecture` and local `file`.
        image_size: Side of the frames in pixels.
        sampling: `num_frames`, and the names of the rules for training and test.
        crop: Settings of the face store it was trained on; None where frames came ready made.
        trained_on: Data set, fold, number of clips, frame source, seed.
        selected_on: How this checkpoint was chosen, in words.
        calibration: `temperature` that logits are divided by before the softmax.
        results: What was measured, where and how.
    """

    label_set: tuple[str, ...]
    class_texts: tuple[str, ...]
    model: dict[str, Any]
    backbone: dict[str, Any]
    image_size: int
    sampling: dict[str, Any]
    crop: dict[str, Any] | None = None
    trained_on: dict[str, Any] = field(default_factory=dict)
    selected_on: str = "not selected"
    calibration: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0})
    results: dict[str, Any] = field(default_factory=dict)
    negative_texts: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that a method is built with: the positive ones, then the negative ones."""
        return (*self.class_texts, *self.negative_texts)

    @property
    def min_confidence(self) -> float:
        """Below it a prediction is uncertain, as chosen after training; 0 where nothing was."""
        return float(self.calibration.get("min_confidence", 0.0))

    def to_json(self) -> dict[str, Any]:
        """The content of model.json, without its schema."""
        return asdict(self)


def card_from_json(content: dict[str, Any], where: str) -> ModelCard:
    """Check the content of model.json and return it typed.

    Raises:
        ArtifactError: an entry is missing or of the wrong kind.
    """
    optional = {"crop", "trained_on", "selected_on", "calibration", "results", "negative_texts"}
    names = {entry.name for entry in fields(ModelCard)}
    missing = sorted(names - optional - set(content))
    if missing:
        raise ArtifactError(f"{where}: missing {', '.join(missing)}")
    values = {name: content[name] for name in names if name in content}
    values.setdefault("negative_texts", [])
    for name in ("label_set", "class_texts", "negative_texts"):
        if not isinstance(values[name], list):
            raise ArtifactError(f"{where}: {name} is not a list")
        values[name] = tuple(str(text) for text in values[name])
    if len(values["label_set"]) != len(values["class_texts"]):
        raise ArtifactError(f"{where}: as many class_texts as labels expected")
    if values["negative_texts"] and len(values["negative_texts"]) != len(values["label_set"]):
        raise ArtifactError(f"{where}: as many negative_texts as labels expected")
    return ModelCard(**values)


def is_checkpoint(folder: Path) -> bool:
    """Tell whether `folder` is a checkpoint."""
    return (folder / CARD_NAME).is_file()


def read_card(folder: Path) -> dict[str, Any]:
    """Read model.json.

    Raises:
        ArtifactError: missing, not JSON, or of another schema.
    """
    card = read_json(folder / CARD_NAME)
    if not isinstance(card, dict) or card.get("schema") != MODEL_SCHEMA:
        got = card.get("schema") if isinstance(card, dict) else type(card).__name__
        raise ArtifactError(f"{folder / CARD_NAME}: expected schema {MODEL_SCHEMA}, got {got!r}")
    return card
