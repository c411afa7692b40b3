"""The CLIP backbone: open_clip's own model, its sizes and its weights.

A backbone is named `MODEL/TAG` as open_clip names them (`ViT-B-32-quickgelu/openai`). The tag
`random` means random initialisation, and the models `tiny` and `tiny-vit` are toys for the demo and
the tests.
"""

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU as OpenClipQuickGelu
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.overrides import TorchFunctionMode

from dfercli.artifacts.file_sums import file_sha256
from dfercli.artifacts.torch_files import check_torch_file
from dfercli.errors import ArtifactError, ConfigError
from dfercli.models.clip_weights import fetch_weights

RANDOM_TAG = "random"
QUICK_GELU = 1.702
DRAWING = ("normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_")

# Small enough to learn from scratch in a minute on two cores: a little convolutional network, by
# open_clip's own constructor, as a transformer needs far more clips.
TINY: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 48,
        "timm_model_name": "test_resnet",
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
    },
}

# A transformer of the same size, for FineCLIPER's adapters.
TINY_VIT: dict[str, Any] = {
    **TINY,
    "vision_cfg": {"image_size": 48, "patch_size": 8, "width": 64, "head_width": 32, "layers": 3},
}

TOYS = {"tiny": TINY, "tiny-vit": TINY_VIT}


@dataclass(frozen=True)
class BackboneIdentity:
    """The CLIP of a model: enough to build it again and to tell it from another one.

    Attributes:
        name: open_clip's model name, `tiny` or `tiny-vit`.
        tag: open_clip's pretrained tag, `random`, or `file` for a local weights file.
        sha256: Check sum of the weights file; None for random weights.
        architecture: open_clip's model configuration (`embed_dim`, `vision_cfg`, `text_cfg`, …).
        file: The path of a local weights file.
    """

    name: str
    tag: str
    sha256: str | None
    architecture: dict[str, Any]
    file: str | None = None


def split_clip_name(clip: str) -> tuple[str, str]:
    """Split `MODEL/TAG`.

    Raises:
        ConfigError: no tag, an unknown model, an unknown tag, or a model whose activation is not
            the one that its weights were trained with.
    """
    name, slash, tag = clip.rpartition("/")
    if not slash or not name or not tag:
        raise ConfigError(
            f"a CLIP backbone is named MODEL/TAG, got {clip!r}",
            hint="for example ViT-B-32-quickgelu/openai, or tiny/random",
        )
    if tag == RANDOM_TAG:
        clip_architecture(name)
        return name, tag
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        clip_architecture(name)
        raise ConfigError(
            f"open_clip has no weights {tag!r} for {name} (it has: {', '.join(tags) or 'none'})",
            hint="give a local file with --clip-weights FILE",
        )
    trained_with_quick_gelu = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
    if trained_with_quick_gelu and not clip_architecture(name).get("quick_gelu", False):
        raise ConfigError(
            f"the weights {clip} were trained with QuickGELU, the model {name} uses GELU: "
            "every feature would be silently wrong",
            hint=f"use {name}-quickgelu/{tag}",
        )
    return name, tag


def require_clip(clip: str, weights: Path | None) -> None:
    """Refuse an unknown backbone name before any work.

    Args:
        clip: `MODEL/TAG`. With `weights`, the tag is not used and may be left out.
        weights: A local file with the backbone's weights.

    Raises:
        ConfigError: as `split_clip_name`, or an unknown model.
    """
    if weights is None:
        split_clip_name(clip)
    else:
        clip_architecture(clip.rpartition("/")[0] or clip)


def clip_architecture(name: str) -> dict[str, Any]:
    """Return open_clip's configuration of a model.

    Raises:
        ConfigError: unknown name, or a model whose text tower is not CLIP's own transformer
            (learned context tokens go into that tower's token embeddings).
    """
    if name in TOYS:
        return copy.deepcopy(TOYS[name])
    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        raise ConfigError(
            f"open_clip knows no model {name!r}",
            hint='see: python -c "import open_clip; print(open_clip.list_models())"',
        )
    config.pop("custom_text", None)
    if "hf_model_name" in config["text_cfg"] or "multimodal_cfg" in config:
        raise ConfigError(f"{name} has no CLIP text transformer, which context tokens need")
    return config


class _WithoutDrawing(TorchFunctionMode):
    """Leave new weights uninitialised, since drawing those of CLIP takes seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "") in DRAWING:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def build_clip(architecture: dict[str, Any], *, draw: bool = True) -> open_clip.CLIP:
    """Build open_clip's CLIP.

    Args:
        architecture: open_clip's model configuration.
        draw: Draw random weights; else they stay uninitialised until weights are loaded.

    Raises:
        ArtifactError: open_clip does not accept the configuration.
    """
    try:
        with contextlib.nullcontext() if draw else _WithoutDrawing():
            model = open_clip.CLIP(**architecture)
    except (TypeError, ValueError, AssertionError) as error:
        raise ArtifactError(f"open_clip cannot build this architecture: {error}") from error
    replace_activations(model, OpenClipQuickGelu, QuickGelu)
    return model


class QuickGelu(nn.Module):
    """x * sigmoid(1.702 x), CLIP's activation, as silu(1.702 x) / 1.702.

    The result is the same up to rounding. On a CPU a training step takes about a fifth less time
    than with open_clip's three operations, each of which keeps a tensor for the backward pass.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply it; any shape."""
        scaled = QUICK_GELU * x
        if torch.is_grad_enabled():
            return F.silu(scaled) / QUICK_GELU
        return F.silu(scaled, inplace=True).div_(QUICK_GELU)  # fresh memory costs more than sums


def replace_activations(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    """Replace every `old` in a model by a `new()`."""
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, old):
                setattr(part, name, new())


def load_backbone(clip: str, weights: Path | None) -> tuple[open_clip.CLIP, BackboneIdentity]:
    """Build a CLIP backbone in float32 on the CPU, with its weights.

    Args:
        clip: `MODEL/TAG`. With `weights`, the tag is not used.
        weights: A local open_clip or OpenAI checkpoint file instead of the tag's download.

    Raises:
        ConfigError: an unknown model or tag.
        ArtifactError: weights that are missing, not downloadable, or of another architecture.
    """
    if weights is not None:
        name = clip.rpartition("/")[0] or clip
        tag = "file"
        path: Path | None = weights
        if not weights.is_file():
            raise ArtifactError(f"no such CLIP weights file: {weights}")
    else:
        name, tag = split_clip_name(clip)
        path = None if tag == RANDOM_TAG else fetch_weights(name, tag)
    architecture = clip_architecture(name)
    model = build_clip(architecture, draw=path is None)
    sha256 = None
    if path is not None:
        _load_weights(model, path, clip)
        sha256 = file_sha256(path)
    file = None if weights is None else str(weights.absolute())
    return model, BackboneIdentity(name, tag, sha256, architecture, file)


def load_same_backbone(identity: BackboneIdentity, weights: Path | None) -> open_clip.CLIP:
    """Build the CLIP that a checkpoint was trained on and does not hold.

    Args:
        identity: The identity of that CLIP.
        weights: A local file with its weights; None for where they were, or the tag's download.

    Raises:
        ArtifactError: the weights are unavailable, or differ.
    """
    if weights is None:
        known = identity.file
        weights = fetch_weights(identity.name, identity.tag) if known is None else Path(known)
    if not weights.is_file():
        raise ArtifactError(
            f"the CLIP weights that this model was trained on are not at {weights}",
            hint="give the file with --clip-weights FILE",
        )
    if (found := file_sha256(weights)) != identity.sha256:
        raise ArtifactError(
            f"{weights} holds other weights than {identity.name}/{identity.tag}, which this model "
            f"was trained on: expected SHA-256 {identity.sha256}, got {found}",
            hint="give the right file with --clip-weights FILE",
        )
    model = build_clip(identity.architecture, draw=False)
    _load_weights(model, weights, f"{identity.name}/{identity.tag}")
    return model


TEXT_PARTS = (
    *("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection"),
)


def _named_as_in(clip: str, model: open_clip.CLIP) -> nn.Module:
    """The same weights by the names in files of a model: some keep the text tower in a part."""
    config = open_clip.get_model_config(clip.rpartition("/")[0] or clip)
    if not config or not config.get("custom_text"):
        flat: nn.Module = model
        return flat
    whole, text = nn.Module(), nn.Module()
    for name in TEXT_PARTS:
        setattr(text, name, getattr(model, name))
    whole.visual, whole.text = model.visual, text
    whole.logit_scale, whole.logit_bias = model.logit_scale, model.logit_bias
    return whole


def _load_weights(model: open_clip.CLIP, path: Path, clip: str) -> None:
    if path.suffix in (".npz", ".npy"):
        raise ArtifactError(f"{path}: expected weights in a file of PyTorch or safetensors")
    if path.suffix != ".safetensors":
        check_torch_file(path)
    try:
        open_clip.load_checkpoint(_named_as_in(clip, model), str(path), weights_only=True)
    except Exception as error:  # torch, safetensors and open_clip each raise their own kinds
        reason = str(error).strip().splitlines()
        raise ArtifactError(
            f"{path} does not hold weights of {clip}: {reason[0] if reason else error!r}",
            hint="--clip must name the model that the file was made for",
        ) from error


def image_size(model: open_clip.CLIP) -> int:
    """The side of the square image that the image encoder takes, in pixels."""
    size = model.visual.image_size
    return int(size[0] if isinstance(size, (tuple, list)) else size)


def embedding_width(model: open_clip.CLIP) -> int:
    """D, the width of CLIP's joint embedding."""
    projection = model.text_projection
    if isinstance(projection, nn.Linear):
        return projection.out_features
    return int(projection.shape[1])


# More at once is slower on a CPU: the result of one product no longer fits its caches before the
# next one reads it (128 images of 224 px at once take 1.1 to 1.4 times as long as 16 at a time).
PIXELS_AT_ONCE = 16 * 224 * 224


def encode_images(model: open_clip.CLIP, images: Tensor, together: int = 1) -> Tensor:
    """Encode images with CLIP's image encoder, whatever type its weights have.

    Args:
        model: The backbone.
        images: (N, 3, S, S) float, normalised.
        together: This many consecutive images attend to each other and stay together.

    Returns:
        (N, D) image features, not normalised; float32 where the weights are bfloat16.
    """
    weight = next(model.visual.parameters(), None)
    dtype = torch.float32 if weight is None else weight.dtype  # an encoder in 8 bits holds none
    if images.device.type == "cpu" and not torch.is_grad_enabled() and not is_compiling():
        at_once = max(1, PIXELS_AT_ONCE // images[0, 0].numel() // together) * together
        features = torch.cat([model.visual(some.to(dtype)) for some in images.split(at_once)])
    else:
        features = model.visual(images.to(dtype))
    return features.float() if dtype == torch.bfloat16 else features
