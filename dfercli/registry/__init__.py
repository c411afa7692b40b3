"""The models that `dfer models` knows by name: what models.toml says, typed.

A further model is one more entry there, and nothing else.
"""

import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from dfercli.documents import parse_toml, read_document
from dfercli.errors import ArtifactError
from dfercli.labels import ELEVEN, SEVEN
from dfercli.names import PlainName
from dfercli.typed import Range, typed

Rate = Annotated[float, Range(0, 100)]
DRIVE = "drive"
TABLE = Path(str(files("dfercli.registry") / "models.toml"))


@dataclass(frozen=True)
class Place:
    """Marks where a model lies: `drive:ID`, `https://…` or `open_clip:MODEL/TAG`."""

    def accepts(self, value: str) -> bool:
        """Tell whether `value` is such a place."""
        patterns = r"drive:[\w-]{10,100}", r"https://[^\s]{1,400}", r"open_clip:[\w./-]{1,100}"
        return any(re.fullmatch(pattern, value, re.ASCII) for pattern in patterns)

    def __str__(self) -> str:
        return "that is drive:ID, https://… or open_clip:MODEL/TAG"


@dataclass(frozen=True)
class Sha256:
    """Marks a SHA-256 in hexadecimal."""

    def accepts(self, value: str) -> bool:
        """Tell whether `value` is one."""
        return re.fullmatch(r"[0-9a-f]{64}", value) is not None

    def __str__(self) -> str:
        return "of 64 hexadecimal digits"


@dataclass(frozen=True)
class Result:
    """What a model is worth, as it was published.

    Attributes:
        dataset: The benchmark.
        uar: Mean of the recalls over the classes, in per cent.
        war: Accuracy, in per cent.
        protocol: Which test clips, and what the checkpoint was selected on.
    """

    dataset: str
    uar: Rate
    war: Rate
    protocol: str

    def __str__(self) -> str:
        names = {"dfew": "DFEW", "ferv39k": "FERV39k", "mafw": "MAFW"}
        name = names.get(self.dataset, self.dataset)
        return f"UAR {self.uar:.2f} %, WAR {self.war:.2f} % on {name} ({self.protocol})"


@dataclass(frozen=True)
class NamedModel:
    """One model that can be fetched by name.

    Attributes:
        name: As `--model` takes it.
        kind: `dfer-clip`: a published .pth of DFER-CLIP; `exp-clip`: a matrix on CLIP, zero-shot;
            `clip`: CLIP itself, zero-shot.
        classes: `seven` or `eleven`; `any` for a zero-shot model.
        place: Where its file lies.
        page: What to open by hand where the file cannot be fetched.
        results: Published numbers; the first one is the one to quote.
        selected_on: How the checkpoint was chosen, as text.
        licence_code: Terms of the code that made it.
        licence_weights: Terms of the weights.
        licence_data: Whose data it was trained on, and their terms.
        research_only: Whether one of these allows only research.
        citation: What to cite.
        most_bytes: Upper bound of its size; a download stops there.
        clip: The CLIP of a zero-shot model, MODEL/TAG.
        clip_hub: The repository on the hub that its weights come from.
        templates: The zero-shot templates that the published numbers were measured with.
        trained_on: The benchmark it was trained on.
        fold: The fold of it whose training list was used.
        size_bytes: Size of the file, where it is published.
        sha256: Check sum of the file, where it is published.
        about_mb: About how many megabytes it has, CLIP's weights left out, where that is known.
    """

    name: Annotated[str, PlainName()]
    kind: Literal["dfer-clip", "exp-clip", "clip"]
    classes: Literal["seven", "eleven", "any"]
    place: Annotated[str, Place()]
    page: str
    results: tuple[Result, ...]
    selected_on: str
    licence_code: str
    licence_weights: str
    licence_data: str
    research_only: bool
    citation: str
    most_bytes: Annotated[int, Range(1)]
    clip: str | None = None
    clip_hub: str | None = None
    templates: str | None = None
    trained_on: str | None = None
    fold: Annotated[int, Range(1)] | None = None
    size_bytes: Annotated[int, Range(1)] | None = None
    sha256: Annotated[str, Sha256()] | None = None
    about_mb: Annotated[int, Range(1)] | None = None

    @property
    def is_zero_shot(self) -> bool:
        """Whether it takes any classes, by their texts."""
        return self.kind != "dfer-clip"

    @property
    def label_set(self) -> tuple[str, ...] | None:
        """Its classes; None where it takes any."""
        return {"seven": SEVEN, "eleven": ELEVEN}.get(self.classes)

    @property
    def drive_id(self) -> str | None:
        """The file's ID on Google Drive, where it lies there."""
        scheme, _, rest = self.place.partition(":")
        return rest if scheme == DRIVE else None

    @property
    def hand_page(self) -> str:
        """The page to open in a browser where the file cannot be fetched."""
        drive = self.drive_id
        return self.page if drive is None else f"https://drive.google.com/file/d/{drive}/view"


def read_registry(path: Path) -> tuple[NamedModel, ...]:
    """Read a table of models.

    Raises:
        ArtifactError: it cannot be read, or an entry is wrong; it is named.
    """
    try:
        table = parse_toml(read_document(path))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read {path}: {error}") from error
    families = typed(dict[str, dict[str, Any]], table.get("family", {}), str(path), field="family")
    entries = typed(list[dict[str, Any]], table.get("model", []), str(path), field="model")
    models: list[NamedModel] = []
    for entry in entries:
        where = f"{path}: model {str(entry.get('name', len(models) + 1))[:60]}"
        model: NamedModel = typed(NamedModel, _with_family(entry, families, where), where)
        if any(model.name == other.name for other in models):
            raise ArtifactError(f"{where}: the name appears twice")
        of_clip = (model.clip, model.clip_hub, model.templates)
        if any((entry is not None) != model.is_zero_shot for entry in of_clip):
            raise ArtifactError(
                f"{where}: clip, clip_hub and templates go with a zero-shot model, with no other"
            )
        models.append(model)
    return tuple(models)


def _with_family(
    entry: dict[str, Any], families: dict[str, dict[str, Any]], where: str
) -> dict[str, Any]:
    """The entry, over what its family says, over what the family of that says, and so on."""
    found = dict(entry)
    seen: set[Any] = set()
    while "family" in found:
        name = found.pop("family")
        if not isinstance(name, str) or name not in families or name in seen:
            raise ArtifactError(f"{where}: family: no such family, or one of itself: {name!r}")
        seen.add(name)
        found = {**families[name], **found}
    return found


@cache
def named_models() -> tuple[NamedModel, ...]:
    """All models that come with dfer by name, the preferred first."""
    return read_registry(TABLE)


def named_model(name: str) -> NamedModel | None:
    """The model of that name, or None."""
    return next((model for model in named_models() if model.name == name), None)


def expand(name: str) -> tuple[str, ...]:
    """The names that a name stands for: `dfer-clip-dfew` is its five folds, any other itself."""
    folds = [
        model.name
        for model in named_models()
        if model.fold is not None and model.name == f"{name}-{model.fold}"
    ]
    return tuple(folds) if len(folds) > 1 else (name,)


def similar_names(name: str) -> list[str]:
    """Names of models that look like `name`, the nearest first."""
    return difflib.get_close_matches(name, [model.name for model in named_models()], cutoff=0.5)
