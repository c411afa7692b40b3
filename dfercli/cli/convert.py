"""`dfer convert`: published DFER-CLIP checkpoints to ours, and back."""

from typing import Any

from dfercli.cli.console import ConsoleProgress, print_json, print_line
from dfercli.cli.offer import Asked, Json, examples, offers
from dfercli.config import ConvertConfig

EPILOG = examples(
    "dfer convert dfew-set1.pth --out published-dfew-1",
    "dfer convert runs/first --to official --out ours.pth",
)


@offers(ConvertConfig, "convert")
def convert(asked: Asked[ConvertConfig], json: Json = False) -> None:
    """Make a published DFER-CLIP checkpoint usable, or ours usable by the published code.

    A published file is read without executing anything in it.
    """
    config = asked.config()
    from dfercli.inference.light_imports import import_models

    import_models()
    from dfercli.inference.convert import Converted, run

    def as_json(found: Converted) -> dict[str, Any]:
        return {
            "out": str(found.out),
            "label_set": list(found.card.label_set),
            "class_texts": list(found.card.class_texts),
            "model": found.card.model,
            "comparisons": [vars(comparison) for comparison in found.comparisons],
        }

    found = run(config, ConsoleProgress())
    if json:
        print_json(as_json(found))
        return
    model = found.card.model
    for name, text in zip(found.card.label_set, found.card.class_texts, strict=True):
        print_line(f"{name}: {text}")
    kind = "class-specific" if model["class_specific"] else "generic"
    print_line(
        f"{model['context_tokens']} {kind} context tokens, class text at the "
        f"{model['class_position']}; {model['num_frames']} frames of {found.card.image_size} px; "
        f"temporal layers: {model['temporal_layers']}"
    )
    for comparison in found.comparisons:
        print_line(
            f"largest difference of logits to {comparison.reference}: {comparison.difference:.3g}"
        )
    print_line(f"written: {found.out}")
