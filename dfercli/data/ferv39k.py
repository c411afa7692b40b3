"""FERV39k: seven classes, one split; a clip is named by its whole path below the frames."""

from pathlib import Path

from dfercli.data.clips import Clip, Fold
from dfercli.data.layout import (
    first_existing,
    frames_folder,
    index_clips,
    name_below,
    numbered_lines,
)
from dfercli.errors import DataError
from dfercli.labels import SEVEN, canonical_label
from dfercli.names import RelativeName

LABEL_SET = SEVEN
NESTED = ("FERV39k", "FERV39K")
FRAMES = ("2_ClipsforFaceCrop", "3_ClipsforScenImages")


def read_ferv39k(root: Path, frames: str | None = None) -> Fold:
    """Read the one split of FERV39k.

    Args:
        root: The folder of the copy.
        frames: The folder of clips relative to `root`; by default the first known one.

    Raises:
        DataError: lists or frames are missing, or a row is broken (named).
    """
    train, test = (_read_rows(_list_path(root, part)) for part in ("train", "test"))
    folder = frames_folder("FERV39k", root, FRAMES, chosen=frames, nested=NESTED)
    index = index_clips(folder, depth=3)

    def clips(rows: list[tuple[str, str]]) -> tuple[Clip, ...]:
        return tuple(
            Clip(clip_id=key, location=index.get(key, folder / key), label=label)
            for key, label in rows
        )

    return Fold(
        dataset="ferv39k",
        fold=1,
        label_set=LABEL_SET,
        train=clips(train),
        test=clips(test),
        official=True,
        frame_source=name_below(folder, root),
    )


def _list_path(root: Path, part: str) -> Path:
    name = f"4_setups/All_scenes/{part}_All.csv"
    path = first_existing(root, (name,), NESTED)
    if path is None:
        raise DataError(f"FERV39k: no {part} list in {root} (looked for {name})")
    return path


def _read_rows(path: Path) -> list[tuple[str, str]]:
    """(key, label) of each row `Action/Sad/0010 Sad`; there is no header to skip."""
    rows = []
    for number, line in numbered_lines(path):
        key, _, word = line.rpartition(" ")
        label = canonical_label(word)
        if not RelativeName().accepts(key.strip()) or label not in LABEL_SET:
            raise DataError(
                f"{path}, line {number}: expected a row such as 'Action/Sad/0010 Sad', "
                f"got {line[:60]!r}"
            )
        rows.append((key.strip(), label))
    return rows
