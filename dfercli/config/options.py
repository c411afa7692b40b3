"""How a setting appears on the command line, declared at its field.

`option(default, help, panel)` is a field with an option of its name, `argument` one with a place of
its own, `setting` one that only files and `--set` reach. `dfercli.cli.offer` makes the options.
"""

from dataclasses import Field, dataclass, field
from typing import Any, Literal, TypeVar

ValueT = TypeVar("ValueT")
Written = Literal["file", "folder", "either"]

KEY = "offered"

DATA = "Data"
FACES = "Faces"
MODEL = "Model"
LLM = "LLM"
OPTIMISATION = "Optimisation"
DEVICE = "Device"
OUTPUT = "Output"
SETTINGS = "Settings"
WITH_METHOD = "With --method"
PANELS = (DATA, FACES, MODEL, WITH_METHOD, LLM, OPTIMISATION, DEVICE, OUTPUT, SETTINGS)


@dataclass(frozen=True)
class Offer:
    """How a field appears on the command line.

    Attributes:
        help: The help text of the setting.
        kind: `option`, `argument`, or `setting` (neither).
        panel: The panel of `--help` that the option stands in.
        flags: Its flags; empty for `--name-of-the-field`.
        metavar: The placeholder for a value; None for the type.
        default: The help text for a default that is not a fixed value.
        suggestions: Values that the shell completes; others are accepted, too.
        required: The command line must give it, whatever the default for Python is.
        writes: For the path of an output, what is written there.
    """

    help: str
    kind: str = "option"
    panel: str | None = None
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    default: str | None = None
    suggestions: tuple[str, ...] = ()
    required: bool = False
    writes: Written | None = None

    def flag(self, name: str) -> str:
        """The flag of the option of a field of this name, for messages."""
        return (self.flags or (f"--{name.replace('_', '-')}",))[0]


def option(
    value: ValueT,
    help: str,
    panel: str,
    *flags: str,
    metavar: str | None = None,
    default: str | None = None,
    suggestions: tuple[str, ...] = (),
    required: bool = False,
    writes: Written | None = None,
) -> ValueT:
    """A field that the command line offers as an option."""
    return _field(
        value,
        Offer(
            help,
            panel=panel,
            flags=flags,
            metavar=metavar,
            default=default,
            suggestions=suggestions,
            required=required,
            writes=writes,
        ),
    )


def argument(
    value: ValueT,
    help: str,
    *,
    metavar: str | None = None,
    suggestions: tuple[str, ...] = (),
    required: bool = False,
) -> ValueT:
    """A field that the command line takes by its place."""
    return _field(
        value,
        Offer(help, kind="argument", metavar=metavar, suggestions=suggestions, required=required),
    )


def setting(value: ValueT, help: str) -> ValueT:
    """A field that has no option: it is set in files, by `--set` and from Python."""
    return _field(value, Offer(help, kind="setting"))


def offer_of(entry: Field[Any]) -> Offer | None:
    """The declaration of a field; None if it has none."""
    return entry.metadata.get(KEY)


def _field(value: ValueT, offer: Offer) -> ValueT:
    return field(default=value, metadata={KEY: offer})
