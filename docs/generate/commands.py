"""Write docs/commands.md from the command line itself, so that the two always agree.

python docs/generate/commands.py
"""

from pathlib import Path
from typing import Any

import typer

from dfercli.cli.app import app

PAGE = Path(__file__).parents[1] / "commands.md"
HEAD = """# Commands

`docs/generate/commands.py` writes this page from the options themselves; a test compares them.
Every command has `--help`. Results go to stdout (`--json` for machines), all else to stderr.
[Settings and exit codes](settings.md) are the same for all.
"""


def page() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    panels: dict[str, list[str]] = {}
    for name, command in root.commands.items():
        below = getattr(command, "commands", {"": command})
        panels.setdefault(command.rich_help_panel, []).extend(
            _command(f"dfer {name} {inner}".strip(), below[inner]) for inner in below
        )
    parts = [HEAD]
    for panel, commands in panels.items():
        parts += [f"\n## {panel}\n", *commands]
    return "".join(parts)


def _command(name: str, command: Any) -> str:
    lines = [f"\n### {name}\n", f"\n{_plain(command.help)}\n"]
    arguments = [parameter for parameter in command.params if not parameter.opts[0].startswith("-")]
    usage = " ".join([name, "[OPTIONS]", *(_place(argument) for argument in arguments)])
    examples = (command.epilog or "").partition(":")[2].replace("\n\n", "\n").strip()
    lines.append(f"\n```text\n{usage}\n```\n")
    if examples:
        lines.append(f"\n```sh\n{examples}\n```\n")
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        title = getattr(parameter, "rich_help_panel", None)
        if parameter in arguments:
            title = "Arguments"
        panels.setdefault(title or "Options", []).append(parameter)
    for title, parameters in panels.items():
        lines.append(f"\n| {title} | default | |\n|---|---|---|\n")
        lines += [_row(parameter, parameter in arguments) for parameter in parameters]
    return "".join(lines)


def _place(argument: Any) -> str:
    name = argument.metavar or argument.name.rpartition("__")[2].upper()
    return name if argument.required else f"[{name}]"


def _row(parameter: Any, is_argument: bool) -> str:
    flags = [_place(parameter)] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    cells = (", ".join(f"`{flag}`" for flag in flags), _default(parameter), parameter.help or "")
    return f"| {' | '.join(_cell(cell) for cell in cells)} |\n"


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return str(parameter.show_default)
    value = parameter.default
    if value is None or value is False or value in ((), [], ""):
        return ""
    return f"`{value}`"


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _plain(text: str) -> str:
    """Help text without the escapes of rich's markup."""
    return (text or "").replace("\\[", "[").strip()


if __name__ == "__main__":
    PAGE.write_text(page())
