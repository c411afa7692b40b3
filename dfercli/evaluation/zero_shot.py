"""`dfer eval --zero-shot`: models without training, by each template and all together."""

from pathlib import Path

import numpy as np

from dfercli.artifacts.atomic import files_together
from dfercli.artifacts.evaluation import METRICS_NAME
from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.run_config import dataset_name
from dfercli.config import EvalConfig
from dfercli.data.clips import Fold
from dfercli.data.folds import read_fold_of, split_warning
from dfercli.data.loading import ClipDataset
from dfercli.descriptions.texts import fill, zero_shot_templates
from dfercli.errors import ConfigError
from dfercli.evaluation.measure import Measured, write_evaluation
from dfercli.inference.fabric import make_fabric
from dfercli.inference.locate import locate
from dfercli.inference.named_models import ZeroShot
from dfercli.inference.predict_logits import predict_logits
from dfercli.inference.probabilities import softmax
from dfercli.inference.restore import zero_shot_module
from dfercli.metrics.rates import evaluate
from dfercli.models.clip_backbone import load_backbone
from dfercli.progress import Progress


def run(config: EvalConfig, progress: Progress) -> tuple[Measured, ...]:
    """Measure zero-shot models on a data set: per template and, of several, their ensemble.

    The mean over T frames of the image features is compared with the text features. Those of an
    ensemble are averaged over its templates.

    Raises:
        ConfigError: an unknown CLIP, a template without `{name}`, or a model that is trained.
        DataError: clips that cannot be read.
        ArtifactError: weights that are missing or do not fit.
    """
    assert config.dataset is not None
    templates = _templates(config.template)
    kinds = _models(config, progress)
    fold = read_fold_of(config.dataset, config.data, fold=config.fold)
    if warning := split_warning(fold):
        progress.note(warning)
    labels = fold.label_set
    groups = {template: [[fill(template, name)] for name in labels] for template in templates}
    if len(templates) > 1:
        together = [[fill(template, name) for template in templates] for name in labels]
        groups[f"ensemble of {len(templates)}"] = together
    out = config.out or _folder(config)
    found: list[Measured] = []
    with writing_file(out):
        for kind in kinds:
            folder = out if len(kinds) == 1 else out / _slug(kind.name)
            found += _measure(config, kind, fold, groups, folder, progress)
    return tuple(found)


def _models(config: EvalConfig, progress: Progress) -> list[ZeroShot]:
    if not config.models:
        return [ZeroShot(config.clip, config.clip, None, config.template)]
    if config.clip != EvalConfig.clip:
        raise ConfigError("--clip and --model both name a model")
    if len(set(config.models)) < len(config.models):
        raise ConfigError(f"--model names a model twice: {', '.join(config.models)}")
    found = [locate(name, progress) for name in config.models]
    for name, place in zip(config.models, found, strict=True):
        if isinstance(place, Path):
            raise ConfigError(
                f"--zero-shot measures zero-shot models, and {name} is trained",
                hint=f"dfer eval {name} {config.dataset}",
            )
    return [place for place in found if isinstance(place, ZeroShot)]


def _measure(
    config: EvalConfig,
    kind: ZeroShot,
    fold: Fold,
    groups: dict[str, list[list[str]]],
    out: Path,
    progress: Progress,
) -> list[Measured]:
    """Measure one model by each group of texts."""
    labels, clips = fold.label_set, fold.test or fold.train
    clip, _ = load_backbone(kind.clip, config.clip_weights)
    texts = [text for group in groups.values() for text in group]
    module = zero_shot_module(clip, texts, kind.projection)
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
    which = "test clips" if fold.test else "all clips"
    found = []
    for number, (template, group) in enumerate(groups.items()):
        columns = slice(number * len(labels), (number + 1) * len(labels))
        probabilities = softmax(logits[:, columns])
        measured = Measured(
            checkpoint=Path(kind.name),
            selected_on="nothing: zero-shot",
            measured_on=f"{which} of {fold.dataset} fold {fold.fold}, template {template!r}",
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
        with files_together(measured.folder, last=METRICS_NAME) as temporary:
            write_evaluation(temporary, measured, clips, probabilities)
        found.append(measured)
    return found


def _templates(template: str) -> tuple[str, ...]:
    if "{name}" in template:
        return (template,)
    try:
        return zero_shot_templates(template)
    except ConfigError as error:
        raise ConfigError(error.message, hint='or a text such as "a face of {name}."') from error


def _folder(config: EvalConfig) -> Path:
    dataset = dataset_name(config.dataset or "")
    name = " ".join(config.models) or config.clip
    return Path("runs") / f"zero-shot-{dataset}-{_slug(name)}" / "evaluation"


def _slug(text: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return "-".join(words)[:60]
