"""The plainest method on CLIP, and the example of how to add one: no temporal encoder.

frames -> CLIP image encoder, frame by frame -> mean over T -> video feature f_V
class texts -> frozen CLIP text encoder -> text features f_T
logits = cos(f_V, f_T) / 0.01
"""

from collections.abc import Sequence

import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from dfercli.config import ModelConfig, OptimConfig
from dfercli.models.clip_backbone import image_size
from dfercli.models.clip_text import encode_texts, text_parameters
from dfercli.models.method import Method, ParameterGroup, cosines
from dfercli.models.normalization import PixelNormalization
from dfercli.models.text_cache import TextCache

TEMPERATURE = 0.01


class MeanPooling(Method):
    """CLIP with its image encoder fine-tuned; the mean of the frames stands for the clip.

    Args:
        clip: The CLIP backbone with its weights.
        texts: K texts in label order.
        config: Number of frames, normalisation.
    """

    encodes_frames_alone = True

    def __init__(self, clip: CLIP, texts: Sequence[str], config: ModelConfig) -> None:
        super().__init__()
        self.num_frames = config.num_frames
        self.image_size = image_size(clip)
        self.normalization = PixelNormalization(config.normalization)
        self.clip = clip.requires_grad_(False)
        self.clip.visual.requires_grad_(True)
        self.texts = list(texts)
        self._text_cache = TextCache()

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W), float in [0, 1] or uint8 -> float32 logits (B, K)."""
        return cosines(self.video_features(frames), self.text_features()) / TEMPERATURE

    def video_features(self, frames: Tensor) -> Tensor:
        """Encode clips; (B, T, 3, H, W), or features (B, T, D) -> (B, D) float32 of unit length."""
        features = self.features_of_frames(frames)  # (B, T, D)
        video = F.normalize(features.float(), dim=-1).mean(dim=1)  # (B, D)
        return F.normalize(video, dim=-1)

    def text_features(self) -> Tensor:
        """Encode the K classes, (K, D) float32 of unit length."""
        frozen = text_parameters(self.clip)
        return self._text_cache.features(frozen, lambda: encode_texts(self.clip, self.texts))

    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """The image encoder."""
        return [ParameterGroup("image", list(self.clip.visual.parameters()), optim.lr_image)]
