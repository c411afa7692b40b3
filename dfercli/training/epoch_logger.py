"""Epochs in TensorBoard or Weights & Biases, besides metrics.jsonl."""

import os
from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from lightning_fabric.loggers import Logger, TensorBoardLogger

from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import TrainConfig
from dfercli.errors import ConfigError
from dfercli.overrides import to_plain


class WandbLogger(Logger):
    """Weights & Biases behind Fabric's interface; the official logger needs all of lightning.

    Args:
        name: Of the run; also its id, so a resumed run continues the same one.
        folder: The folder for its files.
        settings: Every setting of the training.

    Raises:
        ConfigError: it cannot begin, such as without a login.
    """

    def __init__(self, name: str, folder: str, settings: dict[str, Any]) -> None:
        # Its process logs to the cache in the user's home; a run keeps all it writes.
        os.environ.setdefault("WANDB_CACHE_DIR", os.path.join(folder, "wandb", "cache"))
        import wandb  # an extra

        try:
            self._run = wandb.init(
                project="dfer", name=name, id=name, resume="allow", dir=folder, config=settings
            )
        except Exception as error:  # it raises many unrelated kinds of errors
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ConfigError(
                f"--logger wandb: {reason}", hint="wandb login, or WANDB_MODE=offline"
            ) from error

    @property
    def name(self) -> str:
        """Of the project."""
        return "dfer"

    @property
    def version(self) -> str:
        """The id of the run."""
        return str(self._run.id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers of one step."""
        self._run.log(dict(metrics), step=step)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Settings are given when the run is opened."""

    def finalize(self, status: str) -> None:
        """End the run."""
        self._run.finish()


def require_logger(kind: str) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        ConfigError: naming the extra that brings it.
    """
    if kind != "none" and find_spec(kind) is None:
        raise ConfigError(
            f"--logger {kind} needs the package {kind}",
            hint=f"pip install 'dfercli[{kind}]'",
        )


def open_logger(config: TrainConfig, folder: FoldFolder) -> Logger | None:
    """Open the logger of one fold."""
    if config.logger == "tensorboard":
        return TensorBoardLogger(folder.path, name="tensorboard", version="")
    if config.logger == "wandb":
        name = f"{folder.path.parent.name}-{folder.path.name}"
        return WandbLogger(name, str(folder.path), to_plain(config))
    return None


def log_epoch(logger: Logger, row: Mapping[str, Any]) -> None:
    """Log the numbers in a row of metrics.jsonl at its epoch."""
    numbers = {name: value for name, value in row.items() if isinstance(value, float)}
    rates = {f"lr/{name}": rate for name, rate in row["lr"].items()}
    logger.log_metrics({**numbers, **rates}, step=row["epoch"])
