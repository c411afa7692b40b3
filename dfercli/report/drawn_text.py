"""Text of strangers that is drawn into pictures: short, in one line, in letters that are there."""

import unicodedata

MOST_LETTERS = 48


def shortened(text: str, most: int = MOST_LETTERS) -> str:
    """One line of at most `most` letters; what is not a letter of some script becomes a space."""
    start = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * most])
    line = " ".join(start.split())
    return line if len(line) <= most and len(text) <= 2 * most else f"{line[: most - 3]}..."


def drawn_text(text: str, most: int = MOST_LETTERS) -> str:
    """The text in ASCII, all that OpenCV can draw: accents go, other scripts become `?`."""
    plain = unicodedata.normalize("NFKD", shortened(text, most))
    letters = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in letters)
