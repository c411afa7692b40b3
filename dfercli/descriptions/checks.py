"""Checks that a text must pass before it is kept."""

import re
import unicodedata
from collections.abc import Callable, Iterable

QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb "
MARKUP = set("*_#<>{}[]|~^`\\=")


def tidy(text: str) -> str:
    """One line without quotation marks around it, ending with a full stop."""
    line = " ".join(unicodedata.normalize("NFKC", text).split()).strip(QUOTES)
    return line if not line or line[-1] in ".!?。" else f"{line}."


def text_problems(
    text: str,
    *,
    limit: int,
    count: Callable[[str], int],
    forbidden: Iterable[re.Pattern[str]] = (),
) -> list[str]:
    """Describe the fault of a text: empty, not plain, too long, a forbidden word.

    Args:
        text: A tidy text.
        limit: Most CLIP tokens, start and end token not counted.
        count: The token counter.
        forbidden: Patterns of words that must not occur.
    """
    if not any(letter.isalpha() for letter in text):
        return ["it is empty"]
    problems = []
    odd = sorted({letter for letter in text if not _is_plain(letter)})
    if odd:
        problems.append(f"it is not plain text (it holds {' '.join(map(_named, odd[:10]))})")
    elif "://" in text:
        problems.append("it is not plain text (it holds an address)")
    length = count(text)
    if length > limit:
        problems.append(f"it takes {length} CLIP tokens, {limit} are allowed")
    named = sorted({match.group().lower() for word in forbidden for match in word.finditer(text)})
    if named:
        problems.append(f"it holds the class name {', '.join(named)}")
    return problems


def _named(letter: str) -> str:
    return letter if letter.isprintable() else f"U+{ord(letter):04X}"


def _is_plain(letter: str) -> bool:
    """Letters, marks, numbers, punctuation and spaces; no markup, symbols or control codes."""
    category = unicodedata.category(letter)
    return letter not in MARKUP and (category[0] in "LMNP" or category == "Zs")
