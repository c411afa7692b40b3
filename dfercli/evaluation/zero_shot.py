"""`dfer eval --zero-shot`: CLIP without training, by each template and by all of them together."""

from pathlib import Path

import numpy as np

from dfercli.artifacts.run_config import dataset_name
from dfercli.config import EvalConfig, ModelConfig
from dfercli.data.folds import read_fold_of, split_warning
from dfercli.data.loading import ClipDataset
from dfercli.descriptions.texts import fill, zero_shot_templates
from dfercli.errors import ConfigError
from dfercli.evaluation.measure import Measured, write_evaluation
from dfercli.inference.fabric import make_fabric
from dfercli.inference.predict_logits import predict_logits
from dfercli.inference.probabilities import softmax
from dfercli.metrics.rates import evaluate
from dfercli.models.clip_backbone import load_backbone
from dfercli.models.zero_shot import ZeroShotClip
from dfercli.progress import Progress


def run(config: EvalConfig, progress: Progress) -> tuple[Measured, ...]:
    """Measure zero-shot CLIP on a data set: per template and, of several, their ensemble.

    The mean over T frames of the image features is compared with the text features. Those of an
    ensemble are averaged over its templates.

    Raises:
        ConfigError: an unknown CLIP, or a template without `{name}`.
        DataError: clips that cannot be read.
        ArtifactError: weights that are missing or do not fit.
    """
    assert config.dataset is not None
    templates = _templates(config.template)
    fold = read_fold_of(config.dataset, config.data, fold=config.fold)
    if warning := split_warning(fold):
        progress.note(warning)
    labels, clips = fold.label_set, fold.test or fold.train
    groups = {template: [[fill(template, name)] for name in labels] for template in templates}
    if len(templates) > 1:
        together = [[fill(template, name) for template in templates] for name in labels]
        groups[f"ensemble of {len(templates)}"] = together
    clip, _ = load_backbone(config.clip, config.clip_weights)
    texts = [text for group in groups.values() for text in group]
    module = ZeroShotClip(clip, texts, ModelConfig.num_frames)
    dataset = ClipDataset(clips, labels, num_frames=module.num_frames, image_size=module.image_size)
    fabric = make_fabric(config.device, 1, config.precision)
    logits = predict_logits(
        fabric,
        fabric.setup_module(module),
        dataset,
        progress,
        batch_size=config.batch_size,
        workers=config.workers,
    )
    out = config.out or _folder(config)
    kind = "test clips" if fold.test else "all clips"
    found = []
    for number, (template, group) in enumerate(groups.items()):
        columns = slice(number * len(labels), (number + 1) * len(labels))
        probabilities = softmax(logits[:, columns])
        measured = Measured(
            checkpoint=Path(config.clip),
            selected_on="nothing: zero-shot",
            measured_on=f"{kind} of {fold.dataset} fold {fold.fold}, template {template!r}",
            folder=out / f"{number + 1:02d}-{_slug(template)}",
            evaluation=evaluate(
                probabilities,
                np.array(dataset.labels),
                labels,
                subjects=[clip.subject for clip in clips],
                bootstrap_samples=config.bootstrap_samples,
            ),
            class_texts=tuple(" | ".join(variants) for variants in group),
        )
        write_evaluation(measured, clips, probabilities)
        found.append(measured)
    return tuple(found)


def _templates(template: str) -> tuple[str, ...]:
    if "{name}" in template:
        return (template,)
    try:
        return zero_shot_templates(template)
    except ConfigError as error:
        raise ConfigError(error.message, hint='or a text such as "a face of {name}."') from error


def _folder(config: EvalConfig) -> Path:
    dataset = dataset_name(config.dataset or "")
    return Path("runs") / f"zero-shot-{dataset}-{_slug(config.clip)}" / "evaluation"


def _slug(text: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return "-".join(words)[:60]
