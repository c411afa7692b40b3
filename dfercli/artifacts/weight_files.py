"""Small weight files: where each comes from, its licence, and a cache that is never half-filled.

How they are fetched and checked is said in `fetching`. `DFER_OFFLINE=1` never touches the network.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dfercli.artifacts.cache_folder import cache_folder
from dfercli.artifacts.fetching import Remote, fault_of, fetch_file
from dfercli.artifacts.file_sums import file_sha256
from dfercli.errors import ConfigError
from dfercli.progress import Progress

MEGABYTE = 1 << 20
FIVE_POINTS = "--landmarks yunet5"


@dataclass(frozen=True)
class WeightFile:
    """One file that can be fetched.

    Attributes:
        name: As `dfer weights` calls it.
        use: What needs it.
        url: Where it comes from.
        file_name: Its name in the cache.
        sha256: Its checksum, or as many of the first digits as are known; empty where unknown.
        licence: Terms of the weights.
        most_bytes: Upper bound of its size; a download stops there.
        folder: `dfer`: this project's cache; `hub`: torch's, where face-alignment looks.
    """

    name: str
    use: str
    url: str
    file_name: str
    sha256: str
    licence: str
    most_bytes: int
    folder: Literal["dfer", "hub"] = "dfer"

    @property
    def check(self) -> str:
        """What its content is checked against, as text."""
        if not self.sha256:
            return "as first fetched" if self.remote.record.is_file() else "not checked"
        return "SHA-256" if len(self.sha256) == 64 else f"{len(self.sha256)} digits"

    @property
    def path(self) -> Path:
        """Where the file lies in the cache."""
        return (weights_folder() if self.folder == "dfer" else hub_folder()) / self.file_name

    @property
    def _otherwise(self) -> str:
        if self.use == FIVE_POINTS:
            return ", or name it: --detector-weights FILE, with --detector yunet or haar"
        return ", or use --detector haar, which needs none" if "detector" in self.use else ""

    @property
    def remote(self) -> Remote:
        """How it is fetched and checked."""
        return Remote(
            self.name,
            self.url,
            self.most_bytes,
            self.path.with_name(f".{self.file_name}.fetched.json"),
            sha256=self.sha256,
            hint=f"put the file at {self.path}{self._otherwise}",
        )


PYTHON_FAN = "https://www.adrianbulat.com/downloads/python-fan"
BLAZEFACE = "https://github.com/hollance/BlazeFace-PyTorch/raw/master"
WEIGHT_FILES = (
    WeightFile(
        name="yunet",
        use="--detector yunet",
        url="https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
        "face_detection_yunet_2023mar.onnx",
        file_name="face_detection_yunet_2023mar.onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT (opencv_zoo), Apache-2.0 (libfacedetection.train)",
        most_bytes=1 * MEGABYTE,
    ),
    WeightFile(
        name="sface",
        use="--identities",
        url="https://github.com/opencv/opencv_zoo/raw/main/models/face_recognition_sface/"
        "face_recognition_sface_2021dec.onnx",
        file_name="face_recognition_sface_2021dec.onnx",
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        licence="Apache-2.0 (opencv_zoo)",
        most_bytes=40 * MEGABYTE,
    ),
    WeightFile(
        name="blazeface",
        use="--detector blazeface",
        url=f"{BLAZEFACE}/blazefaceback.pth",
        file_name="blazefaceback.pth",
        sha256="e2c03bb3ae45e769eaaa0a7cc7d4f61f54a5e3fbae6367d870166702e7022b11",
        licence="Apache-2.0",
        most_bytes=2 * MEGABYTE,
    ),
    WeightFile(
        name="blazeface-anchors",
        use="--detector blazeface",
        url=f"{BLAZEFACE}/anchorsback.npy",
        file_name="anchorsback.npy",
        sha256="a10bb2fb93ab54ca426d6c750bfc3aad685028a16dcf231357d03694f261fd95",
        licence="Apache-2.0",
        most_bytes=1 * MEGABYTE,
    ),
    WeightFile(
        name="sfd",
        use="--detector sfd",
        url=f"{PYTHON_FAN}/s3fd-619a316812.pth",
        file_name="s3fd-619a316812.pth",
        sha256="619a316812",
        licence="BSD-3-Clause",
        most_bytes=200 * MEGABYTE,
        folder="hub",
    ),
    WeightFile(
        name="retinaface",
        use="--detector retinaface",
        url=f"{PYTHON_FAN}/retinaface_mobilenet0.25.pth",
        file_name="retinaface_mobilenet0.25.pth",
        sha256="",
        licence="MIT",
        most_bytes=10 * MEGABYTE,
        folder="hub",
    ),
    WeightFile(
        name="scrfd",
        use="--detector scrfd",
        url="https://github.com/yakhyo/facial-analysis/releases/download/v0.0.1/det_2.5g.onnx",
        file_name="scrfd_2.5g_bnkps.onnx",
        sha256="",
        licence="code MIT; weights InsightFace: non-commercial research only",
        most_bytes=20 * MEGABYTE,
        folder="hub",
    ),
    WeightFile(
        name="landmarks",
        use="--streams landmarks",
        url=f"{PYTHON_FAN}/2DFAN4-11f355bf06.pth.tar",
        file_name="2DFAN4-11f355bf06.pth.tar",
        sha256="11f355bf06",
        licence="BSD-3-Clause",
        most_bytes=200 * MEGABYTE,
        folder="hub",
    ),
)


def weight_file(name: str) -> WeightFile:
    """The weight file called `name`.

    Raises:
        ConfigError: there is none.
    """
    for file in WEIGHT_FILES:
        if file.name == name:
            return file
    known = ", ".join(file.name for file in WEIGHT_FILES)
    raise ConfigError(
        f"no weights are called {name!r}; there are {known}", hint="dfer weights lists them"
    )


def five_point_file() -> WeightFile:
    """YuNet's file where landmarks need it, whatever finds the faces."""
    return replace(weight_file("yunet"), use=FIVE_POINTS)


def weights_folder() -> Path:
    """`DFER_CACHE/weights`, else `dfer/weights` in the user's cache folder."""
    return cache_folder("weights")


def hub_folder() -> Path:
    """The folder in which torch.hub keeps checkpoints."""
    from platformdirs.unix import Unix  # not needed by a worker that finds faces

    home = os.environ.get("TORCH_HOME")
    # `torch.hub.get_dir` says the same, but importing torch takes seconds.
    root = Path(home).expanduser() if home else Unix("torch").user_cache_path
    return root / "hub" / "checkpoints"


def is_known(path: Path) -> bool:
    """Tell whether a file is one of ours, by the checksum that its owners published."""
    return file_sha256(path) in {file.sha256 for file in WEIGHT_FILES if len(file.sha256) == 64}


def is_whole(file: WeightFile) -> bool:
    """Tell whether the file lies in the cache and is the one that is published or was fetched."""
    if not file.path.is_file():
        return False
    return fault_of(file.remote, file.path.stat().st_size, file_sha256(file.path)) is None


def fetch(file: WeightFile, progress: Progress | None = None) -> Path:
    """The path of a weight file; it is fetched unless it lies in the cache already.

    Raises:
        ArtifactError: it is not there and cannot be fetched, or has another checksum.
    """
    return fetch_file(file.remote, file.path, progress, is_there=lambda: is_whole(file))
