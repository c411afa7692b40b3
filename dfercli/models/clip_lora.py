"""CLIP with low-rank adapters: the visual half of CLAIP-Emo (IEEE SPL 2026).

LoRA (Hu et al., ICLR 2022, arXiv 2106.09685) in a frozen image encoder, then DFER-CLIP's temporal
encoder, then a linear layer, or cosines with CLIP's features of class texts:

    frames -> frozen CLIP image encoder, each matrix W as W + alpha / rank B A -> frame features
    frame features -> temporal encoder -> f_V
    head `linear`: logits = Linear(f_V)
    head `texts`:  class texts -> frozen CLIP text encoder -> f_T, logits = scale x cos(f_V, f_T)

B starts at zero, so training starts from CLIP as it is. The sum is a parametrisation of torch,
not a layer of `peft`: what open_clip uses, `nn.MultiheadAttention`, gets from peft one adapter for
q, k and v together, by writing the weights before each call, and without dropout.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dfercli.config import ClipLoraConfig, ModelConfig, OptimConfig
from dfercli.errors import ConfigError
from dfercli.models.clip_backbone import embedding_width, image_size
from dfercli.models.clip_text import text_parameters
from dfercli.models.context import ContextTokens
from dfercli.models.method import Method, ParameterGroup, cosines
from dfercli.models.normalization import PixelNormalization
from dfercli.models.temporal import TemporalEncoder
from dfercli.models.text_cache import TextCache
from dfercli.models.vit import WeightPlace, leave_projection_out, vit_blocks, weights_of

QKV = ("q", "k", "v")


class LowRank(nn.Module):
    """The addition to a frozen matrix: alpha / rank B A for each chosen part of its rows.

    Args:
        shape: Rows and columns of the matrix.
        parts: Number of equal parts of its rows: 3 for q, k and v, or 1.
        chosen: Which of them are adapted.
        config: Rank, alpha, dropout.
    """

    def __init__(
        self, shape: torch.Size, parts: int, chosen: Sequence[int], config: ClipLoraConfig
    ) -> None:
        super().__init__()
        rows, columns = shape
        self.parts = parts
        self.chosen = tuple(chosen)
        self.scale = config.alpha / config.rank
        self.dropout = config.dropout
        self.down = nn.Parameter(torch.empty(len(chosen), config.rank, columns))
        self.up = nn.Parameter(torch.zeros(len(chosen), rows // parts, config.rank))
        bound = 1 / math.sqrt(columns)  # as `nn.Linear` draws its weights
        nn.init.uniform_(self.down, -bound, bound)

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted matrix; (rows, columns) -> (rows, columns).

        Dropout leaves out input features, in each step the same ones for all tokens of a batch.
        """
        kept = F.dropout(self.down.new_ones(self.down.shape[-1]), self.dropout, self.training)
        added = self.scale * (self.up @ (self.down * kept))  # (chosen, rows / parts, columns)
        if len(self.chosen) == self.parts:
            return weight + added.flatten(0, 1)
        pieces = list(weight.chunk(self.parts))
        for part, own in zip(self.chosen, added, strict=True):
            pieces[part] = pieces[part] + own
        return torch.cat(pieces)


class ClipLora(Method):
    """CLIP with LoRA on an open_clip backbone with a vision transformer.

    Trained: the low-rank matrices, the temporal encoder, and the linear head or the context tokens.
    Frozen: all of CLIP.

    Args:
        clip: The CLIP backbone with its weights; its matrices are adapted in place.
        texts: K texts in label order; the linear head takes no more than their number.
        config: The settings, mainly those of `config.clip_lora`.

    Raises:
        ConfigError: a CLIP other than a vision transformer, or conflicting settings.
    """

    encodes_frames_alone = True
    backbone_is_frozen = True

    def __init__(self, clip: CLIP, texts: Sequence[str], config: ModelConfig) -> None:
        super().__init__()
        own = config.clip_lora
        self.num_frames = config.num_frames
        self.image_size = image_size(clip)
        self.normalization = PixelNormalization(config.normalization)
        self.clip = clip.requires_grad_(False)
        self.compares_texts = self.wants_texts(config)
        adapt(clip, own)
        width = embedding_width(clip)
        if not self.compares_texts and own.feature != "after":
            width = leave_projection_out(clip)
        elif own.feature == "before":
            raise ConfigError(
                "the head texts needs features after CLIP's projection, where texts are",
                hint="--set model.clip_lora.feature=after",
            )
        self.temporal = TemporalEncoder(width, config.num_frames, layers=config.temporal_layers)
        if self.compares_texts:
            self.context = ContextTokens(
                clip,
                texts,
                config.context_tokens,
                class_specific=config.class_specific,
                class_position=config.class_position,
            )
        else:
            self.head = nn.Linear(width, len(texts))
        self._text_cache = TextCache()

    @staticmethod
    def wants_texts(config: ModelConfig) -> bool:
        """Whether classes are compared by their texts; the linear head knows only its own."""
        return config.clip_lora.head == "texts"

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W), or features (B, T, D) -> float32 logits (B, K)."""
        if not self.compares_texts:
            logits: Tensor = self.head(self.temporal(self.features_of_frames(frames)))
            return logits.float()
        scale: Tensor = self.clip.logit_scale.float().exp()
        return scale * cosines(self.video_features(frames), self.text_features())

    def video_features(self, frames: Tensor) -> Tensor:
        """Encode clips; (B, T, 3, H, W), or features (B, T, D) -> (B, D) float32 of unit length."""
        features = self.features_of_frames(frames)  # (B, T, D)
        if self.compares_texts and not len(self.temporal.blocks):
            features = F.normalize(features.float(), dim=-1)  # it then starts as zero-shot CLIP
        return F.normalize(self.temporal(features).float(), dim=-1)

    def text_features(self) -> Tensor:
        """Encode the K classes, (K, D) float32 of unit length."""
        weights = [self.context.vectors, *text_parameters(self.clip)]
        return self._text_cache.features(weights, self.encode_classes)

    def encode_classes(self) -> Tensor:
        """Compute the text features (K, D), of unit length, from the weights as they are now."""
        return self.context.encode(self.clip)

    def merge(self) -> None:
        """Add the low-rank matrices to the weights of CLIP."""
        merge(self.clip)

    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """Low-rank matrices; temporal encoder and linear head; context tokens."""
        adapters = [weight for weight in self.clip.parameters() if weight.requires_grad]
        temporal, context = list(self.temporal.parameters()), []
        if self.compares_texts:
            context = [self.context.vectors] if self.context.vectors.requires_grad else []
        else:
            temporal += self.head.parameters()
        return [
            ParameterGroup("adapters", adapters, optim.lr_adapter),
            ParameterGroup("temporal", temporal, optim.lr_temporal),
            ParameterGroup("context", context, optim.lr_context),
        ]


def adapt(clip: CLIP, config: ClipLoraConfig) -> None:
    """Add low-rank matrices to the blocks of CLIP's image encoder, in place; freeze it before.

    Raises:
        ConfigError: it is not a plain vision transformer, or there is nothing to adapt.
    """
    blocks = vit_blocks(clip, "low-rank adapters")
    if not config.targets:
        raise ConfigError("model.clip_lora.targets names nothing to adapt")
    qkv = [number for number, name in enumerate(QKV) if name in config.targets]
    first = max(0, len(blocks) - config.adapted_blocks) if config.adapted_blocks else 0
    for block in list(blocks)[first:]:
        weights = weights_of(block)
        if qkv:
            _add(weights.qkv, len(QKV), qkv, config)
        if "out" in config.targets:
            _add(weights.out, 1, [0], config)
        if "mlp" in config.targets:
            for place in weights.mlp:
                _add(place, 1, [0], config)


def _add(place: WeightPlace, parts: int, chosen: Sequence[int], config: ClipLoraConfig) -> None:
    shape = getattr(place.part, place.name).shape
    low_rank = LowRank(shape, parts, chosen, config)
    parametrize.register_parametrization(place.part, place.name, low_rank)


def merge(module: nn.Module) -> None:
    """Turn all parametrised weights into plain ones, with their current values."""
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            assert isinstance(part.parametrizations, nn.ModuleDict)
            for name in list(part.parametrizations):
                parametrize.remove_parametrizations(part, name, leave_parametrized=True)
