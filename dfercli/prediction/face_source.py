"""The sources of faces for prediction: face stores directly, everything else by preprocess."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dfercli.artifacts.face_store import ClipRow, is_face_store, read_clips
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.store_writing import read_records, record_paths
from dfercli.config import FacesConfig, PredictConfig, PreprocessConfig
from dfercli.config.preprocessing import in_seconds
from dfercli.errors import ArtifactError, ConfigError
from dfercli.overrides import override, to_plain
from dfercli.prediction.clip_faces import StoredFaces
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.preprocessing.people import portraits_of_record
from dfercli.preprocessing.source_jobs import path_in_store
from dfercli.progress import Progress
from dfercli.video.sources import source_state

# The settings of a crop; a model should see crops like those it was trained on.
CROP_SETTINGS = (
    *("size", "align", "margin", "jpeg_quality", "smooth"),
    *("fps", "every", "folder_fps"),
)
COMPARED = ("detector", "align", "margin", "fps", "every")


def split_places(places: Iterable[str]) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Divide the user's arguments into places of videos and face stores."""
    videos, stores = [], []
    for place in places:
        path = Path(place).expanduser()
        if is_face_store(path):
            stores.append(path)
        else:
            videos.append(place)
    return tuple(videos), tuple(stores)


def preprocess_config(config: PredictConfig, card: ModelCard, store: Path) -> PreprocessConfig:
    """Settings of `dfer preprocess` that give crops like those the model was trained on.

    Raises:
        ArtifactError: the model's crop settings cannot be read.
    """
    crop = in_seconds(card.crop or {})
    recorded = {name: value for name, value in crop.items() if name in CROP_SETTINGS}
    try:
        like_training = override(PreprocessConfig(), recorded, where="crop settings of the model")
    except ConfigError as error:
        raise ArtifactError(error.message) from error
    asked = {field.name: getattr(config, field.name) for field in fields(FacesConfig)}
    return replace(like_training, out=store, **asked)


def compare_crops(made: Mapping[str, Any], card: ModelCard, progress: Progress) -> None:
    """Report how crops were made differently from the model's.

    Args:
        made: The settings with which they were made, as a store records them.
        card: Of the model.
        progress: Where to report.
    """
    if card.crop is None:
        if card.trained_on or card.model.get("method") not in ("zero-shot", "exp-clip"):
            progress.note("the model does not say how its faces were cropped: using the defaults")
        return
    settings: dict[str, Any] = {**_defaults(), **made}
    trained = {**_defaults(), **card.crop}
    differences = [
        f"{name} {trained[name]} -> {settings[name]}"
        for name in COMPARED
        if settings[name] != trained[name]
    ]
    if differences:
        progress.note(f"faces are cropped differently from training: {', '.join(differences)}")


def _defaults() -> dict[str, Any]:
    defaults: dict[str, Any] = to_plain(PreprocessConfig())
    return defaults


def sources_of_store(store: Path) -> list[TrackedSource]:
    """The sources of a face store, in the order of their first clip.

    Raises:
        DataError: not a face store, or a broken row.
    """
    # Before the clips: a source that is made again meanwhile has another record by then.
    states = {key: source_state(path) for key, path in record_paths(store)}
    known = {
        record.source: (
            *(record.gaps, record.notes, portraits_of_record(record)[1]),
            states.get(key),
        )
        for key, record in read_records(store)
    }
    by_source: dict[str, list[ClipRow]] = {}
    for row in read_clips(store):
        by_source.setdefault(row.source, []).append(row)
    return [
        TrackedSource(
            shown_path(store, source),
            StoredFaces(store),
            tuple(clips),
            None,
            *known.get(source, ((), (), {}, None)),
        )
        for source, clips in by_source.items()
    ]


def shown_path(store: Path, source: str) -> str:
    """A source of a face store for the user: relative to the current folder if below it."""
    path = os.path.normpath(os.path.join(os.path.realpath(store), source))
    here = os.getcwd() + os.sep
    return path.removeprefix(here)


def shown_source(path: Path, store: Path) -> str:
    """A video for the user, by the very name that its record in `store` is shown with."""
    return shown_path(store, path_in_store(path, store))
