"""Every method by its name. A new one is one file and one line here."""

from collections.abc import Sequence
from typing import Protocol

from open_clip import CLIP

from dfercli.config import ModelConfig
from dfercli.models.class_token import read_class_token_alone
from dfercli.models.clip_lora import ClipLora
from dfercli.models.clip_text import require_clip_texts
from dfercli.models.dfer_clip import DferClip
from dfercli.models.finecliper import FineCliper
from dfercli.models.mean_pooling import MeanPooling
from dfercli.models.method import Method


class MethodClass(Protocol):
    """The interface of a method's class."""

    backbone_is_frozen: bool

    def __call__(self, clip: CLIP, texts: Sequence[str], config: ModelConfig) -> Method:
        """Build the model."""

    def wants_negative_texts(self, config: ModelConfig) -> bool:
        """See `Method.wants_negative_texts`."""

    def wants_texts(self, config: ModelConfig) -> bool:
        """See `Method.wants_texts`."""


METHODS: dict[str, MethodClass] = {
    "clip-lora": ClipLora,
    "dfer-clip": DferClip,
    "finecliper": FineCliper,
    "mean-pooling": MeanPooling,
}


def build_model(clip: CLIP, texts: Sequence[str], config: ModelConfig) -> Method:
    """Build the model of `config.method` on a backbone.

    Args:
        clip: The backbone with its weights.
        texts: The text of each class; then the negative text of each, if the method needs them.
        config: The settings.

    Raises:
        ConfigError: a backbone that the method cannot use.
    """
    if METHODS[config.method].wants_texts(config):
        require_clip_texts(clip)
    model = METHODS[config.method](clip, texts, config)
    read_class_token_alone(model.clip.visual)
    return model
