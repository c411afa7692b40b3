"""Models on the hub: each is a repository with model.safetensors, model.json and README.md.

Only these are loaded, and only these are uploaded. A user logged in with the hub's own tools
(`hf auth login`) uploads; no token passes through here.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfercli.artifacts.hub_cache import first_cached, from_hub, within
from dfercli.artifacts.model_card import (
    CARD_NAME,
    MODEL_SCHEMA,
    WEIGHTS_NAME,
    ModelCard,
    read_model_card,
)
from dfercli.artifacts.network import blamed, is_offline, require_server
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.documents import MAX_DOCUMENT_BYTES
from dfercli.errors import ArtifactError, ConfigError
from dfercli.progress import Progress
from dfercli.report.hub_readme import hub_readme

README_NAME = "README.md"
MOST_BYTES = {CARD_NAME: MAX_DOCUMENT_BYTES, WEIGHTS_NAME: 16_000_000_000}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_PLACE = re.compile(r"(?<![\w.])(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?:[^\s,;:'\"/\\]+[/\\])*")


@dataclass(frozen=True)
class Pushed:
    """The result of an upload.

    Attributes:
        repository: Its name on the hub.
        url: Its page.
        files: The files of the commit.
        private: Whether a private repository was requested.
    """

    repository: str
    url: str
    files: tuple[str, ...]
    private: bool


def is_repository(name: str) -> bool:
    """Tell whether `name` can be a repository: `owner/name`."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name and "--" not in name


def pull(repository: str, progress: Progress) -> Path:
    """The folder of a model on the hub: from the hub's cache, or downloaded once.

    Raises:
        ArtifactError: there is none, it is not readable, it is not a model of dfer, or it cannot be
            downloaded.
    """
    if cached := _cached(repository):
        return cached
    if is_offline():
        raise ArtifactError(
            f"{repository} is not a file, a run or a name of `dfer models`; it is not in the "
            "hub's cache, and DFER_OFFLINE is set",
            hint=f"where there is a network: dfer models get {repository}",
        )
    # Whoever mistypes the path of a run ends here as well.
    with _hub_errors(repository, unknown=f"no such checkpoint or run: {repository}; and "):
        from huggingface_hub import HfApi, hf_hub_download

        def fetched(name: str) -> Path:
            return Path(from_hub(lambda: hf_hub_download(repository, name), repository))

        found = from_hub(lambda: HfApi().model_info(repository, files_metadata=True), repository)
        sizes = {entry.rfilename: entry.size for entry in found.siblings or []}
        for name, most in MOST_BYTES.items():
            if name not in sizes:
                raise ArtifactError(
                    f"{repository} on the hub is not a model of dfer: it has no {name}",
                    hint="dfer models push makes one of a run",
                )
            if (sizes[name] or 0) > most:
                raise ArtifactError(f"{repository}: {name} has {sizes[name]} bytes, at most {most}")
        progress.note(f"fetching {repository} from the hub, commit {(found.sha or '?')[:12]}")
        # By branch, not by commit: only then does the cache find them by their names.
        card = fetched(CARD_NAME)
        read_model_card(card.parent)  # the card comes before the weights, which may be large
        weights = fetched(WEIGHTS_NAME)
    if card.parent != weights.parent:
        raise ArtifactError(
            f"{repository} on the hub changed while it was fetched", hint="run this again"
        )
    return card.parent


def _cached(repository: str) -> Path | None:
    paths = [first_cached(repository, [name]) for name in (CARD_NAME, WEIGHTS_NAME)]
    folders = {path.parent for path in paths if path is not None}
    return folders.pop() if len(folders) == 1 and None not in paths else None


def push(
    source: Path, repository: str, progress: Progress, *, private: bool, licence: str | None
) -> Pushed:
    """Upload a checkpoint: its weights, its card, and the card as the hub's README.

    Args:
        source: A run, a fold, or a checkpoint.
        repository: `owner/name`; it is made if missing.
        progress: Where to report.
        private: Whether a new one is only for its owner.
        licence: The hub's identifier of the terms; None if none is stated.

    Raises:
        ConfigError: no name of a repository, or a model of others.
        ArtifactError: no checkpoint, nobody is logged in, or the hub refuses or
            stalls.
    """
    if not is_repository(repository):
        raise ConfigError(
            f"a repository on the hub is called OWNER/NAME, got {repository!r}",
            hint="dfer models push runs/mine user/my-model",
        )
    checkpoint = find_checkpoint(source)
    card = read_model_card(checkpoint)
    if card.origin:
        raise ConfigError(
            f"{checkpoint} holds the weights of others ({card.origin.get('name')})",
            hint="their name is enough for everybody: --model NAME",
        )
    if not (checkpoint / WEIGHTS_NAME).is_file():
        raise ArtifactError(f"no such file: {checkpoint / WEIGHTS_NAME}")
    card = without_places(card)
    with tempfile.TemporaryDirectory(prefix="dfer-push-") as folder, _hub_errors(repository):
        from huggingface_hub import CommitOperationAdd, HfApi

        text = json.dumps({"schema": MODEL_SCHEMA, **card.to_json()}, indent=2, ensure_ascii=False)
        (Path(folder) / CARD_NAME).write_text(text + "\n", encoding="utf-8")
        readme = hub_readme(card, repository, licence)
        (Path(folder) / README_NAME).write_text(readme, encoding="utf-8")
        places = {
            README_NAME: Path(folder) / README_NAME,
            CARD_NAME: Path(folder) / CARD_NAME,
            WEIGHTS_NAME: (checkpoint / WEIGHTS_NAME).resolve(),
        }
        api = HfApi()
        files = [CommitOperationAdd(name, str(path)) for name, path in places.items()]
        said = f"{card.model.get('method', 'model')} by dfer"
        url = within(lambda: api.create_repo(repository, private=private or None, exist_ok=True), 0)
        with progress.task(f"uploading to {repository}"):
            num_bytes = sum(path.stat().st_size for path in places.values())
            within(lambda: api.create_commit(repository, files, commit_message=said), num_bytes)
    return Pushed(repository, str(url), tuple(places), private)


def without_places(card: ModelCard) -> ModelCard:
    """The card without folders of this machine: only the last part of each path stays."""
    backbone = {**card.backbone, "file": None}
    return replace(
        card,
        backbone=backbone,
        crop=_without_places(card.crop),
        trained_on=_without_places(_dataset_alone(card.trained_on)),
        results=_without_places(card.results),
        calibration=_without_places(card.calibration),
        selected_on=_without_places(card.selected_on),
        streams_made=_without_places(card.streams_made),
    )


def _dataset_alone(trained_on: dict[str, Any]) -> dict[str, Any]:
    if "dataset" not in trained_on:
        return trained_on
    return {**trained_on, "dataset": Path(trained_on["dataset"]).name or "faces"}


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_places(entry) for entry in value)
    return _PLACE.sub("", value) if isinstance(value, str) else value


@contextmanager
def _hub_errors(repository: str, unknown: str = "") -> Iterator[None]:
    """Turn errors of the hub's client into one line, which begins with `unknown`."""
    from huggingface_hub import errors
    from huggingface_hub.constants import ENDPOINT

    try:
        if is_offline():
            raise OSError("DFER_OFFLINE is set")
        require_server(ENDPOINT)
        yield
    except (ArtifactError, ConfigError):
        raise
    except errors.GatedRepoError as error:
        raise ArtifactError(
            f"{repository} on the hub asks for its owner's terms to be accepted",
            hint=f"open {ENDPOINT}/{repository}, accept them, then: hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ArtifactError(
            f"{unknown}the hub has no such model, or it is private: {repository}",
            hint="for a private one: hf auth login",
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise _not_logged_in(repository) from error
    except Exception as error:  # the hub's client raises a dozen unrelated kinds; all mean this
        response = getattr(error, "response", None)
        if getattr(response, "status_code", None) in (401, 403):
            raise _not_logged_in(repository) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if response is None:
            reason = blamed(reason, ENDPOINT)
        raise ArtifactError(f"{unknown}the hub at {ENDPOINT}: {repository}: {reason}") from error


def _not_logged_in(repository: str) -> ArtifactError:
    return ArtifactError(
        f"writing to {repository} on the hub needs a login with write access",
        hint="hf auth login, with a token that can write",
    )
