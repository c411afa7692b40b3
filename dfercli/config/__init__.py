"""Every setting of every stage: frozen dataclasses, the only place of the defaults.

The command line shows these defaults and passes what the user gave. Precedence: option, then
`--config` file, then environment (secrets and roots only), then the default here.

A name below is imported when it is first used: a worker that finds faces needs two of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfercli.config.data import CopyConfig, DataConfig, DatasetConfig
    from dfercli.config.descriptions import DescribeConfig
    from dfercli.config.kinds import AnswerPrecision, Precision, Stream
    from dfercli.config.predicting import PredictConfig
    from dfercli.config.preprocessing import FacesConfig, PreprocessConfig
    from dfercli.config.training import (
        AugmentConfig,
        ClipLoraConfig,
        FineCliperConfig,
        ModelConfig,
        OptimConfig,
        SweepConfig,
        TrainConfig,
    )
    from dfercli.config.using import (
        BenchConfig,
        CheckConfig,
        ConvertConfig,
        ConvertTimelineConfig,
        DemoConfig,
        EvalConfig,
        ExportConfig,
        GetConfig,
    )

__all__ = [
    "AnswerPrecision",
    "AugmentConfig",
    "BenchConfig",
    "CheckConfig",
    "ClipLoraConfig",
    "ConvertConfig",
    "ConvertTimelineConfig",
    "CopyConfig",
    "DataConfig",
    "DatasetConfig",
    "DemoConfig",
    "DescribeConfig",
    "EvalConfig",
    "ExportConfig",
    "FacesConfig",
    "FineCliperConfig",
    "GetConfig",
    "ModelConfig",
    "OptimConfig",
    "Precision",
    "PredictConfig",
    "PreprocessConfig",
    "Stream",
    "SweepConfig",
    "TrainConfig",
]

_NAMES = {
    "data": ("CopyConfig", "DataConfig", "DatasetConfig"),
    "descriptions": ("DescribeConfig",),
    "kinds": ("AnswerPrecision", "Precision", "Stream"),
    "predicting": ("PredictConfig",),
    "preprocessing": ("FacesConfig", "PreprocessConfig"),
    "training": (
        *("AugmentConfig", "ClipLoraConfig", "FineCliperConfig", "ModelConfig"),
        *("OptimConfig", "SweepConfig", "TrainConfig"),
    ),
    "using": (
        *("BenchConfig", "CheckConfig", "ConvertConfig", "ConvertTimelineConfig"),
        *("DemoConfig", "EvalConfig", "ExportConfig", "GetConfig"),
    ),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
