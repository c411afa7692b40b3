"""`model.json`: everything needed to rebuild, use and judge a model."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from dfercli.artifacts.atomic import read_json
from dfercli.errors import ArtifactError
from dfercli.typed import Range, typed

MODEL_SCHEMA = "dfer.model/1"
CARD_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"


MAX_FRAMES = 1024
USUAL_CONTEXT = 77  # of CLIP

Size = Annotated[int, Range(0, 1 << 17)]  # widths, sizes of vocabularies, lengths of texts
Pixels = Annotated[int, Range(1, 4096)]
Depth = Annotated[int, Range(0, 128)]


@dataclass(frozen=True)
class ModelName:
    """Marks the name of a model inside a library: never a path or a URL."""

    def accepts(self, value: str) -> bool:
        """Tell whether `value` can only be such a name."""
        return re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", value) is not None

    def __str__(self) -> str:
        return "that is the name of a model"


class Tower(TypedDict, total=False):
    """Sizes of one of CLIP's towers, as open_clip calls them."""

    image_size: Pixels | tuple[Pixels, Pixels]
    patch_size: Pixels | None
    width: Size
    head_width: Size
    heads: Size
    layers: Depth | tuple[Depth, ...]
    context_length: Annotated[int, Range(1, 4096)]
    vocab_size: Annotated[int, Range(1, 1 << 20)]
    timm_model_name: Annotated[str, ModelName()]
    timm_model_pretrained: Literal[False]  # it would be downloaded
    timm_pool: str
    timm_proj: str | None
    hf_model_name: None  # as above


class Architecture(TypedDict, total=False):
    """open_clip's configuration of a CLIP."""

    embed_dim: Annotated[int, Range(1, 1 << 14)]
    quick_gelu: bool
    vision_cfg: Tower
    text_cfg: Tower


class _Backbone(TypedDict):
    name: str
    tag: str
    sha256: str | None
    architecture: Architecture


class Backbone(_Backbone, total=False):
    """Which CLIP a model was built on."""

    file: str | None


class Streams(TypedDict, total=False):
    """FineCLIPER's own settings that are checked before it is built."""

    streams: list[str]


class ModelTable(TypedDict, total=False):
    """The settings of a model that are checked before it is built."""

    method: str
    normalization: str
    finecliper: Streams


class _NumFrames(TypedDict):
    num_frames: Annotated[int, Range(1, MAX_FRAMES)]


class Sampling(_NumFrames, total=False):
    """How many frames of a clip a model looks at, and which."""

    train: str
    test: str
    stride: Annotated[int, Range(0, 10_000)]
    views: Annotated[int, Range(1, 64)]
    mirrored: bool


class TrainedOn(TypedDict, total=False):
    """What a model was trained on."""

    dataset: str
    fold: Annotated[int, Range(1)]
    official_split: bool
    frame_source: str
    num_train: int
    num_held_out: int
    num_subjects: int
    selection: str
    seed: int


class _Temperature(TypedDict):
    temperature: Annotated[float, Range(1e-6, 1e6)]


class Calibration(_Temperature, total=False):
    """The temperature of the logits, and the confidence below which a prediction is uncertain."""

    min_confidence: Annotated[float, Range(0, 1)]


class _FittedHow(_Temperature, total=False):
    ece_rule: str
    streams: tuple[str, ...]


class OfStreams(_Temperature):
    """A calibration of a model that looks at some of its streams, and what it was worth there."""

    streams: tuple[str, ...]
    num_clips: int
    ece_before: float
    ece_after: float | None
    min_confidence: Annotated[float, Range(0, 1)]
    war: float
    uar: float


class _SetsOfStreams(_FittedHow, total=False):
    sets: tuple[OfStreams, ...]


class FittedCalibration(_SetsOfStreams):
    """A calibration that was fitted, with what it was fitted on."""

    fitted_on: str
    num_clips: int
    ece_before: float
    ece_after: float | None
    min_confidence: Annotated[float, Range(0, 1)]
    min_confidence_rule: str


class _Methods(TypedDict, total=False):
    war_method: str
    uar_method: str


class CardResults(_Methods):
    """How well a model recognises."""

    measured_on: str
    num_clips: int
    war: float
    war_interval: tuple[float, float] | None
    uar: float
    uar_interval: tuple[float, float] | None


class PublishedRates(TypedDict):
    """What the owners of a model say that it is worth, in per cent."""

    dataset: str
    uar: float
    war: float
    protocol: str


class Origin(TypedDict, total=False):
    """Where a model came from, and its owners' terms."""

    name: str
    place: str
    page: str
    size_bytes: int
    sha256: str
    fetched: str
    results: tuple[PublishedRates, ...]
    licence_code: str
    licence_weights: str
    licence_data: str
    research_only: bool
    citation: str


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
        crop: Settings of the face store it was trained on; None where `dfer` did not crop them.
        trained_on: Data set, fold, number of clips, frame source, seed.
        selected_on: How this checkpoint was chosen, as text.
        calibration: `temperature` that logits are divided by before the softmax; `sets` has one
            for each set of streams, with what the model was worth with them.
        results: The measurements, where and how.
        origin: Of a model of others: where it came from, what they published of it, their terms.
        streams_made: How the streams of the training were made, as `parts.json` says it.
    """

    label_set: tuple[str, ...]
    class_texts: tuple[str, ...]
    model: dict[str, Any]
    backbone: dict[str, Any]
    image_size: Pixels
    sampling: dict[str, Any]
    crop: dict[str, Any] | None = None
    trained_on: dict[str, Any] = field(default_factory=dict)
    selected_on: str = "not selected"
    calibration: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0})
    results: dict[str, Any] = field(default_factory=dict)
    negative_texts: tuple[str, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)
    streams_made: dict[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that a method is built with: the positive ones, then the negative ones."""
        return (*self.class_texts, *self.negative_texts)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that the model was trained on."""
        own = self.model.get("finecliper") or {}
        streams = {"finecliper": own.get("streams"), "ensemble": self.model.get("streams")}
        return tuple(streams.get(str(self.model.get("method"))) or ("frames",))

    @property
    def calibrated_streams(self) -> tuple[str, ...]:
        """The streams that the calibration was fitted with; older cards name those of training."""
        return tuple(self.calibration.get("streams") or self.streams)

    def looking_at(self, streams: Sequence[str]) -> "ModelCard":
        """The card of the same model with these streams, and their calibration.

        A calibration that was fitted with others does not hold: where there is none of these, there
        is none.
        """
        if "min_confidence" not in self.calibration or set(streams) == set(self.calibrated_streams):
            return self
        own = self._set_of(streams)
        if own is None:
            return replace(self, calibration={"temperature": 1.0})
        return replace(self, calibration={**self.calibration, **own})

    def with_streams(self, streams: Sequence[str]) -> "ModelCard":
        """The card of a model that takes only these streams, such as an exported one."""
        card = self.looking_at(streams)
        if tuple(streams) == self.streams or self.model.get("method") != "finecliper":
            return card
        own = {**self.model.get("finecliper", {}), "streams": list(streams)}
        return replace(card, model={**self.model, "finecliper": own})

    def _set_of(self, streams: Sequence[str]) -> dict[str, Any] | None:
        """The calibration of a set of streams and the numbers that go with it."""
        sets = self.calibration.get("sets", ())
        return next((dict(own) for own in sets if set(own["streams"]) == set(streams)), None)

    def calibration_of(self, streams: Sequence[str]) -> tuple[float, float]:
        """The temperature and the threshold of confidence of a set of streams; 1 and 0 for none."""
        own = self.looking_at(streams).calibration
        return float(own["temperature"]), float(own.get("min_confidence", 0.0))

    @property
    def context_length(self) -> int:
        """The number of tokens that the model's text encoder takes."""
        tower = (self.backbone.get("architecture") or {}).get("text_cfg") or {}
        return int(tower.get("context_length", USUAL_CONTEXT))

    @property
    def min_confidence(self) -> float:
        """The threshold of confidence chosen after training; 0 where none was chosen."""
        return float(self.calibration.get("min_confidence", 0.0))

    def threshold(self, asked: float | None) -> float:
        """The confidence below which a prediction is uncertain: as asked for, else its own."""
        return self.min_confidence if asked is None else asked

    def to_json(self) -> dict[str, Any]:
        """The content of model.json, without its schema."""
        return asdict(self)


def card_from_json(content: Any, where: str) -> ModelCard:
    """Check the content of model.json and return it typed.

    Raises:
        ArtifactError: an entry is missing or of the wrong kind.
    """
    card: ModelCard = typed(ModelCard, content, where)
    for name in ("class_texts", "negative_texts"):
        texts = getattr(card, name)
        if len(texts) != len(card.label_set) and (texts or name == "class_texts"):
            raise ArtifactError(f"{where}: as many {name} as labels expected")
    if len(set(card.label_set)) != len(card.label_set) or not card.label_set:
        raise ArtifactError(f"{where}: label_set: expected different labels, at least one")
    tables: dict[str, Any] = {
        "model": ModelTable,
        "backbone": Backbone,
        "sampling": Sampling,
        "trained_on": TrainedOn,
        "calibration": FittedCalibration if "ece_before" in card.calibration else Calibration,
    }
    if card.results:
        tables["results"] = CardResults
    if card.origin:
        tables["origin"] = Origin
    for name, table in tables.items():
        typed(table, getattr(card, name), where, field=name)
    return card


def is_checkpoint(folder: Path) -> bool:
    """Tell whether `folder` is a checkpoint."""
    return (folder / CARD_NAME).is_file()


def read_card(folder: Path) -> dict[str, Any]:
    """Read model.json.

    Raises:
        ArtifactError: missing, not JSON, or of another schema.
    """
    path = folder / CARD_NAME
    card: dict[str, Any] = typed(dict, read_json(path), str(path), schema=MODEL_SCHEMA)
    return card


def read_model_card(folder: Path) -> ModelCard:
    """Read model.json of a checkpoint folder, typed.

    Raises:
        ArtifactError: missing, not JSON, of another schema, or an entry of the wrong kind.
    """
    return card_from_json(read_card(folder), str(folder / CARD_NAME))
