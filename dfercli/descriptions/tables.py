"""Texts and captions as rows to print, and the difference of two descriptions files."""

from collections.abc import Iterator
from pathlib import Path

from dfercli.artifacts.captions import read_captions
from dfercli.artifacts.face_store import read_clips
from dfercli.descriptions.texts import ClassTexts, read_texts
from dfercli.descriptions.tokens import token_counter


def text_lines(texts: ClassTexts) -> list[str]:
    """Every text as a line `class: text`."""
    return [f"{label}: {text}" for label, text in _labelled(texts)]


def text_table(texts: ClassTexts) -> list[tuple[str, str, str]]:
    """Rows of (class, text, number of CLIP tokens without start and end) for every text."""
    count = token_counter()
    return [(label, text, str(count(text))) for label, text in _labelled(texts)]


def caption_table(store: Path) -> list[tuple[str, str, str]]:
    """Rows of (clip, caption, number of CLIP tokens without start and end) of a face store."""
    count = token_counter()
    captions = read_captions(store)
    return [
        (row.clip_id, captions[row.clip_id].caption, str(count(captions[row.clip_id].caption)))
        for row in read_clips(store)
        if row.clip_id in captions
    ]


def compare_texts(first: Path, second: Path) -> list[tuple[str, str, str]]:
    """Rows of (class, texts of `first`, texts of `second`) for every class that differs."""
    before, after = _by_class(read_texts(first)), _by_class(read_texts(second))
    names = [*before, *(name for name in after if name not in before)]
    return [
        (name, before.get(name, "(absent)"), after.get(name, "(absent)"))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _labelled(texts: ClassTexts) -> Iterator[tuple[str, str]]:
    for index, label in enumerate(texts.label_set):
        for text in texts.positive[index]:
            yield label, text
        for text in texts.negative[index] if texts.negative else ():
            yield f"{label} (negative)", text


def _by_class(texts: ClassTexts) -> dict[str, str]:
    lines: dict[str, list[str]] = {}
    for index, label in enumerate(texts.label_set):
        negative = texts.negative[index] if texts.negative else ()
        lines[label] = [*texts.positive[index], *(f"negative: {text}" for text in negative)]
    return {label: "\n".join(texts) for label, texts in lines.items()}
