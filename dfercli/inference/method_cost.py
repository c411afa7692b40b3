"""What a method costs, counted on its modules without weights."""

from dfercli.config import ModelConfig
from dfercli.inference.restore import texts_of_method
from dfercli.labels import SEVEN
from dfercli.models.build import build_model
from dfercli.models.clip_backbone import build_clip, clip_architecture, require_clip
from dfercli.models.cost import ModelCost, cost_of


def run(config: ModelConfig, label_set: tuple[str, ...] = SEVEN) -> ModelCost:
    """Count the cost of a method without loading weights.

    Raises:
        ConfigError: an unknown CLIP, or one that the method cannot use.
    """
    require_clip(config.clip, config.clip_weights)
    positive, negative = texts_of_method(config, label_set)
    name = config.clip.rpartition("/")[0] or config.clip
    clip = build_clip(clip_architecture(name), draw=False)
    return cost_of(build_model(clip, [*positive, *negative], config))
