"""Every setting of every stage: frozen dataclasses that alone hold the defaults.

The command line shows these defaults and passes what the user gave. Precedence: option, then
`--config` file, then environment (secrets and roots only), then the default here.
"""

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
