"""The leak guard: words in a caption that name a class of expression."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from dfercli.descriptions.prompt_files import read_prompt_file
from dfercli.documents import parse_json
from dfercli.labels import ALIASES

MASK = "..."

_ENDINGS = (
    "s|es|ed|edly|ing|ingly|er|ers|est|en|ens|ened|ening|ly|ful|fully|fulness|less|lessly|"
    "lessness|ness|some|y|ily|iness|ous|ously|ment|ments|able|ably|ity|ise|ize|ised|ized"
)
_AFTER_E = "e|es|ed|edly|ing|ingly|er|ers|y|ily|able|ably|ion|ions"
_AFTER_Y = "y|ies|ied|ier|iest|ily|iness|ying|iful|ment"
_NOUN_ENDINGS = ("iness", "ily", "ness", "ment", "dom", "ion", "ity", "ing", "ed", "ly")
_SMALL_WORDS = {"and", "the", "with", "other", "not"}
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))


@dataclass(frozen=True)
class LeakGuard:
    """Finds and masks words that reveal a class.

    Attributes:
        words: Matches a label, an inflection or a listed synonym of it.
        paths: Matches a path or file name of the clip.
    """

    words: re.Pattern[str]
    paths: re.Pattern[str]

    def find(self, text: str) -> tuple[str, ...]:
        """The words of `text` that reveal a class."""
        shown = visible(text)
        return tuple(
            match.group()
            for pattern in (self.words, self.paths)
            for match in pattern.finditer(shown)
        )

    def mask(self, text: str) -> tuple[str, int]:
        """Replace each such word by an ellipsis; return the text and their number."""
        without_words, words = self.words.subn(MASK, visible(text))
        masked, paths = self.paths.subn(MASK, without_words)
        return masked, words + paths


def word_pattern(label_set: Iterable[str]) -> re.Pattern[str]:
    """Match every label, its inflections, and its listed synonyms; takes a while to build.

    Each word of a compound name counts.
    """
    listed: dict[str, list[str]] = parse_json(read_prompt_file("label_words.json"))["words"]
    parts: list[str] = []
    for label in label_set:
        parts.append(name_pattern(label))
        parts.extend(_inflected(word) for word in listed.get(label.strip().lower(), ()))
        parts.extend(_inflected(word) for word, name in ALIASES.items() if name == label)
    return _any_of(parts)


def path_pattern(paths: Iterable[str]) -> re.Pattern[str]:
    """Match paths and file names as they are written."""
    return _any_of([rf"(?<!\w){re.escape(path)}(?!\w)" for path in paths])


def _any_of(parts: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(dict.fromkeys(filter(None, parts))) or r"(?!)", re.IGNORECASE)


def name_pattern(label: str) -> str:
    """A pattern for the words of a class name and their inflections."""
    words = [word for word in re.findall(r"\w+", label.lower()) if word not in _SMALL_WORDS]
    forms = []
    for word in words:
        forms.append(_inflected(word))
        base = _without_ending(word)
        if base != word:
            forms.append(_inflected(base))
    return "|".join(forms)


def visible(text: str) -> str:
    """The text as a reader sees it: compatible letters unified, invisible ones removed."""
    return unicodedata.normalize("NFKC", text).translate(_INVISIBLE)


def _without_ending(word: str) -> str:
    for ending in _NOUN_ENDINGS:
        base = word[: -len(ending)]
        if word.endswith(ending) and len(base) >= 3:
            return f"{base}y" if ending in ("iness", "ily") else base
    return word


def _inflected(word: str) -> str:
    """A pattern for an English word with its usual endings; other scripts match anywhere."""
    if not word.isascii():
        return re.escape(word)
    whole, stem = re.escape(word), re.escape(word[:-1])
    forms = [f"{whole}(?:{_ENDINGS})?"]
    if word.endswith("e"):
        forms.append(f"{stem}(?:{_AFTER_E})")
    elif word.endswith("y"):
        forms.append(f"{stem}(?:{_AFTER_Y})")
    else:
        forms.append(f"{whole}{whole[-1]}(?:ed|ing|er|est|en|ens|ened|ening|y)")
        if len(word) > 4:
            forms.append(f"{whole}e")  # surprise, from surpris(ed)
    return rf"\b(?:{'|'.join(forms)})\b"
