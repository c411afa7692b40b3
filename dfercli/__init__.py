"""Dynamic facial expression recognition: DFER-CLIP and FineCLIPER from raw video to timeline.

    from dfercli import load

    model = load("runs/faces-dfer-clip-20250101-120000")
    table = model.predict_video("clip.mp4").to_dataframe()

`import dfercli` is quick; torch and the rest are imported when a name below is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfercli.api import FramesPrediction, Recognizer, load
    from dfercli.artifacts.model_card import ModelCard
    from dfercli.artifacts.predictions import WindowPrediction
    from dfercli.config import PredictConfig
    from dfercli.report.video_prediction import VideoPrediction

    __version__: str

__all__ = [
    "FramesPrediction",
    "ModelCard",
    "PredictConfig",
    "Recognizer",
    "VideoPrediction",
    "WindowPrediction",
    "__version__",
    "load",
]

# Libraries that would tell their makers what runs here; read when they are imported. Worker
# processes inherit them.
for _name, _off in (
    ("ORT_DISABLE_TELEMETRY", "1"),  # ONNX Runtime
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("RAY_USAGE_STATS_ENABLED", "0"),
):
    os.environ.setdefault(_name, _off)

_HOMES = {
    "FramesPrediction": "dfercli.api",
    "ModelCard": "dfercli.artifacts.model_card",
    "PredictConfig": "dfercli.config",
    "Recognizer": "dfercli.api",
    "VideoPrediction": "dfercli.report.video_prediction",
    "WindowPrediction": "dfercli.artifacts.predictions",
    "load": "dfercli.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        return import_module("importlib.metadata").version("dfercli")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
