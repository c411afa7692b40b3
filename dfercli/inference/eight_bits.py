"""Image encoders with products in 8 bits on a CPU, made when a model is loaded, and kept.

ONNX Runtime computes them with the processor's instructions for this (VNNI, AMX). The
rest of the model stays in PyTorch and in float32.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfercli.artifacts.atomic import atomic_path
from dfercli.artifacts.cache_folder import cache_folder
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.onnx_files import import_runtime, read_onnx
from dfercli.errors import ArtifactError, ConfigError
from dfercli.inference.arithmetic import has_int8_instructions
from dfercli.inference.onnx_writing import round_to_int8, write_onnx
from dfercli.models.method import Method
from dfercli.progress import LogProgress

LEAST_COSINE = 0.98  # cosine of a feature in 8 bits with the same in float32, on noise
TRACED_IMAGES, CHECKED_IMAGES = 2, 3  # different, to notice a frozen batch size
KEPT = "int8"


class Int8Encoder(nn.Module):
    """An image encoder in 8 bits, in place of CLIP's.

    Args:
        content: Its ONNX file.
        image_size: The side of its images.
    """

    def __init__(self, content: bytes, image_size: Any) -> None:
        super().__init__()
        runtime = import_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.image_size = image_size
        self._session = runtime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode (N, 3, S, S) float, normalised -> (N, D) float32."""
        (features,) = self._session.run(None, {"frames": images.float().numpy()})
        return torch.from_numpy(features)


class _Encoder(nn.Module):
    """The module to export: an image encoder whose argument has the name of the file's input."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.encoder(frames)
        return features


def encode_in_int8(module: Method) -> None:
    """Replace the image encoder by one in 8 bits, permanently.

    Making it takes half a minute; the cache folder keeps it by its weights.

    Raises:
        ConfigError: a method that does not encode each frame by itself.
        ArtifactError: a package is missing, or the rounded encoder is far from the exact one.
    """
    if not module.encodes_frames_alone:
        raise ConfigError(
            "precision int8 is for methods that encode each frame alone, such as dfer-clip",
            hint="use --precision 32 or bf16-mixed",
        )
    if not has_int8_instructions():
        LogProgress().note(
            "this processor has no instructions for products in 8 bits (VNNI, AMX): "
            "int8 may be no faster here"
        )
    visual = module.clip.visual
    path = cache_folder(KEPT) / f"encoder-{_digest(visual)}.onnx"
    with exclusive(path.with_suffix(".lock")):
        if not path.is_file():
            LogProgress().note(f"rounding the image encoder to 8 bits, once: {path}")
            _write(visual, module.image_size, path)
    encoder = Int8Encoder(read_onnx(path), visual.image_size)
    module.clip.visual = encoder


def _write(visual: nn.Module, size: int, path: Path) -> None:
    images = torch.rand(TRACED_IMAGES, 3, size, size)
    with atomic_path(path) as temporary, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the exporter about its own code
        write_onnx(_Encoder(visual).eval(), {"frames": images}, temporary, {})
        round_to_int8(temporary, {})
        noise = torch.rand(CHECKED_IMAGES, 3, size, size)
        rounded = Int8Encoder(temporary.read_bytes(), size)(noise)
        cosine = float(F.cosine_similarity(rounded, visual(noise), dim=-1).min())
        if not cosine >= LEAST_COSINE:
            raise ArtifactError(
                f"this image encoder cannot be rounded to 8 bits: cosine {cosine:.3f} with its "
                f"exact features, at least {LEAST_COSINE} is expected",
                hint="use --precision 32 or bf16-mixed",
            )


def _digest(visual: nn.Module) -> str:
    """Of weights, structure, and the packages that make the file."""
    digest = hashlib.sha256(
        repr((visual, torch.__version__, import_runtime().__version__)).encode()
    )
    for name, value in visual.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:24]
