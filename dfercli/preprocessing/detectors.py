"""Choose a detector that this machine can run."""

from dataclasses import replace

from dfercli.artifacts.face_store import read_dataset
from dfercli.artifacts.file_sums import file_sha256
from dfercli.artifacts.weight_files import fetch, weight_file
from dfercli.config import PreprocessConfig
from dfercli.errors import ConfigError
from dfercli.faces.build import DetectorChoice, choose_detector, with_landmarks
from dfercli.faces.recogniser import FaceRecogniser
from dfercli.faces.stream_maker import FIVE
from dfercli.progress import Progress

NETWORKS = ("retinaface", "blazeface", "scrfd", "sfd")
WITH_POINTS = ("yunet",)
CONSENT = (
    "--identities measures faces to tell people apart: ask the people who are shown, laws treat "
    "such numbers as biometric data"
)


def find_detector(config: PreprocessConfig, progress: Progress) -> DetectorChoice:
    """The detector asked for; `auto` stays with that of an existing store.

    Raises:
        ConfigError: one that the other settings exclude.
        ArtifactError: its weights are missing and cannot be fetched.
    """
    name: str = config.detector
    if name == "auto" and not config.overwrite and (config.out / "dataset.json").is_file():
        name = str(read_dataset(config.out).get("settings", {}).get("detector", name))
    with_torch = name in NETWORKS or config.align == "landmarks"
    device = torch_device(config) if with_torch else "cpu"
    beside_haar = name == "haar" and config.landmarks == FIVE  # the file is for the landmarks
    choice = choose_detector(name, None if beside_haar else config.detector_weights, device)
    if choice.fallback is not None:
        progress.note(choice.fallback)
    if config.align == "points" and choice.name not in WITH_POINTS:
        raise ConfigError(
            f"--align points needs the five points of yunet, {choice.name} has none",
            hint="--align landmarks finds points with any detector",
        )
    return with_landmarks(choice) if config.align == "landmarks" else choice


def with_recogniser(
    config: PreprocessConfig, choice: DetectorChoice, progress: Progress
) -> PreprocessConfig:
    """The settings with the file that tells people apart, found once for all processes.

    Raises:
        ConfigError: settings that do not go together.
        ArtifactError: the file is missing and cannot be fetched, or is another one.
    """
    if config.identities == "off":
        if config.identity_weights is not None:
            raise ConfigError("--identity-weights goes with --identities video or all")
        return config
    if choice.name not in WITH_POINTS and not choice.landmarks:
        raise ConfigError(
            f"--identities needs the five points of yunet, {choice.name} has none",
            hint="--align landmarks finds points with any detector",
        )
    weights = config.identity_weights or fetch(weight_file("sface"), progress)
    config = replace(config, identity_weights=weights)
    build_recogniser(config)
    progress.note(CONSENT)
    return config


def identity_settings(config: PreprocessConfig) -> dict[str, str]:
    """What a store records of how people are told apart; nothing where they are not."""
    if config.identities == "off" or config.identity_weights is None:
        return {}
    sha256 = file_sha256(config.identity_weights)
    return {"identities": config.identities, "identity_sha256": sha256}


def build_recogniser(config: PreprocessConfig) -> FaceRecogniser | None:
    """What tells people apart; None where that is not asked for.

    Raises:
        ArtifactError: the file is no such network.
    """
    if config.identities == "off" or config.identity_weights is None:
        return None
    return FaceRecogniser(config.identity_weights)


def torch_device(config: PreprocessConfig) -> str:
    """The device of detectors and parsers that run on PyTorch; `auto` takes CUDA if it can."""
    if config.device != "auto":
        return config.device
    import torch  # slow to load, and most runs do without it

    return "cuda" if torch.cuda.is_available() else "cpu"
