"""The text of `--labels`: names and NAME=TEXT with commas between, quoted as in CSV."""

import shlex
from dataclasses import dataclass

from dfercli.errors import ConfigError

QUOTE = '"'


@dataclass
class _Entry:
    """The text between two commas."""

    text: str = ""
    is_quoted: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether it plainly ends where it does: it is quoted, or a name."""
        return self.is_quoted or "=" not in self.text


def split_classes(text: str) -> list[str]:
    """The entries of a list of classes, each NAME or NAME=TEXT.

    A comma inside quotes belongs to its entry, as in CSV: `happy,"scared=a frightened, pale face"`.
    Quotes may also begin behind the equals sign. Without quotes, a name that comes after a
    NAME=TEXT may be the rest of that text, and is refused.

    Raises:
        ConfigError: no class at all, a quote that is not closed or ends within an entry, or a
            doubtful comma, with the ways to write it.
    """
    entries = _entries(text)
    for number, entry in enumerate(entries):
        before = entries[number - 1]
        if number and not before.is_closed and not entry.is_quoted and "=" not in entry.text:
            raise _doubtful(entries, number)
    names = [entry.text for entry in entries if entry.text]
    if text and not names:
        raise ConfigError(f"--labels names no class: {text[:60]!r}")
    return names


def _entries(text: str) -> list[_Entry]:
    entries, is_inside, has_ended = [_Entry()], False, False
    place = 0
    while place < len(text):
        letter, entry = text[place], entries[-1]
        place += 1
        if is_inside:
            if letter != QUOTE:
                entry.text += letter
            elif text[place : place + 1] == QUOTE:  # two of them are one in the text
                entry.text += QUOTE
                place += 1
            else:
                is_inside, has_ended = False, True
        elif letter == ",":
            entries.append(_Entry())
            has_ended = False
        elif letter == QUOTE and _may_open(entry.text) and not has_ended:
            is_inside = entry.is_quoted = True
        elif has_ended and not letter.isspace():
            raise ConfigError(
                f"--labels: {letter!r} follows a closing quote in {entry.text!r}: expected a comma",
                hint='a quote inside quotes is written twice: "say=""cheese"""',
            )
        else:
            entry.text += letter
    if is_inside:
        raise ConfigError(f"--labels: the quote before {entries[-1].text[:60]!r} is not closed")
    for entry in entries:
        entry.text = entry.text.strip()
    return entries


def _may_open(before: str) -> bool:
    """Whether a quote after this opens: at the beginning of an entry or of its text."""
    return before.strip() == "" or before.rstrip().endswith("=")


def _doubtful(entries: list[_Entry], number: int) -> ConfigError:
    before, entry = entries[number - 1], entries[number]
    joined = _Entry(f"{before.text}, {entry.text}", is_quoted=True)
    as_one = [*entries[: number - 1], joined, *entries[number + 1 :]]
    alone = _Entry(before.text, is_quoted=True)
    as_two = [*entries[: number - 1], alone, *entries[number:]]
    return ConfigError(
        f"--labels: is {entry.text!r} a class, or the rest of the text {before.text!r}?",
        hint=f"the rest of it: --labels {_written(as_one)}\n"
        f"a class of its own: --labels {_written(as_two)}",
    )


def _written(entries: list[_Entry]) -> str:
    """Entries as they are typed in a shell."""
    cells = []
    for entry in entries:
        doubled = entry.text.replace(QUOTE, 2 * QUOTE)
        needs_quotes = entry.is_quoted or "," in entry.text or QUOTE in entry.text
        cells.append(f"{QUOTE}{doubled}{QUOTE}" if needs_quotes else entry.text)
    return shlex.quote(",".join(cells))
