"""Models from their settings, to checkpoints and back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP
from torch import Tensor

from dfercli.artifacts.checkpoint import read_weights
from dfercli.artifacts.exported_files import is_exported
from dfercli.artifacts.model_card import ModelCard, read_model_card
from dfercli.config import ModelConfig
from dfercli.descriptions.texts import ClassTexts, load_texts, shipped_texts
from dfercli.errors import ArtifactError, ConfigError
from dfercli.models.build import METHODS, build_model
from dfercli.models.class_token import read_class_token_alone
from dfercli.models.clip_backbone import (
    BackboneIdentity,
    build_clip,
    load_backbone,
    load_same_backbone,
)
from dfercli.models.exp_clip import ExpClip
from dfercli.models.method import Method
from dfercli.models.published_checkpoint import build_published, read_published
from dfercli.models.zero_shot import ZeroShotClip
from dfercli.overrides import override, to_plain
from dfercli.typed import typed

# The errors of CLIP's constructors for sizes that do not fit together.
BUILD_FAULTS = (
    *(ConfigError, KeyError, TypeError, ValueError, RuntimeError, AssertionError),
    *(AttributeError, ZeroDivisionError, IndexError),
)
PROJECTION = "projection"  # the name of Exp-CLIP's matrix in its checkpoint
SAMPLING_RULES = {
    "train": "a random frame of each of T equal segments",
    "test": "the middle frame of each of T equal segments; short clips repeat their last frame",
}


@dataclass(frozen=True)
class RestoredModel:
    """A model with its weights and its card."""

    module: Method
    card: ModelCard
    config: ModelConfig


def class_texts_for(config: ModelConfig, label_set: tuple[str, ...]) -> ClassTexts:
    """The class texts for training a model.

    Raises:
        ConfigError: no text for a class.
        ArtifactError: the descriptions file is missing or broken.
    """
    if config.class_texts:
        if len(config.class_texts) != len(label_set):
            raise ConfigError(
                f"model.class_texts: expected {len(label_set)} texts, got {len(config.class_texts)}"
            )
        return ClassTexts(label_set, tuple((text,) for text in config.class_texts))
    if config.descriptions is not None:
        return load_texts(config.descriptions, label_set)
    if config.text_type == "published":
        raise ConfigError(
            "the published class texts are their authors' and do not come with dfer",
            hint="name a file that has them: --descriptions",
        )
    return shipped_texts(label_set, config.text_type)


def new_model(config: ModelConfig, label_set: tuple[str, ...], seed: int) -> RestoredModel:
    """Build an untrained model: CLIP with its weights, the rest drawn from `seed`.

    Raises:
        ConfigError: unknown names, texts that are missing or too long.
        ArtifactError: CLIP's weights are missing or do not fit.
    """
    positive, negative = texts_of_method(config, label_set)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip, identity = load_backbone(config.clip, config.clip_weights)
        module = build_model(clip, [*positive, *negative], config)
    card = _card(module, label_set, positive, config, asdict(identity))
    return RestoredModel(module, replace(card, negative_texts=tuple(negative)), config)


def zero_shot_module(
    clip: CLIP, texts: Sequence[Sequence[str]], projection: Path | None
) -> ZeroShotClip | ExpClip:
    """Build the module of a zero-shot model.

    Args:
        clip: The backbone with its weights.
        texts: The texts of each class.
        projection: The folder with the matrix of Exp-CLIP; None for CLIP alone.

    Raises:
        ArtifactError: the matrix is missing, broken, or belongs to another CLIP.
    """
    read_class_token_alone(clip.visual)
    if projection is None:
        return ZeroShotClip(clip, texts, ModelConfig.num_frames)
    matrix = read_weights(projection).get(PROJECTION)
    if matrix is None or matrix.ndim != 2 or not matrix.is_floating_point():
        raise ArtifactError(f"{projection}: expected one matrix {PROJECTION!r}")
    return ExpClip(clip, matrix, texts, ModelConfig.num_frames)


def zero_shot_model(
    clip_name: str,
    weights: Path | None,
    texts: dict[str, list[str]],
    projection: Path | None = None,
) -> RestoredModel:
    """Build a zero-shot model for any classes: CLIP, or Exp-CLIP on it.

    Args:
        clip_name: MODEL/TAG.
        weights: Local file with the weights, instead of the tag's download.
        texts: The texts of each class, which are averaged.
        projection: As for `zero_shot_module`.

    Raises:
        ConfigError: an unknown CLIP, or a text that is too long.
        ArtifactError: weights that are missing or do not fit.
    """
    clip, identity = load_backbone(clip_name, weights)
    module = zero_shot_module(clip, list(texts.values()), projection)
    config = ModelConfig(
        clip=clip_name,
        normalization=module.normalization.kind,
        text_type="name",
        context_tokens=0,
        temporal_layers=0,
    )
    method, selected_on = "zero-shot", "nothing: it was not trained on expressions"
    if projection is not None:
        method, selected_on = "exp-clip", read_model_card(projection).selected_on
    card = ModelCard(
        label_set=tuple(texts),
        class_texts=tuple(" | ".join(variants) for variants in texts.values()),
        model={"method": method, "clip": clip_name, "normalization": config.normalization},
        backbone=asdict(identity),
        image_size=module.image_size,
        sampling={"num_frames": config.num_frames, **SAMPLING_RULES},
        selected_on=selected_on,
    )
    return RestoredModel(module, card, config)


def texts_of_method(config: ModelConfig, label_set: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The positive texts and, if the method needs them, the negative texts of all classes."""
    if not METHODS[config.method].wants_texts(config):
        return list(label_set), []
    texts = class_texts_for(config, label_set)
    positive = [variants[0] for variants in texts.positive]
    if not METHODS[config.method].wants_negative_texts(config):
        return positive, []
    if not texts.negative:
        raise ConfigError(
            f"logits {config.finecliper.logits!r} need a negative text of each class, and the "
            f"class texts ({config.descriptions or config.text_type}) have none",
            hint="--text-type pn, or --set model.finecliper.logits=positive",
        )
    return positive, [variants[0] for variants in texts.negative]


def checkpoint_weights(
    weights: dict[str, Tensor], module: Method, card: ModelCard
) -> dict[str, Tensor]:
    """The weights of a model that its checkpoint holds.

    These are all weights, or only the trained ones if CLIP is frozen and its weights file is known.
    A frozen CLIP with random weights is included, as it exists nowhere else.
    """
    left_out = set(_left_out(module, card))
    return {name: weight for name, weight in weights.items() if name not in left_out}


def _left_out(module: Method, card: ModelCard) -> list[str]:
    if not module.backbone_is_frozen or card.backbone["sha256"] is None:
        return []
    return [name for name, weight in module.named_parameters() if not weight.requires_grad]


def restore_model(
    path: Path,
    *,
    class_position: str = "end",
    clip_weights: Path | None = None,
    label_set: tuple[str, ...] | None = None,
    descriptions: Path | None = None,
) -> RestoredModel:
    """Load a model: a checkpoint folder, or a published `.pth` file of DFER-CLIP.

    Args:
        path: Folder with model.json and model.safetensors, or a published checkpoint file.
        class_position: Only for a published file, which does not store it.
        clip_weights: File of the CLIP that the model was trained on, if it is not in its place
            and the checkpoint does not hold it.
        label_set: Other classes than the model's own, by their texts (open vocabulary).
        descriptions: Texts of these classes; None for the shipped ones of the model's text type.

    Raises:
        ArtifactError: missing, cut short, corrupt or incompatible.
        ConfigError: `label_set` for a model whose texts are only for its own classes.
    """
    if path.is_file():
        if is_exported(path):
            raise ConfigError(
                f"{path} is an exported model, which can only predict",
                hint="give the run or checkpoint that it was exported from",
            )
        if label_set is not None:
            raise ConfigError(f"{path} is a published checkpoint: it knows only its own classes")
        return _restore_published(path, class_position)
    where = str(path / "model.json")
    card = read_model_card(path)
    if card.model.get("method") == "exp-clip":
        raise ConfigError(
            f"{path} is a zero-shot model, and this needs a trained one",
            hint="dfer predict VIDEO --model exp-clip-…, or dfer eval DATASET --zero-shot --model "
            "exp-clip-…",
        )
    try:
        config = override(ModelConfig(), card.model, where=where, literal=True)
    except ConfigError as error:
        raise ArtifactError(error.message) from error
    if label_set is not None:
        card = _card_for(card, replace(config, descriptions=descriptions), label_set)
    try:
        clip = _backbone_for(card, config, clip_weights, where)
        module = build_model(clip, card.texts, config)
    except BUILD_FAULTS as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ArtifactError(f"{where} cannot be used: {reason}") from error
    for name, said, built in (
        ("sampling.num_frames", card.sampling["num_frames"], config.num_frames),
        ("image_size", card.image_size, module.image_size),
    ):
        if said != built:
            raise ArtifactError(f"{where}: {name}: expected {built}, as the model has, got {said}")
    weights = read_weights(path)
    state = module.state_dict()
    for name in state.keys() & weights.keys():
        expected, found = state[name].dtype, weights[name].dtype
        if expected.is_floating_point and not found.is_floating_point:
            raise ArtifactError(
                f"the weights in {path} do not fit its model.json: {name} holds {found}, "
                f"expected {expected}"
            )
        weights[name] = weights[name].to(expected)
    try:
        faults = module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"the weights in {path} do not fit its model.json: {reason}") from error
    missing = sorted(set(faults.missing_keys) - set(_left_out(module, card)))
    if missing or faults.unexpected_keys:
        raise ArtifactError(
            f"the weights in {path} do not fit its model.json: "
            f"missing {', '.join(missing) or 'none'}; "
            f"not known {', '.join(faults.unexpected_keys) or 'none'}"
        )
    return RestoredModel(module, card, config)


def _backbone_for(card: ModelCard, config: ModelConfig, weights: Path | None, where: str) -> CLIP:
    """CLIP, with its weights if the checkpoint does not hold them."""
    identity: BackboneIdentity = typed(BackboneIdentity, card.backbone, where, field="backbone")
    if not METHODS[config.method].backbone_is_frozen or identity.sha256 is None:
        try:
            return build_clip(identity.architecture, draw=False)
        except ArtifactError as error:
            raise ArtifactError(f"{where}: backbone.architecture: {error.message}") from error
    return load_same_backbone(identity, weights)


def _card_for(card: ModelCard, config: ModelConfig, label_set: tuple[str, ...]) -> ModelCard:
    """The card with the texts of other classes."""
    if not METHODS[config.method].wants_texts(config):
        raise ConfigError(
            f"the linear head of {config.method} knows only its own classes",
            hint="measure the classes present in both: --classes common; or train with "
            "--set model.clip_lora.head=texts",
        )
    if config.context_tokens and config.class_specific:
        raise ConfigError(
            "this model learned context tokens for each of its classes: it has none for others",
            hint="measure the classes present in both: --classes common; or train with "
            "--set model.class_specific=false",
        )
    positive, negative = texts_of_method(config, label_set)
    return replace(
        card,
        label_set=label_set,
        class_texts=tuple(positive),
        negative_texts=tuple(negative),
        calibration={"temperature": 1.0},
    )


def _restore_published(path: Path, class_position: str) -> RestoredModel:
    settings = override(ModelConfig(), {"class_position": class_position}, where="class position")
    module, config, texts, label_set, architecture = build_published(
        read_published(path), settings.class_position
    )
    backbone = {"name": "published", "tag": "file", "sha256": None, "architecture": architecture}
    card = _card(module, label_set, texts, config, backbone)
    selected = "the published trainer keeps the epoch that is best on the test list"
    return RestoredModel(module, replace(card, selected_on=selected), config)


def _card(
    module: Method,
    label_set: tuple[str, ...],
    texts: list[str],
    config: ModelConfig,
    backbone: dict[str, Any],
) -> ModelCard:
    settings = to_plain(replace(config, clip_weights=None, descriptions=None, class_texts=()))
    return ModelCard(
        label_set=label_set,
        class_texts=tuple(texts),
        model=settings,
        backbone=backbone,
        image_size=module.image_size,
        sampling={"num_frames": config.num_frames, **SAMPLING_RULES},
    )
