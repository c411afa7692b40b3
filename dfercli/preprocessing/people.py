"""Who is who in many videos, for `--identities all`: a number for each person, or a name."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dfercli.artifacts.store_writing import SourceRecord, read_records
from dfercli.config import FacesConfig, PreprocessConfig
from dfercli.errors import ConfigError, DataError
from dfercli.faces.build import DetectorChoice, build_detector
from dfercli.faces.detect import Detector
from dfercli.faces.identity import Portrait, mean_portrait, people_among
from dfercli.faces.recogniser import FaceRecogniser
from dfercli.names import is_plain
from dfercli.preprocessing.detectors import build_recogniser, find_detector, with_recogniser
from dfercli.progress import Progress, SilentProgress
from dfercli.video.images import IMAGE_SUFFIXES, read_image

# A source's name, and for each of its tracks the numbers of a portrait, or none.
SourcePortraits = tuple[str, Mapping[int, Sequence[float]]]
Known = Mapping[str, Portrait]  # portraits of people by name


def people_of(sources: Iterable[SourcePortraits], known: Known) -> dict[tuple[str, int], str]:
    """Name or number each person in many sources.

    Two tracks of one source are two people, as those of one person have been joined.

    Args:
        sources: The tracks of each source.
        known: Portraits of people who have a name.

    Returns:
        For each source and track the person's name, else a number from 1 on, in order of `sources`.
    """
    owners: list[tuple[str, int]] = []
    portraits: list[Portrait | None] = list(known.values())
    for name, tracks in sources:
        for track, numbers in sorted(tracks.items()):
            owners.append((name, track))
            portraits.append(np.array(numbers, np.float32) if numbers else None)
    portraits = _of_one_length(portraits)
    # Named people are a separate source: they are different people.
    _, of_source = np.unique(["", *(name for name, _ in owners)], return_inverse=True)
    of_face = np.concatenate([np.repeat(of_source[:1], len(known)), of_source[1:]])
    groups = people_among(portraits, of_face[:, None] == of_face[None, :])
    names = dict(zip(groups, known, strict=False))
    unnamed = dict.fromkeys(group for group in groups[len(known) :] if group not in names)
    free = (str(number) for number in itertools.count(1) if str(number) not in known)
    names |= dict(zip(unnamed, free, strict=False))
    return {owner: names[group] for owner, group in zip(owners, groups[len(known) :], strict=True)}


def _of_one_length(portraits: list[Portrait | None]) -> list[Portrait | None]:
    """Leave out portraits by another network than most."""
    lengths = [len(portrait) for portrait in portraits if portrait is not None]
    usual = max(lengths, key=lengths.count, default=0)
    return [
        portrait if portrait is not None and len(portrait) == usual else None
        for portrait in portraits
    ]


def people_in(store: Path, identities: str | None, known: Known) -> dict[str, str]:
    """Name or number of the person of each clip of a store, by its id.

    Args:
        store: The face store.
        identities: The value of `--identities`; only `all` gives numbers.
        known: Portraits of people who have a name.
    """
    if identities != "all":
        return {}
    records = sorted((one for _, one in read_records(store)), key=lambda one: one.source)
    people = people_of((portraits_of_record(record) for record in records), known)
    return {
        clip.clip_id: people[record.source, clip.track]
        for record in records
        for clip in record.clips
        if (record.source, clip.track) in people
    }


def portraits_of_record(record: SourceRecord) -> SourcePortraits:
    """The portraits of a source's tracks."""
    tracks = (clip.track for clip in record.clips)
    return record.source, dict(zip(tracks, record.portraits, strict=False))


def pictures_of_people(config: FacesConfig) -> dict[str, list[Path]]:
    """The pictures of `--people` by name; to be asked before anything is fetched.

    Raises:
        ConfigError: people are not told apart across videos.
        DataError: the folder is missing, or holds none.
    """
    if config.people is None:
        return {}
    if config.identities != "all":
        raise ConfigError(f"--people goes with --identities all, got {config.identities}")
    pictures = _pictures(config.people)
    if not pictures:
        raise DataError(f"--people {config.people} holds no NAME.jpg and no folder of pictures")
    return pictures


def known_people(config: PreprocessConfig, choice: DetectorChoice) -> dict[str, Portrait]:
    """Read the pictures of `--people`: NAME.jpg, or pictures in a folder NAME.

    Raises:
        DataError: a picture cannot be read or shows no face, or there is none at all.
        ArtifactError: a network cannot be built.
    """
    pictures = pictures_of_people(config)
    recogniser = build_recogniser(config)
    if not pictures or recogniser is None:
        return {}
    detector = build_detector(replace(choice, device="cpu"))
    found = {}
    for name, paths in pictures.items():
        views = [_portrait(path, detector, recogniser, config) for path in paths]
        mean = mean_portrait(views)
        if mean is not None:
            found[name] = mean
    return found


def set_up_people(config: PreprocessConfig, progress: Progress) -> dict[str, Portrait]:
    """As `known_people`, with the networks that the settings choose.

    Raises:
        ConfigError: settings that do not go together.
        DataError: a picture cannot be used.
        ArtifactError: weights are missing or wrong.
    """
    if config.people is None:
        return {}
    choice = find_detector(config, progress)
    return known_people(with_recogniser(config, choice, SilentProgress()), choice)


def _pictures(folder: Path) -> dict[str, list[Path]]:
    def is_picture(path: Path) -> bool:
        return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and is_plain(path.name)

    try:
        entries = sorted(folder.iterdir())
        pictures: dict[str, list[Path]] = {}
        for entry in entries:
            own = sorted(entry.iterdir()) if entry.is_dir() else [entry]
            named = entry.name if entry.is_dir() else entry.stem
            paths = [path for path in own if is_picture(path)]
            if paths and is_plain(entry.name):
                pictures.setdefault(named, []).extend(paths)
    except OSError as error:
        raise DataError(f"--people {folder}: {error.strerror or error}") from error
    return pictures


def _portrait(
    path: Path, detector: Detector, recogniser: FaceRecogniser, config: PreprocessConfig
) -> Portrait:
    image = read_image(path, config.max_pixels)
    (faces,) = detector.detect([image])
    if not len(faces) or faces.points_px is None:
        raise DataError(f"{path}: no face found", hint="--people takes pictures with one face each")
    sides = faces.box_xyxy_px[:, 2:] - faces.box_xyxy_px[:, :2]
    portrait = recogniser.describe(image, faces.points_px[int(sides.prod(axis=1).argmax())])
    if portrait is None:
        raise DataError(f"{path}: no face found that can be told from others")
    return portrait
