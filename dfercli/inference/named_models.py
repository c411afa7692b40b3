"""Models by name: find those that are here; fetch, convert and keep one with its card.

They are in the cache, under `models/NAME`, as dfer checkpoints; CLIP's weights are in the hub's own
cache. The published files are pickles, read as in `dfer convert`: nothing in them runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dfercli.artifacts.atomic import is_temporary
from dfercli.artifacts.cache_folder import cache_folder
from dfercli.artifacts.fetching import Record, Remote, accept, fetch_file, read_record
from dfercli.artifacts.hub_cache import first_cached
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.model_card import ModelCard, is_checkpoint, read_model_card
from dfercli.artifacts.network import is_offline
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.errors import ArtifactError, ConfigError
from dfercli.names import inside, is_plain
from dfercli.progress import Progress
from dfercli.registry import NamedModel, expand, named_model, named_models

CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
State = Literal["here", "no CLIP", "not here"]


@dataclass(frozen=True)
class ZeroShot:
    """A zero-shot model: which CLIP, which matrix on it, and the templates of its classes.

    Attributes:
        name: Its name for the user.
        clip: MODEL/TAG.
        projection: The folder with the matrix of Exp-CLIP; None for CLIP alone.
        templates: The set of templates of its publication.
    """

    name: str
    clip: str
    projection: Path | None
    templates: str


def models_folder() -> Path:
    """`DFER_CACHE/models`, else `dfer/models` in the user's cache folder."""
    return cache_folder("models")


def folder_of(name: str) -> Path:
    """The folder of a model of that name, if it is here."""
    return inside(models_folder(), name)


def state_of(model: NamedModel) -> State:
    """Whether a model is here, perhaps except for the weights of CLIP."""
    if model.kind != "clip" and not is_checkpoint(folder_of(model.name)):
        return "not here"
    if has_clip(model):
        return "here"
    return "not here" if model.kind == "clip" else "no CLIP"


def has_clip(model: NamedModel) -> bool:
    """Whether the weights of CLIP that a model needs are here; random ones always are."""
    if model.clip is None or model.clip_hub is None or model.clip.endswith("/random"):
        return True
    return first_cached(model.clip_hub, CLIP_FILES) is not None


def own_names() -> list[str]:
    """The names that the user gave in `dfer models add`."""
    folder = models_folder()
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        path.name
        for path in found
        if is_plain(path.name)
        and not is_temporary(path)
        and is_checkpoint(path)
        and named_model(path.name) is None
    ]


def best_trained(label_set: tuple[str, ...]) -> NamedModel | None:
    """The preferred trained model for these classes that is here."""
    for model in named_models():
        if model.label_set == label_set and state_of(model) == "here":
            return model
    return None


def best_zero_shot() -> NamedModel | None:
    """The preferred zero-shot model that is here."""
    for model in named_models():
        if model.is_zero_shot and state_of(model) == "here":
            return model
    return None


def zero_shot_of(model: NamedModel) -> ZeroShot:
    """A zero-shot model from the table."""
    assert model.clip is not None
    assert model.templates is not None
    folder = folder_of(model.name) if model.kind == "exp-clip" else None
    return ZeroShot(model.name, model.clip, folder, model.templates)


def remote_of(model: NamedModel) -> Remote:
    """How the file of a model is fetched and checked."""
    return Remote(
        model.name,
        model.place,
        model.most_bytes,
        models_folder() / f".{model.name}.fetched.json",
        sha256=model.sha256 or "",
        size_bytes=model.size_bytes,
        hint=f"open {model.hand_page} in a browser, save the file, then: "
        f"dfer models add {model.name} FILE",
    )


def record_of(model: NamedModel) -> Record | None:
    """Size and checksum of a model's file at the first fetch."""
    return None if model.kind == "clip" else read_record(remote_of(model).record)


def get(model: NamedModel, progress: Progress, *, with_clip: bool = True) -> Path | None:
    """Fetch a model unless it is here, check it, convert it, and write its card.

    Args:
        model: The model.
        progress: Where to report.
        with_clip: For a zero-shot model, also fetch the weights of CLIP.

    Returns:
        Its folder; None for CLIP alone, which is in the hub's cache.

    Raises:
        ArtifactError: it cannot be fetched, is another file than before, or cannot be used.
    """
    folder = None
    if model.kind != "clip":
        folder = folder_of(model.name)
        if not is_checkpoint(folder):
            _fetch_and_convert(model, folder, progress)
    if model.clip is not None and with_clip and not has_clip(model):
        from dfercli.models.clip_backbone import split_clip_name
        from dfercli.models.clip_weights import fetch_weights

        progress.info(f"fetching the weights of CLIP {model.clip}, 350 to 900 MB")
        fetch_weights(*split_clip_name(model.clip))
    return folder


def _fetch_and_convert(model: NamedModel, folder: Path, progress: Progress) -> None:
    if is_offline():
        raise ArtifactError(
            f"{model.name} is not here, and DFER_OFFLINE is set",
            hint=f"where there is a network: dfer models get {model.name}; or save the file of "
            f"{model.hand_page}, then: dfer models add {model.name} FILE",
        )
    _say_terms(model, progress)
    raw = inside(models_folder(), "downloads", f"{model.name}.pth")
    with exclusive(models_folder() / f".{model.name}.lock"):
        if is_checkpoint(folder):  # another process made it in the meantime
            return
        try:
            with _known_once_usable(model):
                fetch_file(remote_of(model), raw, progress, is_there=raw.is_file)
                _convert(model, raw, folder, accept(remote_of(model), raw))
        finally:
            raw.unlink(missing_ok=True)


@contextmanager
def _known_once_usable(model: NamedModel) -> Iterator[None]:
    """Forget the checksum of a first file that turns out to be no such model.

    Otherwise the right file, which comes next, would count as a changed one.
    """
    record = remote_of(model).record
    is_first = not record.is_file()
    try:
        yield
    except ArtifactError:
        if is_first:
            record.unlink(missing_ok=True)
        raise


def _say_terms(model: NamedModel, progress: Progress) -> None:
    terms = f"{model.name}: weights: {model.licence_weights}; data: {model.licence_data}"
    progress.note(f"{terms}. For research only." if model.research_only else terms)


def add(name: str, source: Path, progress: Progress) -> Path:
    """Keep a model under a name: a file saved by hand, or your own model.

    Args:
        name: Of a model in the table, whose published file `source` is; or a new one.
        source: The file; for a new name also a run, a fold or a checkpoint.
        progress: Where to report.

    Returns:
        Its folder.

    Raises:
        ConfigError: a name that cannot be one, or is taken.
        ArtifactError: a file that is missing, a page, damaged, or not the expected one.
    """
    model = named_model(name)
    if model is None:
        return _add_own(name, source)
    if model.kind == "clip":
        raise ConfigError(
            f"{name} is CLIP alone, whose weights the hub's cache keeps",
            hint=f"dfer predict VIDEO --clip {model.clip} --clip-weights {source}",
        )
    if not source.is_file():
        raise ArtifactError(f"no such file: {source}")
    folder = folder_of(name)
    _say_terms(model, progress)
    with exclusive(models_folder() / f".{name}.lock"), _known_once_usable(model):
        _convert(model, source, folder, accept(remote_of(model), source))
    return folder


def _add_own(name: str, source: Path) -> Path:
    from dfercli.artifacts.checkpoint import read_weights, save_checkpoint
    from dfercli.inference.restore import restore_model

    if not is_plain(name) or "," in name:
        raise ConfigError(f"no model can be called {name!r}: expected one plain name")
    if len(expand(name)) > 1:
        raise ConfigError(f"{name} stands for models of the table: {', '.join(expand(name))}")
    folder = folder_of(name)
    if folder.exists():
        raise ConfigError(f"there is a model {name} already: {folder}")
    if source.is_file():
        restored = restore_model(source)
        weights, card = restored.module.state_dict(), restored.card
    else:
        checkpoint = find_checkpoint(source)
        weights, card = read_weights(checkpoint), read_model_card(checkpoint)
    save_checkpoint(folder, weights, card.to_json())
    return folder


def _convert(model: NamedModel, raw: Path, folder: Path, record: Record) -> None:
    """Turn a published file into our checkpoint, with its card."""
    from dfercli.artifacts.checkpoint import save_checkpoint
    from dfercli.inference.restore import PROJECTION, restore_model

    if model.kind == "exp-clip":
        from dfercli.models.exp_clip import read_projection

        matrix = read_projection(raw)
        card = _card_of_exp_clip(model, matrix.shape[1])
        weights = {PROJECTION: matrix}
    else:
        restored = restore_model(raw)
        card, weights = restored.card, restored.module.state_dict()
        if card.label_set != model.label_set:
            raise ArtifactError(
                f"{raw} has {len(card.label_set)} classes, {model.name} has "
                f"{len(model.label_set or ())}: it is another file"
            )
    card = replace(
        card,
        trained_on=_trained_on(model),
        selected_on=model.selected_on,
        origin=origin_of(model, record),
    )
    save_checkpoint(folder, weights, card.to_json())


def _trained_on(model: NamedModel) -> dict[str, Any]:
    if model.trained_on is None:
        return {}
    return {
        "dataset": model.trained_on,
        "fold": model.fold or 1,
        "official_split": True,
        "selection": model.selected_on,
    }


def origin_of(model: NamedModel, record: Record | None = None) -> dict[str, Any]:
    """The origin of a model for its card."""
    known = {} if record is None else asdict(record)
    return {
        "name": model.name,
        "place": model.place,
        "page": model.page,
        **{key: known[key] for key in ("size_bytes", "sha256", "fetched") if key in known},
        "results": [asdict(result) for result in model.results],
        "licence_code": model.licence_code,
        "licence_weights": model.licence_weights,
        "licence_data": model.licence_data,
        "research_only": model.research_only,
        "citation": model.citation,
    }


def _card_of_exp_clip(model: NamedModel, width: int) -> ModelCard:
    from dfercli.config import ModelConfig
    from dfercli.descriptions.texts import fill, zero_shot_templates
    from dfercli.inference.restore import SAMPLING_RULES
    from dfercli.labels import SEVEN
    from dfercli.models.clip_backbone import clip_architecture

    assert model.clip is not None
    assert model.templates is not None
    name, _, tag = model.clip.rpartition("/")
    architecture = clip_architecture(name)
    if width != architecture["embed_dim"]:
        raise ArtifactError(
            f"the matrix of {model.name} takes features of width {width}, expected "
            f"{architecture['embed_dim']}, that of CLIP {name}: it is another file"
        )
    forms = zero_shot_templates(model.templates)
    return ModelCard(
        label_set=SEVEN,
        class_texts=tuple(" | ".join(fill(form, label) for form in forms) for label in SEVEN),
        model={"method": "exp-clip", "clip": model.clip, "normalization": "none"},
        backbone={"name": name, "tag": tag, "sha256": None, "architecture": architecture},
        image_size=architecture["vision_cfg"]["image_size"],
        sampling={"num_frames": ModelConfig.num_frames, **SAMPLING_RULES},
        selected_on=model.selected_on,
    )
