"""Frame features of clips on disk: one file per clip and view, named after its inputs.

The name is the SHA-256 of everything that affects the content, so a file is never stale: other
frames, weights or views give another file. Files are written atomically, and two processes that
write the same file write the same content.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dfercli.artifacts.atomic import write_bytes
from dfercli.documents import require_regular
from dfercli.errors import ArtifactError

FEATURES_SCHEMA = "dfer.features/1"
TENSOR_NAME = "features"

State = Literal["whole", "missing", "damaged"]


def features_key(made_from: Mapping[str, Any]) -> str:
    """The SHA-256 of the inputs of features (JSON-ready), as canonical JSON."""
    canonical = json.dumps({"schema": FEATURES_SCHEMA, **made_from}, sort_keys=True)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def features_path(folder: Path, key: str) -> Path:
    """The file of a key."""
    return folder / key[:2] / f"{key}.safetensors"


def write_features(path: Path, features: Tensor) -> None:
    """Write the features (n, D) of a clip's n frames atomically.

    Raises:
        ArtifactError: the system refused the write.
    """
    plain = features.detach().cpu().contiguous()
    write_bytes(path, save({TENSOR_NAME: plain}, _about(path, plain)))


def features_state(path: Path) -> State:
    """Tell whether the features of a key are there; the whole file is read and checked."""
    if not path.is_file():
        return "missing"
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            features = file.get_tensor(TENSOR_NAME)
    except (SafetensorError, OSError):
        return "damaged"
    return "whole" if about == _about(path, features) else "damaged"


def read_features(path: Path) -> Tensor:
    """Map the features (n, D) of a clip's n frames; only the parts that are used are read.

    Raises:
        ArtifactError: the file is gone or damaged since it was written or checked.
    """
    try:
        with safe_open(require_regular(path), framework="pt") as file:
            features: Tensor = file.get_tensor(TENSOR_NAME)
            return features
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"cached features are gone or damaged: {path}: {error}",
            hint="continue the run with --resume; they are computed again",
        ) from error


def _about(path: Path, features: Tensor) -> dict[str, str]:
    check_sum = hashlib.sha256(save({TENSOR_NAME: features})).hexdigest()
    about = {"schema": FEATURES_SCHEMA, "key": path.stem, "sha256": check_sum}
    return {"dfer": json.dumps(about)}  # one entry: safetensors does not keep the order of several
