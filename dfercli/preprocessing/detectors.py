"""Choose a detector that this machine can run."""

from dfercli.artifacts.face_store import read_dataset
from dfercli.config import PreprocessConfig
from dfercli.errors import ConfigError
from dfercli.faces.build import DetectorChoice, choose_detector, with_landmarks
from dfercli.progress import Progress

NETWORKS = ("retinaface", "blazeface", "scrfd", "sfd")
WITH_POINTS = ("yunet",)


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
    choice = choose_detector(name, config.detector_weights, device)
    if choice.fallback is not None:
        progress.note(choice.fallback)
    if config.align == "points" and choice.name not in WITH_POINTS:
        raise ConfigError(
            f"--align points needs the five points of yunet, {choice.name} has none",
            hint="--align landmarks finds points with any detector",
        )
    return with_landmarks(choice) if config.align == "landmarks" else choice


def torch_device(config: PreprocessConfig) -> str:
    """The device of detectors and parsers that run on PyTorch; `auto` takes CUDA if it can."""
    if config.device != "auto":
        return config.device
    import torch  # slow to load, and most runs do without it

    return "cuda" if torch.cuda.is_available() else "cpu"
