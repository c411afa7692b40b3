"""DFER-CLIP, by Zhao and Patras.

"Prompting Visual-Language Models for Dynamic Facial Expression Recognition", BMVC 2023,
arXiv 2308.13382.

    frames -> CLIP image encoder, frame by frame -> temporal transformer -> video feature f_V
    class texts with learned context tokens -> frozen CLIP text encoder -> text features f_T
    logits = cos(f_V, f_T) / 0.01
"""

from collections.abc import Sequence

import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from dfercli.config import ModelConfig, OptimConfig
from dfercli.models.clip_backbone import embedding_width, image_size
from dfercli.models.clip_text import text_parameters
from dfercli.models.context import ContextTokens
from dfercli.models.method import Method, ParameterGroup, cosines
from dfercli.models.normalization import PixelNormalization
from dfercli.models.temporal import TemporalEncoder
from dfercli.models.text_cache import TextCache

TEMPERATURE = 0.01


class DferClip(Method):
    """DFER-CLIP on an open_clip backbone.

    Trained: image encoder, temporal encoder, context tokens. Frozen: the text encoder, and with
    `freeze_image` the image encoder; then its features may be given in place of the frames.

    Args:
        clip: The CLIP backbone with its weights.
        texts: K texts in label order.
        config: Context tokens, temporal layers, number of frames, normalisation.
    """

    encodes_frames_alone = True

    def __init__(self, clip: CLIP, texts: Sequence[str], config: ModelConfig) -> None:
        super().__init__()
        self.num_frames = config.num_frames
        self.image_size = image_size(clip)
        self.normalization = PixelNormalization(config.normalization)
        self.clip = clip
        self.temporal = TemporalEncoder(
            embedding_width(clip), config.num_frames, layers=config.temporal_layers
        )
        self.context = ContextTokens(
            clip,
            texts,
            config.context_tokens,
            class_specific=config.class_specific,
            class_position=config.class_position,
        )
        for parameter in [*text_parameters(clip), clip.logit_scale]:
            parameter.requires_grad_(False)
        self.freeze_image = config.freeze_image
        if self.freeze_image:
            clip.visual.requires_grad_(False).eval()
        self._text_cache = TextCache()

    def train(self, mode: bool = True) -> "DferClip":
        """Set the mode; a frozen image encoder stays in evaluation mode (batch normalisation)."""
        super().train(mode)
        if self.freeze_image:
            self.clip.visual.eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """Compare clips with classes.

        Args:
            frames: (B, T, 3, H, W), float in [0, 1] or uint8; H and W are the image encoder's.
                Or what `frame_features` gave for them, (B, T, D) float.

        Returns:
            (B, K) float32 logits.
        """
        video = self.video_features(frames)  # (B, D)
        return cosines(video, self.text_features()) / TEMPERATURE

    def video_features(self, frames: Tensor) -> Tensor:
        """Encode clips; (B, T, 3, H, W), or features (B, T, D) -> (B, D) float32 of unit length."""
        features = self.features_of_frames(frames)  # (B, T, D)
        return F.normalize(self.temporal(features).float(), dim=-1)

    def text_features(self) -> Tensor:
        """Encode the K classes, (K, D) float32 of unit length.

        Without gradients the features are kept while no weight they depend on changes.
        """
        weights = [self.context.vectors, *text_parameters(self.clip)]
        return self._text_cache.features(weights, self.encode_classes)

    def encode_classes(self) -> Tensor:
        """Compute the text features (K, D), of unit length, from the weights as they are now."""
        return self.context.encode(self.clip)

    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """The three learning rates of the paper: temporal encoder, image encoder, context."""
        context = [self.context.vectors] if self.context.vectors.requires_grad else []
        image = [] if self.freeze_image else list(self.clip.visual.parameters())
        return [
            ParameterGroup("temporal", list(self.temporal.parameters()), optim.lr_temporal),
            ParameterGroup("image", image, optim.lr_image),
            ParameterGroup("context", context, optim.lr_context),
        ]
