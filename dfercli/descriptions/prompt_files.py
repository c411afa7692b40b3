"""The files of `prompts/`: where they are, and LLM prompt templates with their variables."""

import hashlib
from pathlib import Path
from string import Template

from dfercli.documents import decoded, read_document
from dfercli.errors import ConfigError


def prompts_folder() -> Path:
    """The folder of prompt files: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "prompts"
    return installed if installed.is_dir() else package.parent / "prompts"


def read_prompt_file(name: str) -> str:
    """Read one file of `prompts/` as UTF-8."""
    return (prompts_folder() / name).read_text(encoding="utf-8")


def read_template(name: str, own: Path | None = None) -> str:
    """Read an LLM prompt template: the user's `own` file, else the shipped `name`.

    Raises:
        ConfigError: the user's file cannot be read.
    """
    if own is None:
        return read_prompt_file(name)
    try:
        return decoded(read_document(own, may_be_pipe=True))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the prompt template {own}: {error}") from error


def render(template: str, where: str, **variables: str) -> str:
    """Fill a `string.Template`.

    Args:
        template: Text with `$name` placeholders; `$$` is a dollar sign.
        where: The file it came from, for the message.
        **variables: The values; the template need not use all of them.

    Raises:
        ConfigError: a placeholder without a value (named), or one that is malformed.
    """
    known = ", ".join(f"${name}" for name in variables)
    try:
        return Template(template).substitute(variables).strip()
    except KeyError as error:
        raise ConfigError(
            f"{where}: no value for the variable ${error.args[0]}", hint=f"it may use {known}"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{where}: {error}", hint=f"write $$ for $; it may use {known}"
        ) from error


def sha256_of(text: str) -> str:
    """The SHA-256 of a text as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
