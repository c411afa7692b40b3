"""Choose the model: a named one, the newest finished run, or the best one that is here."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfercli.artifacts.exported_files import is_torchscript
from dfercli.artifacts.model_card import ModelCard, read_model_card
from dfercli.artifacts.run_folder import find_checkpoint, newest_finished_fold
from dfercli.config import ModelConfig, PredictConfig
from dfercli.descriptions.texts import fill, read_texts, zero_shot_templates
from dfercli.errors import ArtifactError, ConfigError
from dfercli.inference.ensemble import card_of_ensemble, ensemble, name_of_ensemble
from dfercli.inference.light_imports import import_models
from dfercli.inference.locate import locate, split_models
from dfercli.inference.named_models import (
    ZeroShot,
    best_trained,
    best_zero_shot,
    folder_of,
    origin_of,
    zero_shot_of,
)
from dfercli.labels import SEVEN
from dfercli.progress import Progress
from dfercli.registry import NamedModel, Result, named_model, named_models

if TYPE_CHECKING:
    from dfercli.inference.loaded_model import LoadedModel


CLIP_TEMPLATES = "five"


@dataclass(frozen=True)
class ChosenModel:
    """The chosen model.

    Attributes:
        name: Its origin, as text.
        card: Its card.
        load: Loads it. That imports torch and open_clip, which takes seconds; meanwhile faces can
            be found.
    """

    name: str
    card: ModelCard
    load: Callable[[], "LoadedModel"]

    @property
    def label_set(self) -> tuple[str, ...]:
        """The K class names, in the order of the outputs."""
        return self.card.label_set


def ready_choice(model: "LoadedModel") -> ChosenModel:
    """Use a loaded model."""
    return ChosenModel(model.name, model.card, lambda: model)


def choose_model(config: PredictConfig, progress: Progress) -> ChosenModel:
    """Find the model for `config`, and print one line with its name and quality.

    The default is the newest finished run, else the preferred trained model for the seven
    classes that is here, else a zero-shot model that is here, else CLIP.

    Raises:
        ConfigError: settings that contradict each other, or an unknown CLIP.
        ArtifactError: a model or weights that are missing or unusable; for a folder, `load`
            finds faults of the weights.
    """
    if config.model is not None:
        model = _asked_for(config, config.model, progress)
    elif config.clip is not None or config.labels:
        model = _zero_shot(config, _any_zero_shot(config), "zero-shot", progress)
    else:
        model = _by_itself(config, progress)
    progress.note(f"labels: {', '.join(model.label_set)}")
    return model


def _asked_for(config: PredictConfig, spec: str, progress: Progress) -> ChosenModel:
    """The model of `--model`, or several as one."""
    if config.clip is not None:
        raise ConfigError(
            f"--clip and --model {spec} both name a model",
            hint="leave one of them out",
        )
    names = split_models(spec)
    found = [(name, locate(name, progress)) for name in names]
    trained = [(name, place) for name, place in found if isinstance(place, Path)]
    if len(trained) < len(found):
        place = found[0][1]
        if len(found) > 1 or isinstance(place, Path):
            raise ConfigError("only trained models are averaged, and a zero-shot one is among them")
        return _zero_shot(config, place, "as asked for", progress)
    if config.labels:
        raise ConfigError(
            "--labels is for zero-shot models; a trained one has its own classes",
            hint="--model exp-clip-b32 takes any, or train on your classes: dfer train",
        )
    for _, place in trained:
        if is_torchscript(place) and config.trust_code:
            progress.note(f"running the code in {place}, as --trust-code allows")
    members = [_trained(place, config) for _, place in trained]
    if len(members) == 1:
        progress.note(_introduced(members[0], "as asked for"))
        return members[0]
    card = card_of_ensemble([(name, one.card) for name, one in zip(names, members, strict=True)])

    def load() -> "LoadedModel":
        return ensemble([member.load() for member in members])

    model = ChosenModel(name_of_ensemble(names), card, load)
    progress.note(f"model: {model.name} (as asked for); their probabilities are averaged")
    return model


def _by_itself(config: PredictConfig, progress: Progress) -> ChosenModel:
    """The default model."""
    fold = newest_finished_fold(config.runs)
    if fold is not None:
        model = _trained(fold.path, config)
        progress.note(_introduced(model, f"newest finished run in {config.runs}"))
        return model
    why = f"no finished run in {config.runs}"
    named = None if config.clip_weights is not None else best_trained(SEVEN)
    if named is not None:
        model = _trained(folder_of(named.name), config)
        progress.note(_introduced(model, f"{why}; the preferred one that is here"))
        return model
    try:
        return _zero_shot(config, _any_zero_shot(config), why, progress, better=_preferred())
    except ArtifactError as error:
        if config.clip_weights is not None:
            raise
        raise ArtifactError(
            f"{why}, none of `dfer models` is here, and zero-shot CLIP cannot be used: "
            f"{error.message}",
            hint=_ways_out(config),
        ) from error


def _any_zero_shot(config: PredictConfig) -> ZeroShot:
    """The zero-shot model of the settings: a named CLIP, else the best one that is here."""
    found = None
    if config.clip is None and config.clip_weights is None:
        found = best_zero_shot()
    if found is not None:
        return zero_shot_of(found)
    clip = config.clip or ModelConfig.clip
    return ZeroShot(f"CLIP {clip}", clip, None, CLIP_TEMPLATES)


def _preferred() -> NamedModel:
    """The trained model for the seven classes, which beats any zero-shot one on DFEW."""
    return next(model for model in named_models() if model.label_set == SEVEN)


def _introduced(model: ChosenModel, why: str, better: NamedModel | None = None) -> str:
    """One line: which model, why, its published quality, and how to get a better one."""
    line = f"model: {model.name} ({why})"
    rates, results = model.card.origin.get("results", ()), model.card.results
    if rates:
        line += f"; published: {Result(**rates[0])}"
    elif results:
        line += (
            f"; measured: UAR {100 * results['uar']:.2f} %, WAR {100 * results['war']:.2f} % on "
            f"{results['measured_on']}"
        )
    if better is not None:
        terms = ", for research only" if better.research_only else ""
        line += f"; better{terms}: dfer models get {better.name} ({better.results[0]})"
    return line


def _ways_out(config: PredictConfig) -> str:
    """Lines to paste if there is no model and none can be fetched."""
    source = shlex.quote(config.sources[0]) if config.sources else "VIDEO"
    return "\n".join(
        (
            "one of these lines:",
            f"dfer models get {_preferred().name}  # where there is a network, once",
            f"dfer predict {source} --clip-weights FILE  # CLIP's weights, from another machine",
            "dfer demo  # a toy that learns here, on drawn faces",
        )
    )


def _trained(path: Path, config: PredictConfig) -> ChosenModel:
    def load() -> "LoadedModel":
        import_models()
        from dfercli.inference.loaded_model import load_checkpoint

        return load_checkpoint(
            path,
            device=config.device,
            precision=config.precision,
            clip_weights=config.clip_weights,
            trust_code=config.trust_code,
        )

    if path.is_file():  # only the content tells what it is
        return ready_choice(load())
    checkpoint = find_checkpoint(path)
    card = read_model_card(checkpoint)
    return ChosenModel(str(checkpoint), card, load)


def _zero_shot(
    config: PredictConfig,
    kind: ZeroShot,
    why: str,
    progress: Progress,
    better: NamedModel | None = None,
) -> ChosenModel:
    import_models()
    from dfercli.inference.loaded_model import ready
    from dfercli.inference.restore import zero_shot_model

    texts = class_texts(config.labels or SEVEN, config.templates or kind.templates)
    restored = zero_shot_model(kind.clip, config.clip_weights, texts, kind.projection)
    known = named_model(kind.name)
    if known is not None:
        restored = replace(restored, card=replace(restored.card, origin=origin_of(known)))
    loaded = ready(
        restored,
        f"zero-shot {kind.name}",
        device=config.device,
        precision=config.precision,
    )
    model = ready_choice(loaded)
    introduced = _introduced(model, why, better)
    if config.labels:
        progress.note(introduced)
        for line in table_of_texts(texts):
            progress.note(line)
    else:
        first = model.card.class_texts[0]
        progress.note(f"{introduced}; class texts such as {first!r}")
    return model


def table_of_texts(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """The texts to compare classes with, as lines of a table."""
    rows = [("class", "is compared with")]
    for name, own in texts.items():
        more = f"  (and {len(own) - 1} like it)" if len(own) > 1 else ""
        rows.append((name, f"{own[0]}{more}"))
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {text}" for name, text in rows]


def class_texts(labels: tuple[str, ...], templates: str) -> dict[str, list[str]]:
    """The texts of zero-shot classes.

    Args:
        labels: Names, which go into the templates, or NAME=TEXT; or a single .json file of
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
