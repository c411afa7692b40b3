"""What a wrong answer costs: cross entropy, focal loss, and weights against rare classes.

The loss of a batch is the mean over its clips of `weight of the class * loss of the clip`. Weights
are scaled so that their mean over the training clips is 1: learning rates keep their meaning, and
the pieces of a batch add up to the batch.

A soft target costs what its classes would cost alone, by their shares: so mixup is defined, and one
class with a share of 1 is that class.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dfercli.config import OptimConfig
from dfercli.errors import DataError


class Criterion:
    """The loss of logits against labels or shares of classes, by the settings of a training.

    Args:
        optim: `loss`, `focal_gamma`, `label_smoothing`.
        class_weights: (K,) weight of each class; None for equal ones.
    """

    def __init__(self, optim: OptimConfig, class_weights: Tensor | None = None) -> None:
        self.gamma = optim.focal_gamma if optim.loss == "focal" else 0.0
        self.label_smoothing = optim.label_smoothing
        self.class_weights = class_weights

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss over clips; logits (B, K), labels (B,) or shares (B, K) -> ()."""
        if labels.ndim == 2:
            return (labels * self._of_each_class(logits)).sum(-1).mean()
        # With gamma 0 and no weights, what cross entropy gives to the last bit.
        if not self.gamma and self.class_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        losses = F.cross_entropy(
            logits, labels, label_smoothing=self.label_smoothing, reduction="none"
        )  # (B,)
        if self.gamma:
            # Lin et al., ICCV 2017: a clip that is recognised with certainty costs next to nothing.
            own = F.softmax(logits.float(), dim=-1).gather(1, labels[:, None]).squeeze(1)  # (B,)
            losses = (1 - own).clamp(min=0) ** self.gamma * losses
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(losses.device)
            losses = self.class_weights[labels] * losses
        return losses.mean()

    def _of_each_class(self, logits: Tensor) -> Tensor:
        """What each class would cost if it were the label; (B, K) -> (B, K)."""
        log_chances = F.log_softmax(logits.float(), dim=-1)
        smoothing = self.label_smoothing
        losses = -(1 - smoothing) * log_chances - smoothing * log_chances.mean(-1, keepdim=True)
        if self.gamma:
            losses = (1 - log_chances.exp()).clamp(min=0) ** self.gamma * losses
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(losses.device)
            losses = self.class_weights * losses
        return losses


def make_criterion(
    optim: OptimConfig, labels: Sequence[int] | Tensor, label_set: Sequence[str]
) -> Criterion:
    """The loss of a training on clips with these labels, or shares of the classes (N, K).

    `inverse` weighs a class by one over its number of clips n; `effective` by one over the
    effective number of clips, (1 - beta^n) / (1 - beta) (Cui et al., CVPR 2019).

    Raises:
        DataError: weights are asked for, and a class has no training clips (named).
    """
    if optim.class_weights == "none":
        return Criterion(optim)
    if isinstance(labels, Tensor):
        counts = labels.double().sum(0)  # (K,)
    else:
        counts = torch.bincount(torch.tensor(labels), minlength=len(label_set)).double()
    absent = [name for name, number in zip(label_set, counts, strict=True) if not number]
    if absent:
        raise DataError(
            f"class weights {optim.class_weights}: no training clips of {', '.join(absent)}",
            hint="train without: --class-weights none, or on classes that have clips",
        )
    if optim.class_weights == "inverse":
        weights = 1 / counts
    else:
        beta = optim.effective_beta
        weights = (1 - beta) / (1 - beta**counts)
    mean = (weights * counts).sum() / counts.sum()
    return Criterion(optim, (weights / mean).float())
