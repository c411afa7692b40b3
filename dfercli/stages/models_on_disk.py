"""Models from their settings, to checkpoints and back."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dfercli.artifacts.checkpoint import read_card, read_weights
from dfercli.artifacts.model_card import ModelCard, card_from_json
from dfercli.config import ModelConfig
from dfercli.descriptions.texts import ClassTexts, load_texts, shipped_texts
from dfercli.errors import ArtifactError, ConfigError
from dfercli.models.build import build_model
from dfercli.models.clip_backbone import build_clip, load_backbone
from dfercli.models.method import Method
from dfercli.models.published_checkpoint import build_published, read_published
from dfercli.overrides import override, to_plain

SAMPLING_RULES = {
    "train": "a random frame of each of T equal segments",
    "test": "the middle frame of each of T equal segments; short clips repeat their last frame",
}


@dataclass(frozen=True)
class RestoredModel:
    """A model with its weights and what its checkpoint says about it."""

    module: Method
    card: ModelCard
    config: ModelConfig


def class_texts_for(config: ModelConfig, label_set: tuple[str, ...]) -> ClassTexts:
    """The class texts that a model is trained with.

    Raises:
        ConfigError: no text for a class.
        ArtifactError: the descriptions file is missing or broken.
    """
    if config.descriptions is not None:
        return load_texts(config.descriptions, label_set)
    return shipped_texts(label_set, config.text_type)


def new_model(config: ModelConfig, label_set: tuple[str, ...], seed: int) -> RestoredModel:
    """Build an untrained model: CLIP with its weights, the rest drawn from `seed`.

    Raises:
        ConfigError: unknown names, texts that are missing or too long.
        ArtifactError: CLIP's weights are missing or do not fit.
    """
    texts = class_texts_for(config, label_set)
    first = [variants[0] for variants in texts.positive]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip, identity = load_backbone(config.clip, config.clip_weights)
        module = build_model(clip, first, config)
    card = _card(module, label_set, first, config, asdict(identity))
    return RestoredModel(module, card, config)


def restore_model(path: Path, *, class_position: str = "end") -> RestoredModel:
    """Load a model: a checkpoint folder of ours, or a published `.pth` file of DFER-CLIP.

    Args:
        path: Folder with model.json and model.safetensors, or a published checkpoint file.
        class_position: For a published file only, which does not store it.

    Raises:
        ArtifactError: missing, cut short, corrupt or incompatible.
    """
    if path.is_file():
        return _restore_published(path, class_position)
    card = card_from_json(read_card(path), str(path / "model.json"))
    try:
        config = override(ModelConfig(), card.model, where=str(path / "model.json"))
        clip = build_clip(card.backbone["architecture"])
        module = build_model(clip, list(card.class_texts), config)
    except (ConfigError, KeyError) as error:
        raise ArtifactError(f"{path / 'model.json'} cannot be used: {error}") from error
    try:
        module.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"the weights in {path} do not fit its model.json: {reason}") from error
    return RestoredModel(module, card, config)


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
    settings = to_plain(replace(config, clip_weights=None, descriptions=None))
    return ModelCard(
        label_set=label_set,
        class_texts=tuple(texts),
        model=settings,
        backbone=backbone,
        image_size=module.image_size,
        sampling={"num_frames": config.num_frames, **SAMPLING_RULES},
    )
