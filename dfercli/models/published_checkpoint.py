"""Checkpoints of the published DFER-CLIP implementation, read without executing their pickle.

Such a file is a `torch.save` dict whose `recorder` is an instance of a class of the trainer's own
`__main__`. It is untrusted: torch's restricted unpickler reads it, classes of the trainer are
replaced by empty stand-ins, and anything else that the pickle wants to call is refused.
"""

import importlib.util
from _compat_pickle import IMPORT_MAPPING
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from dfercli.artifacts.torch_files import check_torch_file, load_torch
from dfercli.config import ModelConfig
from dfercli.errors import ArtifactError
from dfercli.labels import ELEVEN, SEVEN
from dfercli.models.class_token import read_class_token_alone
from dfercli.models.clip_backbone import QuickGelu, build_clip
from dfercli.models.clip_text import decode_tokens, tokenize
from dfercli.models.context import ClassPosition
from dfercli.models.dfer_clip import DferClip

PREFIX = "module."
HEAD_WIDTH = 64  # of both towers, in every CLIP of OpenAI's


def read_published(path: Path) -> dict[str, Tensor]:
    """Read the weights of a published checkpoint, names without `module.`.

    Raises:
        ArtifactError: missing, damaged, not such a checkpoint, or built to run code on load.
    """
    check_torch_file(path)
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # it raises many unrelated kinds on a damaged file
        raise ArtifactError(
            f"not a readable PyTorch checkpoint: {path} ({type(error).__name__})"
        ) from error
    with torch.serialization.safe_globals(_harmless_globals(path, wanted)):
        content = load_torch(path)
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise ArtifactError(f"{path} holds no state_dict of tensors")
    weights = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    if "prompt_learner.ctx" not in weights or "temporal_net.pos_embedding" not in weights:
        raise ArtifactError(f"{path} is not a DFER-CLIP checkpoint: it has no prompt_learner.ctx")
    return weights


def _harmless_globals(path: Path, wanted: list[str]) -> list[Any]:
    """What the pickle may name: numpy's array parts, and stand-ins for the trainer's classes.

    A name of an importable module could do harm when called, so it is refused; a name of
    `__main__` or of a module that is not installed here becomes an empty class.
    """
    reconstruct = np.empty(0).__reduce__()[0]  # its module moved between NumPy 1 and 2
    allowed: list[Any] = [np.ndarray, np.dtype, reconstruct]
    allowed += [(reconstruct, "numpy.core.multiarray._reconstruct")]
    allowed += [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    known = {"numpy.ndarray", "numpy.dtype"}
    known |= {f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")}
    for name in wanted:
        if name in known:
            continue
        module, _, attribute = name.rpartition(".")
        module = IMPORT_MAPPING.get(module, module)  # pickles of protocol 2 hold Python 2's names
        top_level = module.partition(".")[0]
        if top_level != "__main__" and importlib.util.find_spec(top_level) is not None:
            raise ArtifactError(
                f"refused: {path} wants to call {name} when it is loaded",
                hint="a DFER-CLIP checkpoint needs nothing of the kind; do not trust this file",
            )
        allowed.append((_stand_in(attribute), name))
    return allowed


def _stand_in(name: str) -> type:
    """An empty class that keeps whatever state a pickle gives it and does nothing."""

    def set_state(self: Any, state: Any) -> None:
        self.state = state

    return type(name, (), {"__init__": lambda self, *_: None, "__setstate__": set_state})


def published_names(name: str) -> list[str]:
    """The names under which the published implementation stores one of our weights.

    CLIP's weights are stored twice: in the part that uses them, and again in the whole CLIP.
    """
    for ours, published in (
        ("clip.visual.", ["image_encoder.", "clip_model_.visual."]),
        ("clip.token_embedding.", ["clip_model_.token_embedding."]),
        ("clip.logit_scale", ["clip_model_.logit_scale"]),
        ("clip.", ["text_encoder.", "clip_model_."]),
        ("context.vectors", ["prompt_learner.ctx"]),
        ("temporal.class_token", ["temporal_net.cls_token"]),
        ("temporal.position", ["temporal_net.pos_embedding"]),
        ("temporal.blocks.", ["temporal_net.temporal_transformer.layers."]),
    ):
        if name.startswith(ours):
            rest = name.removeprefix(ours)
            for part, published_part in (
                (".attention_norm.", ".0.fn.norm."),
                (".attention.to_qkv.", ".0.fn.fn.to_qkv."),
                (".attention.to_out.", ".0.fn.fn.to_out.0."),
                (".mlp_norm.", ".1.fn.norm."),
                (".mlp_in.", ".1.fn.fn.net.0."),
                (".mlp_out.", ".1.fn.fn.net.3."),
            ):
                if ours == "temporal.blocks.":
                    rest = rest.replace(part, published_part)
            return [prefix + rest for prefix in published]
    raise ValueError(f"not a weight of DFER-CLIP: {name}")


def published_architecture(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Read open_clip's model configuration off the shapes of a published checkpoint."""
    convolution = weights["image_encoder.conv1.weight"]  # (width, 3, patch, patch)
    positions = weights["image_encoder.positional_embedding"].shape[0]
    patch = convolution.shape[-1]
    vocabulary, text_width = weights["clip_model_.token_embedding.weight"].shape
    return {
        "embed_dim": weights["text_encoder.text_projection"].shape[1],
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": patch * round((positions - 1) ** 0.5),
            "patch_size": patch,
            "width": convolution.shape[0],
            "head_width": HEAD_WIDTH,
            "layers": _count_layers(weights, "image_encoder.transformer.resblocks."),
        },
        "text_cfg": {
            "context_length": weights["text_encoder.positional_embedding"].shape[0],
            "vocab_size": vocabulary,
            "width": text_width,
            "heads": text_width // HEAD_WIDTH,
            "layers": _count_layers(weights, "text_encoder.transformer.resblocks."),
        },
    }


def _count_layers(weights: dict[str, Tensor], prefix: str) -> int:
    return len({name.split(".")[prefix.count(".")] for name in weights if name.startswith(prefix)})


def published_class_texts(weights: dict[str, Tensor]) -> list[str]:
    """Recover the class texts: each embedding in `token_suffix` is an exact row of CLIP's.

    Raises:
        ArtifactError: a row is not one of CLIP's token embeddings, or no text gives the tokens.
    """
    table = weights["clip_model_.token_embedding.weight"]  # (V, W)
    end_of_text = table.shape[0] - 1
    rows = {row.tobytes(): token for token, row in reversed(list(enumerate(table.numpy())))}
    tokens = []
    for suffix in weights["prompt_learner.token_suffix"]:  # (L - 1 - N, W)
        found: list[int] = []
        for row in suffix:
            token = rows.get(row.contiguous().numpy().tobytes())
            if token is None:
                raise ArtifactError("token_suffix holds a row that is not a CLIP token embedding")
            if token == end_of_text:
                break
            found.append(token)
        tokens.append(found)
    texts = decode_tokens(tokens)
    for text, wanted, got in zip(texts, tokens, tokenize(texts, suffix.shape[0] + 2), strict=True):
        if got[1 : 1 + len(wanted)].tolist() != wanted:
            raise ArtifactError(f"token_suffix holds tokens that no text gives, near {text!r}")
    return texts


def published_weights(model: DferClip, class_texts: list[str]) -> dict[str, Tensor]:
    """The weights of a model under the published names, as the published code loads them.

    Raises:
        ArtifactError: a model that the published code cannot build, or would feed other pixels.
    """
    weights = model.state_dict()
    if faults := _strange_to_published_code(model):
        raise ArtifactError(f"the published code cannot run this model: {'; '.join(faults)}")
    published = {PREFIX + name: weights[ours] for ours in weights for name in published_names(ours)}
    num_tokens = model.context.vectors.shape[-2]
    placeholders = "X " * num_tokens
    tokens = tokenize([placeholders + text for text in class_texts], model.clip.context_length)
    embeddings = weights["clip.token_embedding.weight"][tokens]  # (K, L, W)
    published[f"{PREFIX}prompt_learner.token_prefix"] = embeddings[:, :1].clone()
    published[f"{PREFIX}prompt_learner.token_suffix"] = embeddings[:, 1 + num_tokens :].clone()
    return published


def _strange_to_published_code(model: DferClip) -> list[str]:
    """What the published code cannot express about a model."""
    faults = []
    visual, text = model.clip.visual, model.clip.transformer
    if not isinstance(visual, VisionTransformer):
        faults.append(f"its image encoder is a {type(visual).__name__}, expected CLIP's ViT")
    elif visual.transformer.width != HEAD_WIDTH * visual.transformer.resblocks[0].attn.num_heads:
        faults.append(f"its image encoder has heads of another width than {HEAD_WIDTH}")
    if text.width != HEAD_WIDTH * text.resblocks[0].attn.num_heads:
        faults.append(f"its text encoder has heads of another width than {HEAD_WIDTH}")
    if not isinstance(text.resblocks[0].mlp.gelu, QuickGelu):
        faults.append("its CLIP uses GELU, expected QuickGELU")
    if model.normalization.kind != "none":
        faults.append(
            "it normalises pixels by CLIP's mean and deviation, unlike the published code"
        )
    if not len(model.temporal.blocks):
        faults.append("it takes the mean over frames")
    return faults


def build_published(
    weights: dict[str, Tensor], class_position: ClassPosition = "end"
) -> tuple[DferClip, ModelConfig, list[str], tuple[str, ...], dict[str, Any]]:
    """Build our model with the weights of a published checkpoint.

    Args:
        weights: As `read_published` returns them.
        class_position: Where the class text stands; such a file does not say.

    Returns:
        The model, its configuration, its class texts, its label set and CLIP's architecture.

    Raises:
        ArtifactError: weights are missing, of another shape, or the two copies of CLIP differ.
    """
    try:
        architecture = published_architecture(weights)
        class_texts = published_class_texts(weights)
        context = weights["prompt_learner.ctx"]  # (K, N, W) or (N, W)
        config = ModelConfig(
            clip="published/file",
            num_frames=weights["temporal_net.pos_embedding"].shape[1] - 1,
            context_tokens=context.shape[-2],
            class_specific=context.ndim == 3,
            class_position=class_position,
            temporal_layers=_count_layers(weights, "temporal_net.temporal_transformer.layers."),
        )
    except KeyError as error:
        raise ArtifactError(f"the checkpoint lacks {error}") from None
    by_size = {len(label_set): label_set for label_set in (SEVEN, ELEVEN)}
    if len(class_texts) not in by_size:
        raise ArtifactError(f"expected 7 or 11 classes, the checkpoint has {len(class_texts)}")
    model = DferClip(build_clip(architecture), class_texts, config)
    read_class_token_alone(model.clip.visual)
    model.load_state_dict(_to_ours(model.state_dict(), weights))
    return model, config, class_texts, by_size[len(class_texts)], architecture


def _to_ours(expected: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {}
    for name, like in expected.items():
        copies = [weights[copy] for copy in published_names(name) if copy in weights]
        if not copies:
            raise ArtifactError(f"the checkpoint lacks {published_names(name)[0]}")
        if copies[0].shape != like.shape:
            raise ArtifactError(
                f"{published_names(name)[0]}: expected shape {tuple(like.shape)}, "
                f"got {tuple(copies[0].shape)}"
            )
        if any(not torch.equal(copies[0], copy) for copy in copies[1:]):
            raise ArtifactError(f"the two copies of {published_names(name)[0]} differ")
        ours[name] = copies[0]
    return ours
