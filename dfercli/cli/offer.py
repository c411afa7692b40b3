"""Make the options of a command from the fields of its config; typer parses them.

Name, type and help of an option are stated at its field (`dfercli.config.options`).
"""

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import Field, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperOption

from dfercli.config.options import OUTPUT, PANELS, SETTINGS, Offer, offer_of
from dfercli.typed import Range

ConfigT = TypeVar("ConfigT")
Command = Callable[..., None]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress.", rich_help_panel=OUTPUT)]

WIDEST_TYPE = 12
_FILE, _ASSIGNMENTS, _CONTEXT = "config_file", "assignments", "context"


@dataclass(frozen=True)
class Asked(Generic[ConfigT]):
    """The settings of a command line.

    Attributes:
        defaults: The config with its defaults.
        command: Name of the command, for messages.
        table: Of a file, which holds its settings.
        typed: Values of options and arguments that were typed; those of a nested config are a
            mapping.
        file: The file of `--config`.
        assignments: Of `--set`.
    """

    defaults: ConfigT
    command: str
    table: str
    typed: Mapping[str, Any]
    file: Path | None
    assignments: Sequence[str]

    def config(self) -> ConfigT:
        """Layer all of it.

        Raises:
            ConfigError: an unknown setting or a value of the wrong kind (all are named), or an
                output that cannot be where it is named.
        """
        from dfercli.artifacts.own_outputs import check_places
        from dfercli.cli.console import ConsoleProgress
        from dfercli.layers import assigned, in_file, layered, options

        layers = [] if self.file is None else [in_file(self.file, self.table)]
        if layers and layers[0].values == {}:
            ConsoleProgress().note(f"{self.file} has no settings in its table {self.table}")
        layers += [options(self.typed, f"dfer {self.command}"), assigned(self.assignments)]
        config = layered(self.defaults, layers)
        check_places(config)
        return config


@dataclass(frozen=True)
class _Setting:
    """A field that a command offers: its path in the config, its type and its option."""

    path: tuple[str, ...]
    hint: Any
    default: Any
    offer: Offer

    @property
    def parameter(self) -> str:
        return "__".join(self.path)


class HelpInOutput(TyperCommand):
    """A command whose help fits 80 columns.

    `--help` stands beside `--json`, all flags of an option in one column, and none has `bool` for
    a value. Paragraphs are filled.
    """

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option, moved."""
        found = super().get_help_option(ctx)
        if found is not None:
            found.rich_help_panel = OUTPUT
        return found

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; in help, as they are shown."""
        found = super().get_params(ctx)
        return [_shown(row) for row in found] if getattr(self, "is_shown", False) else found

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        page = copy(self)
        page.is_shown = True  # type: ignore[attr-defined]
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        page.help = "\n\n".join(escape(" ".join(text.split())) for text in paragraphs)
        TyperCommand.format_help(page, ctx, formatter)


def _shown(row: Any) -> Any:
    """A parameter as help shows it: flags below one another, no value where there is none."""
    if not isinstance(row, TyperOption):
        return row
    shown = copy(row)
    if row.is_flag:
        shown.metavar = ""
        if row.secondary_opts and row.default is not None:
            flag = row.opts[0] if row.default else row.secondary_opts[0]
            shown.show_default = flag.removeprefix("--")
    long = [flag for flag in (*row.opts, *row.secondary_opts) if flag.startswith("--")]
    shown.opts = ["\n".join(long), *(flag for flag in row.opts if flag not in long)]
    shown.secondary_opts = []
    return shown


def examples(*lines: str) -> str:
    """The end of a command's help: example lines to copy."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\n\n".join([title, *map(escape, lines)])


def offers(
    kind: type[ConfigT],
    command: str,
    *,
    only: Sequence[str] | None = None,
    panel: str | None = None,
    table: str | None = None,
) -> Callable[[Command], Command]:
    """Give a command the options of a config, `--config` and `--set`.

    The command is called with `Asked` first, and then with its own options.

    Args:
        kind: The config: a dataclass whose fields have defaults.
        command: Name of the command.
        only: Offer only these fields, such as `optim.batch_size`, without their defaults;
            None for all that are offered.
        panel: The panel for those of `only`, instead of their own.
        table: Of a file, which holds the settings; None for the last word of `command`.

    Raises:
        TypeError: a field without an offer, a name in `only` without a field, or a flag that two
            options would have.
    """
    of_file = table or command.rpartition(" ")[2]
    settings = [found for found in _settings(kind, ()) if found.offer.kind != "setting"]
    if only is not None:
        by_path = {".".join(found.path): found for found in settings}
        if absent := [name for name in only if name not in by_path]:
            raise TypeError(f"dfer {command}: no field for the option {', '.join(absent)}")
        settings = [
            replace(found, default=None, offer=replace(found.offer, default=None, panel=panel))
            for found in map(by_path.__getitem__, only)
        ]

    def decorate(function: Command) -> Command:
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = _in_order([*map(_parameter, settings), *_for_all(of_file), *own])
        _refuse_twins(command, parameters)

        @wraps(function)
        def run(**values: Any) -> None:
            context: typer.Context = values.pop(_CONTEXT)
            typed: dict[str, Any] = {}
            for found in settings:
                value = values.pop(found.parameter)
                if _was_typed(context, found.parameter):
                    _put(typed, found.path, value)
            file, assignments = values.pop(_FILE), values.pop(_ASSIGNMENTS) or []
            function(Asked(kind(), command, of_file, typed, file, assignments), **values)

        context = inspect.Parameter(
            _CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )
        signature = inspect.Signature([context, *parameters])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {}  # all of them stand in the signature
        return run

    return decorate


def _settings(kind: Any, path: tuple[str, ...]) -> Iterator[_Setting]:
    """The fields of a config and of those in it.

    Raises:
        TypeError: a field of which nothing says whether it is offered.
    """
    hints = get_type_hints(kind, include_extras=True)
    for entry in dataclasses.fields(kind):
        hint, place = hints[entry.name], (*path, entry.name)
        if dataclasses.is_dataclass(hint):
            yield from _settings(hint, place)
        elif (offer := offer_of(entry)) is None:
            raise TypeError(
                f"{kind.__name__}.{entry.name} is neither an option, an argument nor a setting "
                "without one: see dfercli/config/options.py"
            )
        else:
            yield _Setting(place, hint, _default(entry), offer)


def _default(entry: Field[Any]) -> Any:
    if entry.default is dataclasses.MISSING:
        raise TypeError(f"the field {entry.name} has no default")
    return entry.default


def _parameter(found: _Setting) -> inspect.Parameter:
    """The parameter that typer makes an option or an argument of."""
    offer, base = found.offer, _without_none(found.hint)
    is_list = get_origin(base) is tuple
    choices = _choices(get_args(base)[0]) if is_list else ()
    default = None if offer.default or found.default == "" else found.default
    if is_list and offer.kind == "argument":
        annotation: Any = list[get_args(base)[0]]  # type: ignore[misc]
        default = list(default) if default else None
    elif is_list:
        annotation, default = str, ",".join(map(str, default or ())) or None
    else:
        annotation = base
    if offer.required:
        default = inspect.Parameter.empty
    elif default is None:
        annotation = annotation | None
    listed = ", ".join(_choices(base))
    is_long = len(listed) > WIDEST_TYPE  # typer would break it anywhere
    words = set(re.findall(r"[\w-]+", offer.help))
    more = f" One of {listed}." if is_long and not words.issuperset(_choices(base)) else ""
    said: dict[str, Any] = {
        "help": escape(offer.help + more + _bounds(found.hint)),
        "metavar": "CHOICE" if is_long else offer.metavar,
        "show_default": offer.default or True,
        "autocompletion": _completion(choices or offer.suggestions, several=is_list),
    }
    if offer.kind == "argument":
        info = typer.Argument(**said)
    else:
        flags = offer.flags or (offer.flag(found.path[-1]),)
        if base is bool and not offer.flags:
            flags = (f"{flags[0]}/--no-{flags[0].removeprefix('--')}",)
        info = typer.Option(*flags, rich_help_panel=offer.panel, **said)
    return _keyword(found.parameter, Annotated[annotation, info], default)


def _for_all(table: str) -> list[inspect.Parameter]:
    """What each command with settings takes besides."""
    file = typer.Option(
        "--config",
        help=f"TOML file of settings, in its table `{table}`.",
        rich_help_panel=SETTINGS,
    )
    assignments = typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting by name, even one without an option.",
        rich_help_panel=SETTINGS,
    )
    return [
        _keyword(_FILE, Annotated[Path | None, file], None),
        _keyword(_ASSIGNMENTS, Annotated[list[str] | None, assignments], None),
    ]


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def _in_order(parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """Arguments first, then options panel by panel."""
    order = (None, *PANELS)

    def rank(parameter: inspect.Parameter) -> int:
        return order.index(getattr(_info(parameter), "rich_help_panel", None))

    keyword = inspect.Parameter.KEYWORD_ONLY
    return sorted((p.replace(kind=keyword) for p in parameters), key=rank)


def _info(parameter: inspect.Parameter) -> Any:
    return get_args(parameter.annotation)[1]


def _refuse_twins(command: str, parameters: Sequence[inspect.Parameter]) -> None:
    taken: dict[str, str] = {}
    for parameter in parameters:
        info = _info(parameter)
        declared = [info.default, *(info.param_decls or ())]
        flags = [text for text in declared if isinstance(text, str) and text.startswith("-")]
        for flag in (flag for text in flags for flag in text.split("/")):
            if flag in taken:
                raise TypeError(
                    f"dfer {command}: {flag} would be both {taken[flag]} and {parameter.name}"
                )
            taken[flag] = parameter.name


def _without_none(hint: Any) -> Any:
    """The type of a value that was typed: no None, no bounds."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (option for option in get_args(hint) if option is not type(None))
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


def _choices(hint: Any) -> tuple[str, ...]:
    return get_args(hint) if _is_literal(hint) else ()


def _bounds(hint: Any) -> str:
    """The range of a number, where it is not the one that everybody expects."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is not Annotated:
        return ""
    bounds = get_args(hint)[1]
    return f" ({bounds})" if isinstance(bounds, Range) and bounds.lowest > 1 else ""


def _completion(choices: Sequence[str], *, several: bool) -> Callable[[str], list[str]] | None:
    """What the shell completes; in a list, the entry after the last comma."""
    if not choices:
        return None

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",") if several else ("", "", incomplete)
        return [f"{before}{comma}{choice}" for choice in choices if choice not in before.split(",")]

    return complete


def _was_typed(context: typer.Context, parameter: str) -> bool:
    return getattr(context.get_parameter_source(parameter), "name", "") == "COMMANDLINE"


def _put(typed: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *tables, name = path
    for table in tables:
        typed = typed.setdefault(table, {})
    typed[name] = value
