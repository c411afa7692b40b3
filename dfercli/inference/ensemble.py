"""Several models as one: the mean of their calibrated probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dfercli.artifacts.model_card import ModelCard
from dfercli.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from dfercli.inference.loaded_model import LoadedModel, Stream

TINIEST = 1e-12  # a probability of zero has no logarithm


def ensemble(models: "Sequence[LoadedModel]") -> "LoadedModel":
    """Combine several models with the same classes, such as the folds of a benchmark.

    Each model's logits are divided by its own temperature; the probabilities are averaged. The
    logits of the whole are the logarithms of that mean.

    Raises:
        ConfigError: models of other classes, or that look at another number or size of frames.
    """
    import numpy as np
    import torch

    from dfercli.inference.loaded_model import LoadedModel

    card = card_of_ensemble([(model.name, model.card) for model in models])
    columns = [[model.label_set.index(name) for name in card.label_set] for model in models]

    def mean(rows: "list[NDArray[np.float64]]") -> "Tensor":
        together = [row[:, order] for row, order in zip(rows, columns, strict=True)]
        return torch.from_numpy(np.mean(together, axis=0)).clamp_min(TINIEST).log()

    widths: list[int] = []

    def encode(frames: "Tensor") -> "Tensor":
        parts = [model.encode_frames(frames) for model in models]
        widths[:] = [part.shape[-1] for part in parts]
        return torch.cat([part.float() for part in parts], dim=-1)

    def forward(values: "Tensor", **streams: "Stream") -> "Tensor":
        if values.ndim == 5:  # frames
            pairs = ((model, _own(model, streams)) for model in models)
            return mean([model.probabilities(values, **own) for model, own in pairs])
        rows = []
        parts = values.split(widths, dim=-1)  # features of all models, side by side
        for number, (model, part) in enumerate(zip(models, parts, strict=True)):
            own = {
                name: (one if one.ndim == 2 else one.split(widths, dim=-1)[number], present)
                for name, (one, present) in _own(model, streams).items()
            }
            rows.append(model.probabilities_of_features(part, **own))
        return mean(rows)

    shared = all(model.shares_frames for model in models)
    name = name_of_ensemble([model.name for model in models])
    precision = "; ".join(dict.fromkeys(model.precision for model in models))
    return LoadedModel(forward, card, name, encode if shared else None, precision)


def _own(model: "LoadedModel", streams: "Mapping[str, Stream]") -> "dict[str, Stream]":
    return {name: values for name, values in streams.items() if name in model.streams}


def name_of_ensemble(names: Sequence[str]) -> str:
    """The name of several models together."""
    return f"{len(names)} models: {', '.join(names)}"


def card_of_ensemble(members: Sequence[tuple[str, ModelCard]]) -> ModelCard:
    """The card of several models together; it lists values that differ.

    Args:
        members: Name and card of each.

    Raises:
        ConfigError: models of other classes, or that look at another number or size of frames.
    """
    cards = [card for _, card in members]
    first = cards[0]
    for other in members[1:]:
        _require_same(members[0], other)
    return replace(
        first,
        model={
            "method": "ensemble",
            "normalization": first.model.get("normalization", "none"),
            "members": [card.model.get("method") for card in cards],
            "streams": list(dict.fromkeys(name for card in cards for name in card.streams)),
        },
        calibration={"temperature": 1.0},  # each has its own already
        trained_on={},
        selected_on="; ".join(dict.fromkeys(card.selected_on for card in cards)),
        results={},
        origin={},
    )


def _require_same(one: tuple[str, ModelCard], other: tuple[str, ModelCard]) -> None:
    (one_name, ours), (other_name, theirs) = one, other
    if set(ours.label_set) != set(theirs.label_set):
        raise ConfigError(
            f"{one_name} knows {', '.join(ours.label_set)}; {other_name} knows "
            f"{', '.join(theirs.label_set)}: only models with the same classes can be averaged"
        )
    for what, mine, yours in (
        ("frames of a clip", ours.sampling["num_frames"], theirs.sampling["num_frames"]),
        ("pixels of a frame's side", ours.image_size, theirs.image_size),
    ):
        if mine != yours:
            raise ConfigError(
                f"{one_name} takes {mine} {what}, {other_name} takes {yours}: they cannot be "
                "averaged"
            )
