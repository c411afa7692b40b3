"""Exp-CLIP, by Zhao, Cao, Gong and Patras: zero-shot expressions by one matrix on CLIP.

"Enhancing Zero-Shot Facial Expression Recognition by LLM Knowledge Transfer", WACV 2025,
arXiv 2405.19100.

    frames -> CLIP image encoder, frame by frame -> matrix -> mean over T -> f_V
    class texts -> CLIP text encoder -> the same matrix -> f_T
    logits = scale of CLIP x cos(f_V, f_T), mean over the texts of a class

The matrix leads from CLIP's joint space into one of facial actions. It was learned from an LLM's
descriptions of faces without labels. Frames stay in [0, 1]; CLIP's mean and deviation are not used.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from dfercli.artifacts.torch_files import load_torch
from dfercli.config import OptimConfig
from dfercli.errors import ArtifactError
from dfercli.models.clip_backbone import embedding_width, image_size
from dfercli.models.clip_text import encode_texts
from dfercli.models.method import Method, ParameterGroup, cosines
from dfercli.models.normalization import PixelNormalization

KEY = "mlp.weight"
MOST_WIDTH = 1 << 14


class ExpClip(Method):
    """Compare the mean of projected frame features with projected features of class texts.

    Args:
        clip: The CLIP backbone with its weights.
        projection: The matrix, (P, D) float; P is 4096 in the published ones.
        class_texts: For each of the K classes its texts, whose logits are averaged.
        num_frames: T, frames per clip.

    Raises:
        ArtifactError: the matrix belongs to a CLIP of another width.
    """

    projection: Tensor
    text_features: Tensor

    encodes_frames_alone = True

    def __init__(
        self,
        clip: CLIP,
        projection: Tensor,
        class_texts: Sequence[Sequence[str]],
        num_frames: int,
    ) -> None:
        super().__init__()
        if projection.shape[1] != embedding_width(clip):
            raise ArtifactError(
                f"the matrix of Exp-CLIP takes features of width {projection.shape[1]}, "
                f"this CLIP gives {embedding_width(clip)}",
                hint="each matrix belongs to one CLIP: B/32, B/16 or L/14",
            )
        self.num_frames = num_frames
        self.image_size = image_size(clip)
        self.normalization = PixelNormalization("none")
        self.clip = clip.requires_grad_(False)
        self.register_buffer("projection", projection.float(), persistent=False)
        with torch.no_grad():
            means = [
                self._project(encode_texts(clip, list(texts))).mean(0) for texts in class_texts
            ]
        # A mean of cosines is the cosine with the mean; its length says how much the texts agree.
        self.register_buffer("text_features", torch.stack(means), persistent=False)  # (K, P)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W), float in [0, 1] or uint8 -> float32 logits (B, K)."""
        scale = self.clip.logit_scale.float().exp()
        logits: Tensor = scale * cosines(self.video_features(frames), self.text_features)
        return logits

    def video_features(self, frames: Tensor) -> Tensor:
        """Encode clips; (B, T, 3, H, W), or features (B, T, D) -> (B, P) float32 of unit length."""
        features = self.features_of_frames(frames)  # (B, T, D)
        # The matrix is linear: the mean may come first, which takes a T-th of the work.
        return self._project(features.float().mean(dim=1))

    def _project(self, features: Tensor) -> Tensor:
        """Features (N, D) -> (N, P) float32 of unit length."""
        with torch.autocast(features.device.type, enabled=False):
            return F.normalize(features.float() @ self.projection.T, dim=-1)

    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """None: nothing is trained."""
        return []


def read_projection(path: Path) -> Tensor:
    """Read the matrix out of a published file, without executing anything that it holds.

    Returns:
        (P, D) float32.

    Raises:
        ArtifactError: missing, damaged, built to run code, or it holds no such matrix.
    """
    content = load_torch(path)
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    found = [
        tensor
        for name, tensor in (weights.items() if isinstance(weights, dict) else ())
        if isinstance(name, str) and name.endswith(KEY) and isinstance(tensor, Tensor)
    ]
    if len(found) != 1:
        raise ArtifactError(
            f"{path} is not a file of Exp-CLIP: expected one tensor {KEY}, got {len(found)}"
        )
    (matrix,) = found
    if matrix.ndim != 2 or not matrix.is_floating_point() or max(matrix.shape) > MOST_WIDTH:
        raise ArtifactError(
            f"{path}: {KEY}: expected a matrix of at most {MOST_WIDTH} rows and columns, "
            f"got shape {tuple(matrix.shape)} of {matrix.dtype}"
        )
    if not bool(torch.isfinite(matrix).all()):
        raise ArtifactError(f"{path}: {KEY} holds values that are not finite")
    return matrix.float().contiguous()
