"""The device and precision that a model runs in; without lightning-fabric, slow to import."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfercli.config import AnswerPrecision, Precision, TrainConfig
from dfercli.errors import ConfigError
from dfercli.inference.arithmetic import (
    ENVIRONMENT_NAME,
    WORTH,
    Arithmetic,
    arithmetic_file,
    arithmetic_here,
    as_asked,
    prefers_bfloat16,
)
from dfercli.models.clip_backbone import TOYS
from dfercli.models.method import Method

WORTH_BFLOAT16 = 10_000_000  # weights; in a smaller encoder, matrix products take little time


def resolve_precision(precision: Precision, accelerator: str = "auto") -> Precision:
    """Resolve `auto` to `DFER_PRECISION`, else to the best precision of the device.

    That is `bf16-mixed` on a CUDA device that has bfloat16, else `16-mixed`; elsewhere `32`.
    `32-true` is `32`; `bf16-true` is `bf16-mixed` with the image encoder's weights in bfloat16,
    too (see `rounds_weights`).

    Raises:
        ConfigError: an unknown precision (the message lists the known ones), or `int8`.
    """
    asked = _not_int8(as_asked(precision))
    if asked in ("32-true", "bf16-true"):
        return "32" if asked == "32-true" else "bf16-mixed"
    if asked != "auto":
        return asked
    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if has_bfloat16 else "16-mixed"
    return "32"


def _not_int8(precision: AnswerPrecision) -> Precision:
    if precision == "int8":
        raise ConfigError(
            "precision int8 is for dfer predict and for models that Python loads",
            hint=f"--precision 32, or bf16-mixed; without it, {ENVIRONMENT_NAME} counts",
        )
    return precision


def rounds_weights(
    precision: AnswerPrecision, resolved: AnswerPrecision, device: torch.device
) -> bool:
    """Whether to keep the weights of an image encoder for inference in bfloat16.

    True with `bf16-true`; on a CPU also with `bf16-mixed`, which would round them each time.
    """
    on_cpu = resolved == "bf16-mixed" and device.type == "cpu"
    return as_asked(precision) == "bf16-true" or on_cpu


def precision_for_training(config: TrainConfig) -> Precision:
    """The precision for training a model.

    As `resolve_precision`; but `auto` on a CPU is `bf16-mixed` if it was measured to multiply
    faster in bfloat16 (see `arithmetic`), except for toys, which are too small to gain from it.

    Raises:
        ConfigError: `bf16-true` or `int8`.
    """
    asked = as_asked(config.precision)
    if asked == "bf16-true":
        raise ConfigError(
            "precision bf16-true: weights in bfloat16 do not change by steps as small as those of "
            "an image encoder",
            hint="train with bf16-mixed",
        )
    resolved = resolve_precision(config.precision, config.accelerator)
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = config.accelerator == "cpu" or (config.accelerator == "auto" and not has_gpu)
    is_toy = config.model.clip.partition("/")[0] in TOYS
    if asked == "auto" and on_cpu and not is_toy and prefers_bfloat16():
        return "bf16-mixed"
    return resolved


def resolve_device(device: str) -> torch.device:
    """Resolve `auto`, `cpu`, `cuda`, `cuda:1` or `mps` to a device; `auto` takes a GPU if possible.

    Raises:
        ConfigError: the device is not available.
    """
    is_there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device(next((name for name, there in is_there.items() if there), "cpu"))
    kind, _, index = device.partition(":")
    if kind not in (*is_there, "cpu") or device.endswith(":") or (index and not index.isdecimal()):
        raise ConfigError(f"device: expected auto, cpu, cuda or mps, got {device!r}")
    if not is_there.get(kind, True):
        raise ConfigError(f"there is no {kind} device here", hint="--device cpu")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if int(index or 0) >= count:
        raise ConfigError(f"there is no {device} here: {count} of them, counted from 0")
    return torch.device(device)


def set_float32(*, exact: bool) -> None:
    """Multiply float32 on CUDA exactly, or as TF32 on tensor cores."""
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.backends.cudnn.allow_tf32 = not exact


def require_precision(precision: AnswerPrecision, device: torch.device) -> None:
    """Refuse a precision that the device does not support.

    Raises:
        ConfigError: `16-mixed` without a CUDA device, or `int8` on another device than a CPU.
    """
    if precision == "int8" and device.type != "cpu":
        raise ConfigError(
            f"precision int8 is for a CPU, not for {device.type}", hint="use --device cpu"
        )
    if precision == "16-mixed" and device.type != "cuda":
        raise ConfigError("precision 16-mixed needs a CUDA device", hint="use bf16-mixed or 32")


def precision_for_answers(
    precision: AnswerPrecision, device: torch.device, module: Method
) -> tuple[AnswerPrecision, torch.dtype]:
    """The precision of inference with a trained model, and the type of mixed products.

    As `resolve_precision`; but `auto` on a CPU is `bf16-mixed` if the image encoder is large and
    the CPU was measured to multiply faster in bfloat16 (see `arithmetic`). `int8` is never the
    default.

    Raises:
        ConfigError: `16-mixed` without a CUDA device, or `int8` on another device than a CPU.
    """
    asked = as_asked(precision)
    if asked == "int8":
        require_precision(asked, device)
        return asked, torch.bfloat16
    resolved = resolve_precision(asked, device.type)
    require_precision(resolved, device)
    if asked == "auto" and device.type == "cpu" and is_large(module) and prefers_bfloat16():
        resolved = "bf16-mixed"
    return resolved, torch.float16 if resolved == "16-mixed" else torch.bfloat16


@dataclass(frozen=True)
class MachineArithmetic:
    """The content of `dfer info --machine`.

    Attributes:
        arithmetic: The measurement.
        file: Its file.
        asked: The value of `DFER_PRECISION`; `auto` if it is not set.
        answers: The default precision of `dfer predict` with a large model.
        training: The same of `dfer train`.
        evaluation: The same of `dfer eval`.
    """

    arithmetic: Arithmetic
    file: Path
    asked: AnswerPrecision
    answers: str
    training: str
    evaluation: str

    def to_json(self) -> dict[str, Any]:
        """The output of `--json`."""
        return {
            **asdict(self),
            "file": str(self.file),
            "ratio": self.arithmetic.ratio,
            "worth": WORTH,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Names and values, as text."""
        found = self.arithmetic
        side = "at least" if found.prefers_bfloat16 else "less than"
        return [
            ("processor", f"{found.processor} (kind {found.kind}), {found.threads} threads"),
            ("torch", found.torch),
            (
                "one core, products of ViT-B's shapes",
                f"{found.float32_gflops:.0f} billion operations a second in float32, "
                f"{found.bfloat16_gflops:.0f} in bfloat16: {found.ratio:.2f} times, {side} {WORTH}",
            ),
            ("measured", f"{found.measured_at} in {found.seconds:.2f} s, kept in {self.file}"),
            (ENVIRONMENT_NAME, self.asked if self.asked != "auto" else "not set"),
            ("dfer predict", self.answers),
            ("dfer train", self.training),
            ("dfer eval", self.evaluation),
        ]


def describe_arithmetic() -> MachineArithmetic:
    """The measurement of this machine, and the precision that `auto` takes for large models.

    Raises:
        ConfigError: `DFER_PRECISION` is not a precision.
    """
    found, asked, device = arithmetic_here(), as_asked("auto"), resolve_device("auto")
    faster = "bf16-mixed" if found.prefers_bfloat16 else "32"
    chosen = faster if asked == "auto" and device.type == "cpu" else None
    if asked == "int8":
        refused = "refuses int8"
        return MachineArithmetic(found, arithmetic_file(), asked, asked, refused, refused)
    plain = resolve_precision(asked, device.type)
    return MachineArithmetic(
        found, arithmetic_file(), asked, chosen or plain, chosen or plain, plain
    )


def is_large(module: Method) -> bool:
    """Whether products of the image encoder take most of a model's time."""
    weights = sum(parameter.numel() for parameter in module.clip.visual.parameters())
    return bool(weights >= WORTH_BFLOAT16)


def keep_encoder_in_bfloat16(encoder: nn.Module) -> None:
    """Round the weights of an image encoder to bfloat16, permanently.

    Mixed precision rounds them in every forward pass, which on a CPU costs more than it saves.
    For models that are not trained any further.
    """
    encoder.to(torch.bfloat16)
