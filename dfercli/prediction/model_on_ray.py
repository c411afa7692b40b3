"""The model on a GPU of a Ray cluster, if it has one; the answers are those of any other place."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfercli.config import PreprocessConfig
from dfercli.inference.choose_model import ChosenModel
from dfercli.inference.loaded_model import LoadedModel, Stream

if TYPE_CHECKING:
    from collections.abc import Callable


def load_where_it_runs(chosen: ChosenModel, config: PreprocessConfig) -> LoadedModel:
    """Load a model: on a GPU of the cluster that this process has joined, else here.

    Args:
        chosen: The model.
        config: Names the engine.

    Raises:
        ArtifactError: the model cannot be used.
    """
    ray = sys.modules.get("ray")
    joined = config.engine == "ray" and ray is not None and ray.is_initialized()
    if ray is None or not joined or ray.cluster_resources().get("GPU", 0) < 1:
        return chosen.load()
    actor = ray.remote(num_gpus=1, num_cpus=0)(_Model).remote(chosen.load)
    return ModelOnRay(ray, actor, chosen)


class _Model:
    """Runs in its own process on a machine with a GPU."""

    def __init__(self, load: "Callable[[], LoadedModel]") -> None:
        self._model = load()
        self._looking = ExitStack()

    def facts(self) -> tuple[bool, str]:
        return self._model.shares_frames, self._model.precision

    def look_at(self, streams: tuple[str, ...]) -> None:
        self._looking.close()
        self._looking.enter_context(self._model.looking_at(streams))

    def answer(
        self,
        frames: NDArray[Any],
        clips: NDArray[np.int64],
        streams: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]],
    ) -> NDArray[np.float64]:
        views = {
            name: (torch.from_numpy(values), torch.from_numpy(present))
            for name, (values, present) in streams.items()
        }
        return self._model.probabilities_of_clips(torch.from_numpy(frames), clips, **views)


class ModelOnRay(LoadedModel):
    """A model that answers from another process.

    Args:
        ray: The library.
        actor: The process.
        chosen: The model that it has loaded.
    """

    def __init__(self, ray: Any, actor: Any, chosen: ChosenModel) -> None:
        facts: tuple[bool, str] = ray.get(actor.facts.remote())
        self._shares_frames, precision = facts
        super().__init__(
            _refuse, chosen.card, chosen.name, precision=precision, restrict=self._restrict_there
        )
        self._ray = ray
        self._actor = actor

    def _restrict_there(self, streams: Sequence[str]) -> None:
        self._ray.get(self._actor.look_at.remote(tuple(streams)))

    @property
    def shares_frames(self) -> bool:
        """Whether a frame that several clips hold is encoded once."""
        return self._shares_frames

    def probabilities_of_clips(
        self, frames: Tensor, clips: NDArray[np.int64], **streams: Stream
    ) -> NDArray[np.float64]:
        """Calibrated probabilities (B, K) of clips that share frames; see `LoadedModel`."""
        views = {
            name: (values.contiguous().numpy(), present.numpy())
            for name, (values, present) in streams.items()
        }
        question = self._actor.answer.remote(frames.contiguous().numpy(), clips, views)
        answer: NDArray[np.float64] = self._ray.get(question)
        return answer


def _refuse(frames: Tensor) -> Tensor:
    raise TypeError("a model on a cluster answers clips that share frames, by indices")
