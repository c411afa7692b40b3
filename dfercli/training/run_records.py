"""The records of a run about itself: its environment and its training data."""

import os
import platform
from importlib.metadata import version
from typing import Any

import torch
from lightning_fabric import Fabric

from dfercli.artifacts.face_store import read_dataset
from dfercli.config import TrainConfig
from dfercli.data.clips import Clip, Fold
from dfercli.data.fold_clips import FoldClips
from dfercli.inference.devices import precision_for_training

ENVIRONMENT_SCHEMA = "dfer.environment/1"
SELECTION_VALUES = {"war": "WAR", "uar": "UAR", "mean": "mean of WAR and UAR"}


def selection_rule(config: TrainConfig) -> str:
    """How the checkpoint of a training is chosen, as text."""
    best = f"best {SELECTION_VALUES[config.select_by]}"
    rule = {
        "last": "last epoch, nothing selected",
        "val": f"{best} on a held-out part of the training clips",
        "best-on-test": f"best-on-test: the epoch with the {best} on the test clips themselves",
    }[config.select]
    if config.model.own_texts:
        return f"{rule}; with our own class texts, not the published ones"
    return rule


def trained_on(config: TrainConfig, clips: FoldClips) -> dict[str, Any]:
    """The clips of a training, and the rule that selects its checkpoint."""

    def subjects(part: tuple[Clip, ...]) -> int:
        return len({clip.subject for clip in part if clip.subject is not None})

    return {
        "dataset": clips.fold.dataset,
        "fold": clips.fold.fold,
        "official_split": clips.fold.official,
        "frame_source": clips.fold.frame_source,
        **({"labelling": clips.fold.labelling} if clips.fold.labelling else {}),
        "num_train": len(clips.train),
        "num_held_out": len(clips.held_out),
        "num_subjects": subjects(clips.train),
        "selection": selection_rule(config),
        "seed": config.seed,
    }


def crop_settings(fold: Fold) -> dict[str, Any] | None:
    """How the face store of a fold was made; None for frames that `dfer` did not crop."""
    store = fold.train[0].store if fold.train else None
    return None if store is None else dict(read_dataset(store)["settings"])


def environment(config: TrainConfig, fabric: Fabric) -> dict[str, Any]:
    """Versions, device and processes."""
    packages = ("dfercli", "torch", "torchvision", "open_clip_torch", "lightning-fabric", "numpy")
    is_cuda = fabric.device.type == "cuda"
    return {
        "schema": ENVIRONMENT_SCHEMA,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "device": torch.cuda.get_device_name(fabric.device) if is_cuda else fabric.device.type,
        "processes": fabric.world_size,
        "precision": precision_for_training(config),
        "versions": {package: version(package) for package in packages},
    }
