"""Which model predicts: a checkpoint, the newest finished run, or CLIP without training."""

from dataclasses import asdict
from pathlib import Path

from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import newest_finished_fold
from dfercli.config import ModelConfig, PredictConfig
from dfercli.descriptions.texts import read_texts, zero_shot_templates
from dfercli.errors import ConfigError
from dfercli.labels import SEVEN
from dfercli.models.clip_backbone import load_backbone
from dfercli.models.method import FRAMES
from dfercli.models.zero_shot import ZeroShotClip
from dfercli.progress import Progress
from dfercli.stages.loaded_model import LoadedModel, load_checkpoint, ready
from dfercli.stages.models_on_disk import SAMPLING_RULES, RestoredModel


def choose_model(config: PredictConfig, progress: Progress) -> LoadedModel:
    """Load the model that `config` asks for, and say which it is.

    Raises:
        ConfigError: settings that contradict each other, or an unknown CLIP.
        ArtifactError: a checkpoint or weights that are missing or cannot be used.
    """
    wants_zero_shot = config.clip is not None or bool(config.labels)
    if config.checkpoint is not None and wants_zero_shot:
        raise ConfigError(
            "--labels and --clip are for zero-shot CLIP; a checkpoint has its own",
            hint="leave --checkpoint out, or train on your classes: dfer train",
        )
    checkpoint, why = config.checkpoint, "as asked for"
    if checkpoint is None and not wants_zero_shot:
        fold = newest_finished_fold(config.runs)
        if fold is not None:
            checkpoint, why = fold.path, f"newest finished run in {config.runs}"
    if checkpoint is not None:
        model = load_checkpoint(
            checkpoint,
            LoadedModel,
            device=config.device,
            precision=config.precision,
            clip_weights=config.clip_weights,
        )
        progress.note(f"model: {model.name} ({why})")
        if streams := other_streams(model.card):
            progress.note(f"it was trained on {', '.join(streams)}, too: judging by frames alone")
    else:
        if not wants_zero_shot:
            progress.note(f"no finished run in {config.runs}: using zero-shot CLIP")
        model = _zero_shot(config)
        first = model.card.class_texts[0]
        progress.note(f"model: {model.name}; class texts such as {first!r}")
    progress.note(f"labels: {', '.join(model.label_set)}")
    return model


def other_streams(card: ModelCard) -> list[str]:
    """The views beside the frames that a model was trained on (FineCLIPER)."""
    if card.model.get("method") != "finecliper":
        return []
    streams = card.model.get("finecliper", {}).get("streams", ())
    return [name for name in streams if name != FRAMES]


def _zero_shot(config: PredictConfig) -> LoadedModel:
    name = config.clip or ModelConfig.clip
    texts = class_texts(config.labels or SEVEN, config.templates)
    restored = zero_shot_model(name, config.clip_weights, texts)
    described = f"zero-shot CLIP {name}"
    return ready(restored, described, LoadedModel, device=config.device, precision=config.precision)


def zero_shot_model(
    clip_name: str, weights: Path | None, texts: dict[str, list[str]]
) -> RestoredModel:
    """Build zero-shot CLIP for any classes.

    Args:
        clip_name: MODEL/TAG.
        weights: Local file with the weights, instead of the tag's download.
        texts: The texts of each class, whose features are averaged.

    Raises:
        ConfigError: an unknown CLIP, or a text that is too long.
        ArtifactError: weights that are missing or do not fit.
    """
    clip, identity = load_backbone(clip_name, weights)
    config = ModelConfig(
        clip=clip_name, normalization="clip", text_type="name", context_tokens=0, temporal_layers=0
    )
    module = ZeroShotClip(clip, list(texts.values()), config.num_frames)
    card = ModelCard(
        label_set=tuple(texts),
        class_texts=tuple(" | ".join(variants) for variants in texts.values()),
        model={"method": "zero-shot", "clip": clip_name, "normalization": config.normalization},
        backbone=asdict(identity),
        image_size=module.image_size,
        sampling={"num_frames": config.num_frames, **SAMPLING_RULES},
        selected_on="nothing: it was not trained on expressions",
    )
    return RestoredModel(module, card, config)


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
        texts[name] = [text] if text else [form.format(name=name) for form in forms]
    if len(texts) < 2:
        raise ConfigError(f"--labels needs at least two classes, got {', '.join(texts) or 'none'}")
    return texts
