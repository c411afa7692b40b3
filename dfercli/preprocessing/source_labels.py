"""Labels and subjects of sources: from a CSV, or from the name of the parent folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dfercli.artifacts.tables import user_csv
from dfercli.errors import ConfigError, DataError
from dfercli.labels import ELEVEN, SEVEN, canonical_label
from dfercli.path_ends import PathEnds
from dfercli.video.sources import Source

KNOWN_COLUMNS = ("source", "label", "subject")


@dataclass(frozen=True)
class Labelling:
    """The label of a source.

    Attributes:
        label: Class name, where known.
        subject: Who is seen, where known.
        groups: What else is known, such as the sex of who is seen.
        soft_label: Share of each class, where no single one is the label.
    """

    label: str | None = None
    subject: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    soft_label: Mapping[str, float] = field(default_factory=dict)


def read_classes(words: tuple[str, ...]) -> tuple[str, ...]:
    """The label set that `--classes` means: `7`, `11`, or at least two names.

    Raises:
        ConfigError: one name, or a name twice.
    """
    if words == ("7",):
        return SEVEN
    if words == ("11",):
        return ELEVEN
    names = tuple(word.strip() for word in words)
    if len(names) == 1 or len(set(names)) < len(names) or "" in names:
        raise ConfigError(f"--classes takes 7, 11 or different names, got {','.join(words)}")
    return names


def label_sources(
    sources: list[Source], table: Path | None, classes: tuple[str, ...]
) -> dict[Path, Labelling]:
    """Label every source.

    Args:
        sources: What to label.
        table: CSV with the columns `source`, `label` and, if wanted, `subject`; further columns
            are groups, such as `sex`. A source is matched by its path, or by the end of its path.
        classes: The label set; empty to derive it.

    Raises:
        DataError: the table is broken, or a label is not in the label set; the row is named.
    """
    if table is not None:
        return _from_table(sources, table, classes)
    return {source.path: Labelling(_from_folder(source, classes)) for source in sources}


def _from_folder(source: Source, classes: tuple[str, ...]) -> str | None:
    return _in_set(source.folder, classes) if classes else canonical_label(source.folder)


def _in_set(word: str, classes: tuple[str, ...]) -> str | None:
    """The name in `classes` that `word` means, else None."""
    if word.strip() in classes:
        return word.strip()
    name = canonical_label(word)
    return name if name in classes else None


def _from_table(
    sources: list[Source], table: Path, classes: tuple[str, ...]
) -> dict[Path, Labelling]:
    rows = _read_table(table)
    own_names = not classes and all(
        canonical_label(label) is None for _, label, _, _ in rows.values()
    )
    labelling: dict[Path, Labelling] = {}
    ends = PathEnds(str(source.path) for source in sources)
    for number, (name, label, subject, groups) in rows.items():
        meant = label.strip() if own_names else _in_set(label, classes or ELEVEN)
        if meant is None:
            expected = ", ".join(classes or ELEVEN)
            raise DataError(
                f"{table}, row {number}: unknown label {label!r}, expected one of {expected}",
                hint="give your own label set with --classes",
            )
        path = ends.one(name.strip(), f"{table}, row {number}", "sources")
        if path is not None:
            labelling[Path(path)] = Labelling(meant, subject.strip() or None, groups)
    if not labelling:
        raise DataError(f"{table}: no row fits any source; the first source is {sources[0].path}")
    return {source.path: labelling.get(source.path, Labelling()) for source in sources}


def _read_table(table: Path) -> dict[int, tuple[str, str, str, dict[str, str]]]:
    """Rows by their line number in the file: source, label, subject, groups."""
    with user_csv(table) as reader:
        columns = reader.fieldnames or []
        if "source" not in columns or "label" not in columns:
            got = ",".join(columns)[:200]
            raise DataError(
                f"{table}: expected the columns source,label[,subject], got {got or 'nothing'}"
            )
        further = [name for name in columns if name and name not in KNOWN_COLUMNS]
        rows = {}
        for row in reader:
            if not row["source"] or not row["label"]:
                raise DataError(f"{table}, row {reader.line_num}: source or label is empty")
            groups = {name: row[name] for name in further if row[name]}
            rows[reader.line_num] = (row["source"], row["label"], row.get("subject") or "", groups)
    if not rows:
        raise DataError(f"{table}: no rows")
    return rows
