"""Every method by its name. A new one is one file and one line here."""

from collections.abc import Callable

from open_clip import CLIP

from dfercli.config import ModelConfig
from dfercli.models.dfer_clip import DferClip
from dfercli.models.method import Method

METHODS: dict[str, Callable[[CLIP, list[str], ModelConfig], Method]] = {
    "dfer-clip": DferClip,
}


def build_model(clip: CLIP, class_texts: list[str], config: ModelConfig) -> Method:
    """Build the model of `config.method` on a backbone."""
    return METHODS[config.method](clip, class_texts, config)
