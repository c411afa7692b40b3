"""FineCLIPER, by Chen et al.

"FineCLIPER: Multi-modal Fine-grained CLIP for Dynamic Facial Expression Recognition with
AdaptERs", ACM MM 2024, arXiv 2407.02157. Its authors published no code. From the paper: CLIP is
frozen and adapted; each class has a positive text P ("A person with an expression of {label}")
and a negative text N ("… of no {label}"); low-level frames, middle-level landmarks and face
parsing, rendered as images, and high-level captions of the facial changes are encoded. Our choices,
each a setting of `FineCliperConfig`: the adapters (see `adapters.py`), one adapted image encoder
for all visual streams, the logits, and the fusion (see `fusion.py`).

    frames, images of landmarks or parts -> adapted CLIP image encoder -> mean over T -> f_m
    caption -> adapted CLIP text encoder -> f_m
    f_V = sum over streams m of w_m f_m
    texts P_k, N_k -> adapted CLIP text encoder -> f_P, f_N
    s_P = cos(f_V, f_P) / tau, s_N = cos(f_V, f_N) / tau, logits = s_P - s_N (`difference`)
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from open_clip import CLIP
from torch import Tensor, nn

from dfercli.config import ModelConfig, OptimConfig
from dfercli.errors import ConfigError
from dfercli.models.adapters import adapt_image_encoder, adapt_text_encoder
from dfercli.models.clip_backbone import embedding_width, encode_images, image_size
from dfercli.models.clip_text import encode_token_embeddings, text_parameters
from dfercli.models.context import ContextTokens
from dfercli.models.fusion import StreamFusion
from dfercli.models.method import FRAMES, Method, ParameterGroup, cosines
from dfercli.models.normalization import PixelNormalization
from dfercli.models.temporal import TemporalEncoder
from dfercli.models.text_cache import TextCache

TEMPERATURE = 0.01
CAPTIONS = "captions"

StreamValues = tuple[Tensor, Tensor]
"""One stream of a batch of clips, and which clips have it: (B,) bool."""


class FineCliper(Method):
    """FineCLIPER on an open_clip backbone with a vision transformer.

    Trained: adapters, fusion weights; also context tokens, temperature and a temporal encoder
    where the settings ask for them. Frozen: all of CLIP.

    Args:
        clip: The CLIP backbone with its weights; its blocks are wrapped in place.
        texts: K positive texts in label order, then, unless the logits are `positive`, K negative.
        config: The settings, mainly those of `config.finecliper`.

    Raises:
        ConfigError: a CLIP that adapters do not fit, or a text that is too long.
    """

    backbone_is_frozen = True

    def __init__(self, clip: CLIP, texts: Sequence[str], config: ModelConfig) -> None:
        super().__init__()
        own = config.finecliper
        self.num_frames = config.num_frames
        self.image_size = image_size(clip)
        self.streams = own.streams or (FRAMES,)
        self.encodes_frames_alone = "temporal" not in own.adapters
        self.kind = own.logits
        self.binary_weight = own.binary_weight
        self.normalization = PixelNormalization(config.normalization)
        self.context = ContextTokens(
            clip,
            texts,
            config.context_tokens,
            class_specific=config.class_specific,
            class_position=config.class_position,
        )
        self.context.requires_grad_(config.context_tokens > 0)
        self.clip = clip.requires_grad_(False)
        adapt_image_encoder(clip, config.num_frames, own)
        adapt_text_encoder(clip, own)
        self.temporal = TemporalEncoder(
            embedding_width(clip), config.num_frames, layers=config.temporal_layers
        )
        self.fusion = StreamFusion(
            self.streams, learned=own.fusion == "learned", dropout=own.stream_dropout
        )
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(1 / TEMPERATURE)), requires_grad=own.temperature == "learned"
        )
        self._text_cache = TextCache()

    @staticmethod
    def wants_negative_texts(config: ModelConfig) -> bool:
        """Whether the logits are made of positive and negative texts."""
        return config.finecliper.logits != "positive"

    def forward(
        self,
        frames: Tensor,
        landmarks: StreamValues | None = None,
        parsing: StreamValues | None = None,
        regions: StreamValues | None = None,
        captions: StreamValues | None = None,
    ) -> Tensor:
        """Compare clips with classes. A clip is judged by the streams that it has.

        Args:
            frames: (B, T, 3, H, W), float in [0, 1] or uint8; H and W are the image encoder's.
                Without temporal adapters also what `frame_features` gave, (B, T, D).
            landmarks: Images of landmarks, as the frames.
            parsing: Images of parsing maps, as the frames.
            regions: Images of regions, as the frames.
            captions: (B, L) int64 tokens of CLIP.

        Returns:
            (B, K) float32 logits; in training the similarities (B, K, 2) or (B, K, 1) that
            `logits` and `loss` take.
        """
        video = self.video_features(frames, landmarks, parsing, regions, captions)  # (B, D)
        outputs = self.compare(video, self.text_features())
        return outputs if self.training else self.logits(outputs)

    def compare(self, video: Tensor, texts: Tensor) -> Tensor:
        """Compare clips (B, D) with texts (2 K, D) or (K, D); similarities (B, K, 2 or 1)."""
        similarities = self.log_scale.exp() * cosines(video, texts)  # (B, 2 K) or (B, K)
        classes = len(texts) // (1 if self.kind == "positive" else 2)
        return rearrange(similarities, "b (sign k) -> b k sign", k=classes)

    def logits(self, outputs: Tensor) -> Tensor:
        """s_P - s_N for `difference`, else s_P; (B, K, 2) or (B, K, 1) -> (B, K)."""
        if self.kind == "difference":
            return outputs[..., 0] - outputs[..., 1]
        return outputs[..., 0]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of the logits; `binary` adds, per class, P against N."""
        loss = super().loss(outputs, labels)
        if self.kind != "binary":
            return loss
        soft = labels.ndim == 2
        is_class = labels if soft else F.one_hot(labels, outputs.shape[1])
        positive_wins = outputs[..., 0] - outputs[..., 1]
        binary = F.binary_cross_entropy_with_logits(positive_wins, is_class.to(outputs.dtype))
        return loss + self.binary_weight * binary

    def video_features(
        self,
        frames: Tensor,
        landmarks: StreamValues | None = None,
        parsing: StreamValues | None = None,
        regions: StreamValues | None = None,
        captions: StreamValues | None = None,
    ) -> Tensor:
        """Encode and fuse the streams of clips, given as to `forward`.

        Returns:
            (B, D) float32 of unit length.

        Raises:
            ConfigError: none of the streams that the model looks at was given.
        """
        return self.fuse(*self.stream_features(frames, landmarks, parsing, regions, captions))

    def fuse(self, features: Tensor, present: Tensor) -> Tensor:
        """One feature of unit length per clip, (B, D), from what `stream_features` gave."""
        return F.normalize(self.fusion(features, present), dim=-1)

    def stream_features(
        self,
        frames: Tensor,
        landmarks: StreamValues | None = None,
        parsing: StreamValues | None = None,
        regions: StreamValues | None = None,
        captions: StreamValues | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode the streams of clips, given as to `forward`, each for itself.

        Returns:
            (B, M, D) float32 of unit length, M the streams of the training in their order; and
            (B, M) bool, False where a clip lacks a stream or the model does not look at it.

        Raises:
            ConfigError: none of the streams that the model looks at was given.
        """
        everything = torch.ones(frames.shape[0], dtype=torch.bool, device=frames.device)
        given = {
            FRAMES: (frames, everything),
            "landmarks": landmarks,
            "parsing": parsing,
            "regions": regions,
            CAPTIONS: captions,
        }
        chosen = {name: given[name] for name in self.streams}
        streams = {name: values for name, values in chosen.items() if values is not None}
        if not streams:
            raise ConfigError(f"this model looks at {', '.join(self.streams)}: give one of them")
        visual = [name for name in streams if name != CAPTIONS]
        features: dict[str, Tensor] = {}
        if visual:
            images = torch.cat([self._normalised(streams[name][0]) for name in visual])
            encoded = self.image_features(images)  # one batch for all of them
            # A batch that is cut by its length could not be exported for another length.
            parts = rearrange(encoded, "(m b) d -> m b d", m=len(visual))
            features.update((name, parts[column]) for column, name in enumerate(visual))
        if CAPTIONS in streams:
            features[CAPTIONS] = self.caption_features(streams[CAPTIONS][0])
        like = next(iter(features.values()))  # (B, D)
        absent = (torch.zeros_like(like), torch.zeros_like(like[:, 0], dtype=torch.bool))
        columns = [
            (features[name], streams[name][1]) if name in features else absent
            for name in self.fusion.streams
        ]
        return (
            torch.stack([column[0] for column in columns], dim=1),  # (B, M, D)
            torch.stack([column[1] for column in columns], dim=1),  # (B, M)
        )

    def _normalised(self, images: Tensor) -> Tensor:
        return images if images.ndim == 3 else self.normalization(images)

    def image_features(self, images: Tensor) -> Tensor:
        """Encode clips of normalised images; (N, T, 3, H, W) -> (N, D) float32 of unit length.

        Images that were encoded alone are given as (N, T, D).
        """
        num_clips = images.shape[0]
        if images.ndim == 5:
            flat = rearrange(images, "n t c h w -> (n t) c h w")
            encoded = encode_images(self.clip, flat, together=images.shape[1])
            images = rearrange(encoded, "(n t) d -> n t d", n=num_clips)
        features = self.temporal(images)
        return F.normalize(features.float(), dim=-1)

    def caption_features(self, tokens: Tensor) -> Tensor:
        """Encode captions; (B, L) int64 -> (B, D) float32 of unit length."""
        embeddings = self.clip.token_embedding(tokens)
        features = encode_token_embeddings(
            self.clip, embeddings, tokens.argmax(dim=-1), length=tokens.shape[1]
        )
        return F.normalize(features.float(), dim=-1)

    def text_features(self) -> Tensor:
        """Encode the class texts, (2 K, D) or (K, D) float32 of unit length.

        Without gradients the features are kept while no weight they depend on changes.
        """
        weights = [self.context.vectors, *text_parameters(self.clip)]
        return self._text_cache.features(weights, self.encode_classes)

    def encode_classes(self) -> Tensor:
        """Compute the text features (2 K, D), of unit length, from the weights as they are now."""
        prompts = self.context(self.clip.token_embedding)  # (2 K, L, W)
        features = encode_token_embeddings(
            self.clip, prompts, self.context.eot, length=self.context.length
        )
        return F.normalize(features.float(), dim=-1)

    def parameter_groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """Adapters with fusion and temperature; temporal encoder; context tokens."""
        own = [*self.clip.parameters(), *self.fusion.parameters(), self.log_scale]
        context = [self.context.vectors] if self.context.vectors.requires_grad else []
        return [
            ParameterGroup(
                "adapters", [weight for weight in own if weight.requires_grad], optim.lr_adapter
            ),
            ParameterGroup("temporal", list(self.temporal.parameters()), optim.lr_temporal),
            ParameterGroup("context", context, optim.lr_context),
        ]
