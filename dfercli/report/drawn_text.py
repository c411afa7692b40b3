"""Text from strangers to draw into pictures: short, on one line, in available letters."""

import unicodedata

MOST_LETTERS = 48


def shortened(text: str, most: int = MOST_LETTERS) -> str:
    """One line of at most `most` letters; anything but letters of some script becomes a space."""
    start = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * most])
    line = " ".join(start.split())
    return line if len(line) <= most and len(text) <= 2 * most else f"{line[: most - 3]}..."


def drawn_text(text: str, most: int = MOST_LETTERS) -> str:
    """The text in ASCII, as OpenCV draws nothing else: no accents, other scripts become `?`."""
    plain = unicodedata.normalize("NFKD", shortened(text, most))
    letters = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in letters)
