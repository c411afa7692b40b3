"""Describe: texts for classes, and captions for the clips of a face store."""

from collections.abc import Iterator
from pathlib import Path

from dfercli.artifacts.atomic import read_json
from dfercli.config import DescribeConfig
from dfercli.descriptions.label_lists import LabelList, read_label_list
from dfercli.descriptions.texts import ClassTexts, read_texts, shipped_texts, write_texts
from dfercli.descriptions.tokens import token_counter
from dfercli.errors import ArtifactError, ConfigError
from dfercli.progress import Progress

__all__ = [
    "LabelList",
    "compare_texts",
    "default_path",
    "describe_classes",
    "read_label_list",
    "save_texts",
    "text_lines",
    "text_table",
]


def describe_classes(classes: LabelList, config: DescribeConfig, progress: Progress) -> ClassTexts:
    """Return the texts of `classes`: the shipped ones.

    Raises:
        ConfigError: there is no shipped text for a class.
    """
    return shipped_texts(classes.label_set, config.style)


def default_path(classes: LabelList, style: str) -> Path:
    """Where the texts go when the user names no file: `descriptions-7.json`."""
    suffix = "" if style == "description" else f"-{style}"
    return Path(f"descriptions-{classes.name}{suffix}.json")


def save_texts(path: Path, texts: ClassTexts, *, overwrite: bool) -> None:
    """Write a descriptions file; one that holds the same texts already is left as it is.

    Raises:
        ConfigError: the file holds something else and `overwrite` is False.
    """
    if path.exists() and not overwrite:
        if _holds_same(path, texts):
            return
        raise ConfigError(
            f"{path} exists and holds other texts",
            hint="--overwrite replaces it, --out FILE writes elsewhere",
        )
    write_texts(path, texts)


def _holds_same(path: Path, texts: ClassTexts) -> bool:
    try:
        there = read_json(path)
    except ArtifactError:
        return False
    new = texts.to_json()
    return isinstance(there, dict) and all(
        there.get(key) == new[key] for key in ("schema", "style", "classes")
    )


def text_lines(texts: ClassTexts) -> list[str]:
    """Every text as a line `class: text`."""
    return [f"{label}: {text}" for label, text in _labelled(texts)]


def text_table(texts: ClassTexts) -> list[tuple[str, str, str]]:
    """Rows of (class, text, number of CLIP tokens without start and end) for every text."""
    count = token_counter()
    return [(label, text, str(count(text))) for label, text in _labelled(texts)]


def _labelled(texts: ClassTexts) -> Iterator[tuple[str, str]]:
    for index, label in enumerate(texts.label_set):
        for text in texts.positive[index]:
            yield label, text
        for text in texts.negative[index] if texts.negative else ():
            yield f"{label} (negative)", text


def compare_texts(first: Path, second: Path) -> list[tuple[str, str, str]]:
    """Rows of (class, texts of `first`, texts of `second`) for every class that differs."""
    before, after = _by_class(read_texts(first)), _by_class(read_texts(second))
    names = [*before, *(name for name in after if name not in before)]
    return [
        (name, before.get(name, "(absent)"), after.get(name, "(absent)"))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _by_class(texts: ClassTexts) -> dict[str, str]:
    negative = texts.negative or ((),) * len(texts.label_set)
    return {
        label: "\n".join((*texts.positive[index], *(f"not: {text}" for text in negative[index])))
        for index, label in enumerate(texts.label_set)
    }
