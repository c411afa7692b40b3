"""A tiny FineCLIPER of four streams, trained on the drawn squares of `store_with_parts`."""

from dataclasses import replace
from pathlib import Path

from face_parts import store_with_parts

from dfercli.artifacts.parts_record import record_parts
from dfercli.config import (
    AugmentConfig,
    DataConfig,
    FineCliperConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from dfercli.progress import SilentProgress
from dfercli.training import run as train

ALL = ("frames", "landmarks", "parsing", "captions")
T = 3
MADE = {"landmarks": "yunet5", "parsing": "segformer one"}


def train_tiny(folder: Path, **own: object) -> Path:
    """Train, calibrate, and return the checkpoint; the face store is `folder`/faces."""
    record_parts(folder / "faces", MADE)
    store = store_with_parts(folder / "faces", clips_per_class=6)
    model = ModelConfig(
        method="finecliper",
        clip="tiny-vit/random",
        num_frames=T,
        text_type="pn",
        context_tokens=0,
        temporal_layers=0,
        finecliper=FineCliperConfig(**own),
    )
    config = TrainConfig(
        dataset=str(store),
        out=folder / "runs",
        name="run",
        accelerator="cpu",
        select="val",
        model=model,
        optim=OptimConfig(optimizer="adamw", epochs=2, batch_size=4, lr_adapter=3e-3),
        augment=AugmentConfig(crop_scale=0.7),
        data=DataConfig(workers=0, test=str(store), allow_leak=True, validation=0.5),
    )
    return train.run(replace(config), SilentProgress()).folds[0].checkpoint
