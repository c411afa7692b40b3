"""Build a face detector by name."""

from dataclasses import dataclass, replace
from pathlib import Path

from dfercli.artifacts.file_sums import file_sha256
from dfercli.artifacts.weight_files import fetch, weight_file
from dfercli.errors import ArtifactError, ConfigError
from dfercli.faces.detect import Detector
from dfercli.faces.haar import HaarDetector
from dfercli.faces.yunet import YuNetDetector


@dataclass(frozen=True)
class DetectorChoice:
    """A detector and its weights; found once, built in every process.

    Attributes:
        name: Of the detector.
        weights: Its file; None for `haar`.
        sha256: Of that file, None for `haar`.
        device: `cpu` or `cuda`.
        fallback: Why this is not the detector that was asked for, else None.
        landmarks: Whether its five points come from 68 landmarks.
    """

    name: str
    weights: Path | None
    sha256: str | None
    device: str
    fallback: str | None = None
    landmarks: bool = False


def choose_detector(name: str, weights: Path | None, device: str) -> DetectorChoice:
    """Find a detector's weights; fetch them if missing.

    Args:
        name: Of the detector; `auto` is yunet if it is available, else haar.
        weights: A file to use instead of the cached one.
        device: `cpu` or `cuda`.

    Raises:
        ConfigError: weights for a detector that takes none.
        ArtifactError: weights that are missing and cannot be fetched.
    """
    if name == "haar":
        if weights is not None:
            raise ConfigError(f"--detector haar takes no --detector-weights, got {weights}")
        return DetectorChoice("haar", None, None, device)
    if weights is not None:
        chosen = "yunet" if name == "auto" else name
        return DetectorChoice(chosen, weights, file_sha256(weights), device)
    if name == "auto":
        try:
            path = fetch(weight_file("yunet"))
        except ArtifactError as error:
            fallback = f"using the Haar detector, which finds fewer faces: {error.message}"
            return DetectorChoice("haar", None, None, device, fallback)
        return DetectorChoice("yunet", path, file_sha256(path), device)
    path = fetch(weight_file(name))
    if name == "blazeface":
        fetch(weight_file("blazeface-anchors"))
    return DetectorChoice(name, path, file_sha256(path), device)


def with_landmarks(choice: DetectorChoice) -> DetectorChoice:
    """The same detector with five points from 68 landmarks, whose weights are fetched.

    Raises:
        ArtifactError: the weights are missing and cannot be fetched.
    """
    fetch(weight_file("landmarks"))
    return replace(choice, landmarks=True)


def build_detector(choice: DetectorChoice) -> Detector:
    """Build the detector.

    Raises:
        ArtifactError: its weights do not fit, or a package is missing.
    """
    detector = _build_bare(choice)
    if not choice.landmarks:
        return detector
    # Imports torch, which most runs do without.
    from dfercli.faces.landmark_points import LandmarkPoints

    return LandmarkPoints(detector, choice.device)


def _build_bare(choice: DetectorChoice) -> Detector:
    if choice.weights is None:
        return HaarDetector()
    if choice.name == "yunet":
        return YuNetDetector(choice.weights)
    # Imports torch, which the other detectors do without.
    from dfercli.faces.network_detectors import NetworkDetector

    return NetworkDetector(choice.name, choice.weights, choice.device)
