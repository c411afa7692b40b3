"""Zero-shot CLIP: no training, any classes that a text can describe."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from dfercli.config import OptimConfig
from dfercli.models.clip_backbone import image_size
from dfercli.models.clip_text import encode_texts
from dfercli.models.method import Method, ParameterGroup, cosines
from dfercli.models.normalization import PixelNormalization


class ZeroShotClip(Method):
    """Compare the mean of CLIP's frame features with CLIP's features of class texts.

    Args:
        clip: The CLIP backbone with its weights.
        class_texts: For each of the K classes its texts, whose features are averaged.
        num_frames: T, frames per clip.
    """

    text_features: Tensor

    encodes_frames_alone = True

    def __init__(self, clip: CLIP, class_texts: Sequence[Sequence[str]], num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.image_size = image_size(clip)
        self.normalization = PixelNormalization("clip")
        self.clip = clip.requires_grad_(False)
        with torch.no_grad():
            means = [encode_texts(clip, list(texts)).mean(dim=0) for texts in class_texts]
        features = F.normalize(torch.stack(means), dim=-1)  # (K, D)
        self.register_buffer("text_features", features, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W), float in [0, 1] or uint8 -> float32 logits (B, K)."""
        scale: Tensor = self.clip.logit_scale.float().exp()
        return scale * cosines(self.video_features(frames), self.text_features)

    def video_features(self, frames: Tensor) -> Tensor:
        """Encode clips; (B, T, 3, H, W), or features (B, T, D) -> (B, D) float32 of unit length."""
        features = self.features_of_frames(frames)  # (B, T, D)
        video = F.normalize(features.float(), dim=-1).mean(dim=1)  # (B, D)
        return F.normalize(video, dim=-1)

    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """None: nothing is trained."""
        return []
