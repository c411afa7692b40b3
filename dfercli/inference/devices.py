"""The device and precision that a model runs in; without lightning-fabric, slow to import."""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import nn

from dfercli.config import Precision, TrainConfig
from dfercli.errors import ConfigError
from dfercli.models.clip_backbone import TOYS
from dfercli.models.method import Method

WORTH_BFLOAT16 = 10_000_000  # weights; in a smaller encoder matrix products take little of the time


def resolve_precision(precision: Precision, accelerator: str = "auto") -> Precision:
    """Resolve `auto` to the best precision of the device.

    On a CUDA device `bf16-mixed` where it has bfloat16, else `16-mixed`; elsewhere `32`. `32-true`
    is `32`; `bf16-true` is `bf16-mixed` with the image encoder's weights in bfloat16, too (see
    `rounds_weights`).

    Raises:
        ConfigError: another word; the known ones are listed.
    """
    known = get_args(Precision)
    if precision not in known:
        raise ConfigError(f"precision: expected one of {', '.join(known)}, got {precision!r}")
    if precision in ("32-true", "bf16-true"):
        return "32" if precision == "32-true" else "bf16-mixed"
    if precision != "auto":
        return precision
    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if has_bfloat16 else "16-mixed"
    return "32"


def rounds_weights(precision: Precision, resolved: Precision, device: torch.device) -> bool:
    """Whether the weights of an image encoder that answers are kept in bfloat16.

    With `bf16-true` as asked; on a CPU also with `bf16-mixed`, which would round them each time.
    """
    return precision == "bf16-true" or (resolved == "bf16-mixed" and device.type == "cpu")


def precision_for_training(config: TrainConfig) -> Precision:
    """The precision that a model is trained in.

    As `resolve_precision`; but `auto` on a CPU is `bf16-mixed` where it multiplies bfloat16
    matrices in dedicated units (AMX), except for toys, which are too small to gain from it.

    Raises:
        ConfigError: `bf16-true`.
    """
    if config.precision == "bf16-true":
        raise ConfigError(
            "precision bf16-true: weights in bfloat16 do not change by steps as small as those of "
            "an image encoder",
            hint="train with bf16-mixed",
        )
    resolved = resolve_precision(config.precision, config.accelerator)
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = config.accelerator == "cpu" or (config.accelerator == "auto" and not has_gpu)
    is_toy = config.model.clip.partition("/")[0] in TOYS
    if config.precision == "auto" and on_cpu and not is_toy and multiplies_bfloat16():
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


def require_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device does not support.

    Raises:
        ConfigError: `16-mixed` without a CUDA device.
    """
    if precision == "16-mixed" and device.type != "cuda":
        raise ConfigError("precision 16-mixed needs a CUDA device", hint="use bf16-mixed or 32")


def precision_for_answers(
    precision: Precision, device: torch.device, module: Method
) -> tuple[Precision, torch.dtype]:
    """The precision of inference with a trained model, and the type of mixed products.

    As `resolve_precision`; but `auto` on a CPU is `bf16-mixed` where it multiplies bfloat16
    matrices in dedicated units (AMX) and the image encoder is large. On a CPU that only has
    instructions for it (AVX-512), float32 is as fast or faster.

    Raises:
        ConfigError: `16-mixed` without a CUDA device.
    """
    resolved = resolve_precision(precision, device.type)
    require_precision(precision, device)
    if precision == "auto" and device.type == "cpu" and multiplies_bfloat16():
        weights = sum(parameter.numel() for parameter in module.clip.visual.parameters())
        resolved = "bf16-mixed" if weights >= WORTH_BFLOAT16 else resolved
    return resolved, torch.float16 if resolved == "16-mixed" else torch.bfloat16


def multiplies_bfloat16() -> bool:
    """Whether this CPU has matrix units for bfloat16, as far as this PyTorch can tell."""
    capabilities: Mapping[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # not there in old releases
    return bool(capabilities.get("amx_tile"))


def keep_encoder_in_bfloat16(encoder: nn.Module) -> None:
    """Round the weights of an image encoder to bfloat16, permanently.

    Mixed precision rounds them in every forward pass, which on a CPU costs more than it saves.
    For models that are not trained any further.
    """
    encoder.to(torch.bfloat16)
