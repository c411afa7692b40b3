"""What a model costs: weights, operations and memory per clip, without running it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from dfercli.models.method import FRAMES, Method
from dfercli.torch_private import FUSED_CPU_ATTENTION, FakeTensorMode

CAPTION_TOKENS = 77
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
Shape = torch.Size
BYTES = 4  # of a float32
OPTIMIZER_COPIES = 3  # gradient and AdamW's two moments; SGD with momentum has one fewer


@dataclass(frozen=True)
class ModelCost:
    """What a model costs.

    Attributes:
        tunable_weights: Weights that are trained.
        total_weights: All weights, CLIP's among them.
        flops_per_clip: Floating-point operations of one clip's forward pass, all streams; a
            multiplication with an addition counts as two. Class texts, encoded once, do not count.
        weight_bytes: Memory of all weights in float32.
        training_bytes: Memory of gradients and AdamW's state.
        activation_bytes_per_clip: Memory of what the backward pass of one clip needs, in float32.
    """

    tunable_weights: int
    total_weights: int
    flops_per_clip: int
    weight_bytes: int
    training_bytes: int
    activation_bytes_per_clip: int

    def memory_bytes(self, clips: int) -> int:
        """Estimate of the memory that training takes with this many clips at once."""
        return self.weight_bytes + self.training_bytes + clips * self.activation_bytes_per_clip


def cost_of(module: Method) -> ModelCost:
    """Count weights, and trace one clip through the model with fake tensors."""
    trained = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    total = sum(weight.numel() for weight in module.parameters())
    flops, activations = _follow_a_clip(module)
    return ModelCost(
        tunable_weights=trained,
        total_weights=total,
        flops_per_clip=flops,
        weight_bytes=BYTES * total,
        training_bytes=BYTES * OPTIMIZER_COPIES * trained,
        activation_bytes_per_clip=activations,
    )


def flop_counter() -> FlopCounterMode:
    """Torch's counter of floating-point operations, which also counts fused attention on a CPU.

    Torch has no formula for it in 2.14, and had none in some releases before; without one the
    operator counts as nothing. The backward pass computes the scores again: five products for two.
    """

    def forward(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
        batch, heads, queries, width = query
        keys, value_width = value[-2:]
        return 2 * batch * heads * queries * keys * (width + value_width)

    def backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
        batch, heads, queries, width = query
        keys, value_width = value[-2:]
        return 2 * batch * heads * queries * keys * (3 * width + 2 * value_width)

    formulas = dict(zip(FUSED_CPU_ATTENTION, (forward, backward), strict=True))
    return FlopCounterMode(display=False, custom_mapping=formulas)


def _follow_a_clip(module: Method) -> tuple[int, int]:
    """Operations of one clip, and bytes of what its backward pass needs besides the weights."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    weights = [fake.from_tensor(tensor) for tensor in (*module.parameters(), *module.buffers())]
    known = {StorageWeakRef(tensor.untyped_storage()) for tensor in weights}
    saved: dict[StorageWeakRef, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if StorageWeakRef(storage) not in known:
            saved[StorageWeakRef(storage)] = storage
        return tensor

    was_training = module.training
    # The fused attention of evaluation hides its operations from the counter; batch
    # normalisation would update its statistics.
    for part in module.modules():
        part.training = not isinstance(part, BATCH_NORMS)
    counter = flop_counter()
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with fake, hooks, counter:
        module.video_features(**_one_clip(module))
    module.train(was_training)
    return counter.get_total_flops(), sum(storage.nbytes() for storage in saved.values())


def _one_clip(module: Method) -> dict[str, Any]:
    images = torch.zeros(1, module.num_frames, 3, module.image_size, module.image_size)
    there = torch.ones(1, dtype=torch.bool)
    further = {
        name: (torch.zeros(1, CAPTION_TOKENS, dtype=torch.int64), there)
        if name == "captions"
        else (images, there)
        for name in module.streams
        if name != FRAMES
    }
    return {"frames": images, **further}


def cost_lines(cost: ModelCost, batch_size: int) -> list[str]:
    """The cost as lines of text."""
    share = cost.tunable_weights / cost.total_weights
    return [
        f"tunable weights {cost.tunable_weights:,} of {cost.total_weights:,} ({share:.1%})",
        f"{cost.flops_per_clip / 1e9:,.1f} GFLOPs per clip and forward pass (class texts apart)",
        f"about {cost.memory_bytes(batch_size) / 1e9:,.1f} GB to train {batch_size} clips at once "
        f"in float32, of which each takes {cost.activation_bytes_per_clip / 1e9:,.2f} GB",
    ]
