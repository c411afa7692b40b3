"""What a method costs before it is trained: tunable weights, operations, memory."""

from dfercli.config import ModelConfig
from dfercli.labels import SEVEN
from dfercli.models.build import build_model
from dfercli.models.clip_backbone import build_clip, clip_architecture
from dfercli.models.cost import ModelCost, cost_of
from dfercli.stages.models_on_disk import texts_of_method


def run(config: ModelConfig, label_set: tuple[str, ...] = SEVEN) -> ModelCost:
    """Count what a method costs; no weights are loaded.

    Raises:
        ConfigError: an unknown CLIP, or one that the method cannot use.
    """
    positive, negative = texts_of_method(config, label_set)
    name = config.clip.rpartition("/")[0] or config.clip
    clip = build_clip(clip_architecture(name))
    return cost_of(build_model(clip, [*positive, *negative], config))


def cost_lines(cost: ModelCost, batch_size: int) -> list[str]:
    """The cost in words, a line each."""
    share = cost.tunable_weights / cost.total_weights
    return [
        f"tunable weights {cost.tunable_weights:,} of {cost.total_weights:,} ({share:.1%})",
        f"{cost.flops_per_clip / 1e9:,.1f} GFLOPs per clip and forward pass (class texts apart)",
        f"about {cost.memory_bytes(batch_size) / 1e9:,.1f} GB to train {batch_size} clips at once "
        f"in float32, of which each takes {cost.activation_bytes_per_clip / 1e9:,.2f} GB",
    ]
