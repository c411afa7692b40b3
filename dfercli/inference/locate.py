"""Find the model of `--model`: a path, a name of `dfer models`, or a repository on the hub."""

import os
from pathlib import Path

from dfercli.artifacts.model_card import is_checkpoint
from dfercli.errors import ArtifactError, ConfigError
from dfercli.inference import hub, named_models
from dfercli.inference.named_models import ZeroShot
from dfercli.names import is_plain
from dfercli.progress import Progress
from dfercli.registry import expand, named_model, similar_names


def split_models(spec: str) -> tuple[str, ...]:
    """The models in a text: several, separated by commas, or the folds of one name.

    Raises:
        ConfigError: an empty name.
    """
    if os.path.lexists(spec):
        return (spec,)
    names = [name.strip() for name in spec.split(",")]
    if not all(names):
        raise ConfigError(f"--model takes names separated by commas, got {spec!r}")
    return tuple(one for name in names for one in expand(name))


def locate(name: str, progress: Progress) -> Path | ZeroShot:
    """Find one model; fetch a missing named one and print its terms.

    Args:
        name: A run, a fold, a checkpoint, a file; else a name of `dfer models`; else `owner/name`
            on the hub.
        progress: Where to report.

    Returns:
        The path of a trained model, or the parts of a zero-shot model.

    Raises:
        ArtifactError: there is none, or it cannot be fetched.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    known = named_model(name)
    if known is not None:
        folder = named_models.get(known, progress, with_clip=False)
        if known.is_zero_shot:
            return named_models.zero_shot_of(known)
        assert folder is not None
        return folder
    if is_plain(name) and is_checkpoint(named_models.folder_of(name)):
        return named_models.folder_of(name)
    if hub.is_repository(name) and not path.parent.exists():
        return hub.pull(name, progress)
    raise ArtifactError(
        f"no such checkpoint or run, and no name of `dfer models`: {name}", hint=_near(name)
    )


def locate_card(name: str, progress: Progress) -> Path:
    """Find a model that has its own card, even a zero-shot one.

    Raises:
        ConfigError: CLIP alone.
        ArtifactError: there is none, or it cannot be fetched.
    """
    found = locate(name, progress)
    place = found.projection if isinstance(found, ZeroShot) else found
    if place is None:
        raise ConfigError(
            f"{name} is CLIP alone, which has no checkpoint", hint=f"dfer models info {name}"
        )
    return place


def unknown_name(name: str) -> ConfigError:
    """The error for a name that is not in the table, where only names will do."""
    return ConfigError(f"no name of `dfer models`: {name}", hint=_near(name))


def _near(name: str) -> str:
    near = similar_names(name)
    return f"did you mean {', '.join(near)}?" if near else "dfer models lists what has a name"


def locate_trained(name: str, progress: Progress) -> Path:
    """Find one trained model, as `locate` does.

    Raises:
        ConfigError: a zero-shot model.
        ArtifactError: there is none, or it cannot be fetched.
    """
    found = locate(name, progress)
    if isinstance(found, ZeroShot):
        raise ConfigError(
            f"{name} is a zero-shot model, and this needs a trained one",
            hint=f"dfer predict VIDEO --model {name}, or dfer eval DATASET --zero-shot "
            f"--model {name}",
        )
    return found
