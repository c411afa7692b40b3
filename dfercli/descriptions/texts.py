"""Class texts: the shipped ones, those in a descriptions file, and the zero-shot templates."""

from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.descriptions.prompt_files import read_prompt_file
from dfercli.documents import parse_json
from dfercli.errors import ArtifactError, ConfigError
from dfercli.typed import typed

DESCRIPTIONS_SCHEMA = "dfer.descriptions/1"

Style = Literal["description", "name", "context", "pn"]


@dataclass(frozen=True)
class ClassTexts:
    """The texts of every class of a label set.

    Attributes:
        label_set: Class names in order.
        positive: Per class its texts, one or several variants; the same number for every class.
        negative: Per class its negative texts (FineCLIPER), or empty.
        style: `description`, `name`, `context` or `pn` (positive and negative).
        provenance: The origin of the texts: `source` is `shipped` or `llm`.
    """

    label_set: tuple[str, ...]
    positive: tuple[tuple[str, ...], ...]
    negative: tuple[tuple[str, ...], ...] = ()
    style: str = "description"
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of a descriptions file."""
        return {
            "schema": DESCRIPTIONS_SCHEMA,
            "style": self.style,
            "classes": [
                {
                    "name": name,
                    "positive": list(self.positive[index]),
                    "negative": list(self.negative[index]) if self.negative else [],
                }
                for index, name in enumerate(self.label_set)
            ],
            "provenance": self.provenance,
        }


@dataclass(frozen=True)
class Filled:
    """Marks a text that is not empty."""

    def accepts(self, value: str) -> bool:
        """Tell whether there is something to read."""
        return bool(value.strip())

    def __str__(self) -> str:
        return "that is not empty"


FilledText = Annotated[str, Filled()]


@dataclass(frozen=True)
class _ClassEntry:
    name: FilledText
    positive: tuple[FilledText, ...]
    negative: tuple[FilledText, ...] = ()


@dataclass(frozen=True)
class _Descriptions:
    """The content of a descriptions file."""

    classes: tuple[_ClassEntry, ...]
    style: str = "description"
    provenance: dict[str, Any] | None = None


def shipped_texts(label_set: tuple[str, ...], style: Style = "description") -> ClassTexts:
    """Return the texts that come with dfer.

    `name` ("happiness."), `context` ("an expression of happiness.") and `pn` (FineCLIPER's
    sentence with and without the expression) exist for every label set; `description` (facial
    actions) for the eleven classes of `dfercli.labels.ELEVEN` and for `calm`.

    Raises:
        ConfigError: an unknown style, or no description for a class.
    """
    shipped = parse_json(read_prompt_file("class_texts.json"))
    templates = {name: Template(text) for name, text in shipped["templates"].items()}
    written = {name: entry["text"] for name, entry in shipped["descriptions"].items()}
    provenance = {"source": "shipped", "author": shipped["source"]}

    def filled(form: str) -> tuple[tuple[str, ...], ...]:
        return tuple((templates[form].substitute(label=label),) for label in label_set)

    if style == "description":
        missing = [label for label in label_set if label not in written]
        if missing:
            raise ConfigError(
                f"no shipped description for {', '.join(missing)} (only for {', '.join(written)})",
                hint="let an LLM write them (dfer describe --classes FILE --model NAME, with "
                "OPENAI_API_KEY or OPENAI_BASE_URL set), or use the class names: "
                "--text-type name in training, --style name in describe",
            )
        positive = tuple((written[label],) for label in label_set)
        return ClassTexts(label_set, positive, (), style, provenance)
    if style in ("name", "context"):
        return ClassTexts(label_set, filled(style), (), style, provenance)
    if style == "pn":
        return ClassTexts(label_set, filled("positive"), filled("negative"), style, provenance)
    raise ConfigError(f"unknown style of class texts: {style!r} (description, name, context, pn)")


def has_shipped_descriptions(label_set: tuple[str, ...]) -> bool:
    """Tell whether there is a shipped description for every class."""
    return set(label_set) <= set(parse_json(read_prompt_file("class_texts.json"))["descriptions"])


def write_texts(path: Path, texts: ClassTexts) -> None:
    """Write a descriptions file atomically."""
    write_json(path, texts.to_json())


def read_texts(path: Path) -> ClassTexts:
    """Read a descriptions file with the label set it holds.

    Raises:
        ArtifactError: missing, not JSON, of another schema, or broken.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != DESCRIPTIONS_SCHEMA:
        raise ArtifactError(
            f"{path} is not a descriptions file (no schema {DESCRIPTIONS_SCHEMA})",
            hint="write one with: dfer describe --classes 7",
        )
    texts: _Descriptions = typed(_Descriptions, content, str(path))
    names = tuple(entry.name for entry in texts.classes)
    if len(set(names)) != len(names):
        raise ArtifactError(f"{path}: a class is listed twice")
    for kind in ("positive", "negative"):
        counts = {len(getattr(entry, kind)) for entry in texts.classes}
        if len(counts) > 1 or (kind == "positive" and counts <= {0}):
            raise ArtifactError(
                f"{path}: expected the same number of {kind} texts for every class, "
                f"got {sorted(counts)}"
            )
    return ClassTexts(
        label_set=names,
        positive=tuple(entry.positive for entry in texts.classes),
        negative=tuple(entry.negative for entry in texts.classes if entry.negative),
        style=texts.style,
        provenance=texts.provenance or {},
    )


def load_texts(path: Path, label_set: tuple[str, ...]) -> ClassTexts:
    """Read a descriptions file for `label_set`, in its order; further classes are ignored.

    Raises:
        ArtifactError: missing or broken.
        ConfigError: the file has no text for a class of `label_set`.
    """
    texts = read_texts(path)
    position = {name: index for index, name in enumerate(texts.label_set)}
    missing = [label for label in label_set if label not in position]
    if missing:
        raise ConfigError(
            f"{path} has no text for {', '.join(missing)} (it has: {', '.join(texts.label_set)})",
            hint="dfer describe --classes FILE writes texts for any list of classes",
        )
    order = [position[label] for label in label_set]
    return ClassTexts(
        label_set=label_set,
        positive=tuple(texts.positive[index] for index in order),
        negative=tuple(texts.negative[index] for index in order) if texts.negative else (),
        style=texts.style,
        provenance=texts.provenance,
    )


def fill(template: str, name: str) -> str:
    """Put a class name into a zero-shot template, without evaluating anything else."""
    return template.replace("{name}", name)


def zero_shot_templates(name: str) -> tuple[str, ...]:
    """Return the templates of a set; `{name}` in each stands for the class name.

    Args:
        name: `name`, `context` or `photo` (one template each), `five` or `ten`.

    Raises:
        ConfigError: an unknown set.
    """
    sets = parse_json(read_prompt_file("zero_shot_templates.json"))["sets"]
    if name not in sets:
        raise ConfigError(
            f"unknown set of zero-shot templates: {name!r} (known: {', '.join(sets)})"
        )
    return tuple(sets[name])
