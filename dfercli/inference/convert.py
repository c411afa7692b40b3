"""`dfer convert`: published DFER-CLIP checkpoints to ours, and ours to the published form."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfercli.artifacts.arrays import ArraySpec, read_arrays
from dfercli.artifacts.atomic import atomic_folder, atomic_path
from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.artifacts.torch_files import save_torch
from dfercli.config import ConvertConfig
from dfercli.errors import ArtifactError, ConfigError
from dfercli.inference.restore import RestoredModel, restore_model
from dfercli.labels import ELEVEN, SEVEN
from dfercli.models.dfer_clip import DferClip
from dfercli.models.published_checkpoint import published_weights
from dfercli.progress import Progress

LARGEST_DIFFERENCE = 1e-4  # of logits, which are cosines times 100


@dataclass(frozen=True)
class Comparison:
    """How far the logits of the written checkpoint differ from others.

    Attributes:
        reference: The reference, as text.
        difference: The largest difference.
    """

    reference: str
    difference: float


@dataclass(frozen=True)
class Converted:
    """The written file, its kind, and its comparison with the source."""

    out: Path
    card: ModelCard
    comparisons: tuple[Comparison, ...]


def run(config: ConvertConfig, progress: Progress) -> Converted:
    """Convert a checkpoint; nothing in the source's pickle is ever executed.

    Raises:
        ConfigError: the target exists already.
        ArtifactError: a source that is missing, damaged, malicious or of another kind; or, with
            `check`, logits that differ.
    """
    if config.out.exists():
        raise ConfigError(f"{config.out} exists", hint="choose another --out")
    with writing_file(config.out):
        if config.to == "official":
            model = restore_model(find_checkpoint(config.source))
            with atomic_path(config.out) as temporary:
                _write_official(temporary, model, progress)
                comparisons = _checked(config, model, temporary)
        else:
            if not config.source.is_file():
                raise ArtifactError(f"no such checkpoint file: {config.source}")
            model = restore_model(config.source, class_position=config.class_position)
            with atomic_folder(config.out) as temporary:
                save_checkpoint(temporary, model.module.state_dict(), model.card.to_json())
                comparisons = _checked(config, model, temporary)
    return Converted(config.out, model.card, comparisons)


def _checked(config: ConvertConfig, model: RestoredModel, written: Path) -> tuple[Comparison, ...]:
    """Compare the written file; keep it only if it agrees."""
    comparisons = tuple(_compare(config, model, written)) if config.check else ()
    for comparison in comparisons:
        if not comparison.difference <= LARGEST_DIFFERENCE:
            raise ArtifactError(
                f"{config.out} was not kept: logits differ from {comparison.reference} by "
                f"{comparison.difference:.3g}, expected at most {LARGEST_DIFFERENCE:g}"
            )
    return comparisons


def _write_official(path: Path, model: RestoredModel, progress: Progress) -> None:
    if not isinstance(model.module, DferClip):
        raise ArtifactError(
            f"the published code runs only DFER-CLIP, this is {model.card.model['method']}"
        )
    if model.card.label_set not in (SEVEN, ELEVEN):
        progress.note(
            "the published code knows classes by number only; here they are in the order "
            f"{', '.join(model.card.label_set)}"
        )
    # The entries of the published trainer; we have no optimiser or plots in its form.
    content = {
        "epoch": 0,
        "state_dict": published_weights(model.module, list(model.card.class_texts)),
        "best_acc": 0.0,
        "optimizer": None,
        "recorder": None,
    }
    save_torch(content, path)


def _compare(config: ConvertConfig, model: RestoredModel, path: Path) -> list[Comparison]:
    """Compare the written checkpoint with the source, and with golden values beside it."""
    written = restore_model(path, class_position=model.config.class_position)
    frames = wave_frames(model.config.num_frames, model.card.image_size)
    logits, expected = _logits(written, frames), _logits(model, frames)
    found = [Comparison(str(config.source), _largest(logits - expected))]
    kind = "specific" if model.config.class_specific else "generic"
    variant = f"{model.config.class_position}-{kind}"
    beside = sorted(config.source.parent.glob("*-values.npz"))
    for path in beside if config.source.stem.endswith(variant) else ():
        name = f"{variant}/logits"
        spec = ArraySpec(np.float32, tuple(logits.shape[1:]), optional=True)
        golden = read_arrays(path, {name: spec}).get(name)
        if golden is not None and golden.shape == logits.shape:
            reference = f"golden values {path.name}, {variant}"
            found.append(Comparison(reference, _largest(logits - torch.from_numpy(golden))))
    return found


@torch.inference_mode()
def _logits(model: RestoredModel, frames: Tensor) -> Tensor:
    logits: Tensor = model.module.eval()(frames)
    return logits.float()


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def wave_frames(num_frames: int, side: int) -> Tensor:
    """Two clips of waves, the input of the golden values.

    Returns:
        (2, T, 3, side, side) float32 in [0, 1].
    """
    b, t, c, y, x = np.ogrid[:2, :num_frames, :3, :side, :side]
    waves = np.sin(0.011 * x * (c + 1) + 0.023 * y * (b + 1) + 0.37 * t + 0.9 * b)
    return torch.from_numpy((0.5 + 0.5 * waves).astype(np.float32))
