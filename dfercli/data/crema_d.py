"""CREMA-D (Cao et al., IEEE Trans. Affective Computing 2014): 91 actors, 7,442 clips.

`1001_IEO_HAP_LO.flv` is actor, sentence, acted emotion and level. What raters saw in the face alone
is in `processedResults/summaryTable.csv` (`FaceVote`; ties joined by `:`), the actors' age, sex and
race in `VideoDemographics.csv`. Folds are by actor in order, five of 18 (the last of 19), and four
clips are left out, as in HiCMAE (Sun et al., Information Fusion 2024).
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from dfercli.data.layout import first_existing, read_list_text
from dfercli.data.raw_sets import Choice, Labels, RawSet, Take
from dfercli.errors import ConfigError, DataError
from dfercli.labels import SEVEN

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
VOTES = {word[0]: name for word, name in EMOTIONS.items()}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
SENTENCE_OF_LEVELS = "IEO"  # spoken at three levels
FIRST_ACTOR, LAST_ACTOR = 1001, 1091
ACTORS_PER_FOLD, NUM_FOLDS = 18, 5
LEFT_OUT = ("1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX")
NEVER_RECORDED = (
    *("1002_TIE_NEU", "1076_ITS_NEU"),
    *(f"1008_WSI_{emotion}" for emotion in EMOTIONS),
    *(f"1009_MTI_{emotion}" for emotion in EMOTIONS),
    *(f"1019_ITH_{emotion}" for emotion in EMOTIONS),
)
NAME = re.compile(r"(1\d{3})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX)")
TABLE = "processedResults/summaryTable.csv"
DEMOGRAPHICS = "VideoDemographics.csv"
CLASSES = tuple(name for name in SEVEN if name in EMOTIONS.values())


def read_name(stem: str) -> Take | None:
    """The take of a file's stem; None where it does not name a clip of CREMA-D."""
    match = NAME.fullmatch(stem)
    if match is None or match[2] not in SENTENCES or match[3] not in EMOTIONS:
        return None
    if not FIRST_ACTOR <= int(match[1]) <= LAST_ACTOR:
        return None
    return Take(
        key=stem,
        subject=match[1],
        emotion=EMOTIONS[match[3]],
        groups={"level": LEVELS[match[4]]},
        left_out="clips that are usually left out" if stem in LEFT_OUT else None,
    )


def expected() -> list[Take]:
    """All 7,442 clips, the four that are left out among them."""
    takes = []
    actors = range(FIRST_ACTOR, LAST_ACTOR + 1)
    for actor, sentence, emotion in product(actors, SENTENCES, EMOTIONS):
        stem = f"{actor}_{sentence}_{emotion}"
        if stem in NEVER_RECORDED:
            continue
        has_levels = sentence == SENTENCE_OF_LEVELS and emotion != "NEU"
        for level in ("LO", "MD", "HI") if has_levels else ("XX",):
            take = read_name(f"{stem}_{level}")
            assert take is not None
            takes.append(take)
    return takes


def label(takes: Sequence[Take], root: Path, choice: Choice) -> Labels:
    """Label takes by the acted emotion, or by the one that raters saw in the face alone.

    A tie between raters' votes has no label. It is left out, or trained on with equal shares.

    Args:
        takes: The takes.
        root: The copy, which holds the tables.
        choice: `acted` (the default) or `face-votes`.

    Raises:
        ConfigError: other labels, a choice about calm, which CREMA-D does not have, or soft ties
            without votes.
        DataError: a table that is needed is missing or broken; the row is named.
    """
    if choice.source not in (None, *CREMA_D.sources):
        raise ConfigError(
            f"--labels of crema-d takes {' or '.join(CREMA_D.sources)}, got {choice.source}"
        )
    if choice.calm != "drop":
        raise ConfigError("crema-d has no calm: --calm is for ravdess")
    if choice.ties == "soft" and choice.source != "face-votes":
        raise ConfigError("--ties soft needs votes: add --labels face-votes")
    by_key: dict[str, str | None] = {take.key: take.emotion for take in takes}
    soft: dict[str, dict[str, float]] = {}
    how = "acted emotions"
    if choice.source == "face-votes":
        votes = read_face_votes(root)
        unrated = [take.key for take in takes if take.key not in votes]
        if unrated:
            raise DataError(
                f"{root / TABLE}: no row of {unrated[0]} ({len(unrated)} clips have none)"
            )
        by_key = {take.key: _winner(votes[take.key]) for take in takes}
        ties = [take.key for take in takes if by_key[take.key] is None]
        fate = "left out"
        if choice.ties == "soft":
            soft = {key: dict.fromkeys(votes[key], 1 / len(votes[key])) for key in ties}
            fate = "trained on with equal shares, not tested on"
        how = f"votes of raters who saw the face alone, {len(ties)} ties {fate}"
    people = read_demographics(root)
    groups = {take.key: {**take.groups, **people.get(take.subject, {})} for take in takes}
    return Labels(CLASSES, by_key, groups, how, soft)


def read_face_votes(root: Path) -> dict[str, tuple[str, ...]]:
    """Read which classes most raters saw in the face alone: clip -> one class, or several in a tie.

    Raises:
        DataError: no table, or a broken one; the row is named.
    """
    path = first_existing(root, (TABLE, Path(TABLE).name))
    if path is None:
        raise DataError(
            f"no {TABLE} in {root}, which holds the votes",
            hint="it is part of the clone of CREMA-D; --labels acted needs no table",
        )
    votes = {}
    for where, row in _rows(path, ("FileName", "FaceVote")):
        words = row["FaceVote"].split(":")
        if not all(word in VOTES for word in words):
            raise DataError(f"{where}: FaceVote {row['FaceVote']!r}, expected {' '.join(VOTES)}")
        votes[row["FileName"]] = tuple(VOTES[word] for word in words)
    return votes


def read_demographics(root: Path) -> dict[str, dict[str, str]]:
    """Read sex, age band and race of each actor; none where the copy has no such table.

    Raises:
        DataError: a broken table; the row is named.
    """
    path = first_existing(root, (DEMOGRAPHICS,))
    if path is None:
        return {}
    people = {}
    for where, row in _rows(path, ("ActorID", "Age", "Sex", "Race")):
        if not row["Age"].isdecimal():
            raise DataError(f"{where}: Age {row['Age']!r}, expected a whole number")
        people[row["ActorID"]] = {
            "sex": row["Sex"].lower(),
            "age": _age_band(int(row["Age"])),
            "race": row["Race"].lower(),
        }
    return people


def _winner(votes: tuple[str, ...]) -> str | None:
    return votes[0] if len(votes) == 1 else None


def _age_band(age: int) -> str:
    if age < 30:
        return "under 30"
    return "30 to 49" if age < 50 else "50 and over"


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The rows of a table with their place, each with a text in all `columns`."""
    reader = csv.DictReader(io.StringIO(read_list_text(path), newline=""))
    try:
        for row in reader:
            where = f"{path}, row {reader.line_num}"
            missing = [name for name in columns if not row.get(name)]
            if missing:
                raise DataError(f"{where}: no {missing[0]}, expected {', '.join(columns)}")
            yield where, row
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _folds() -> Iterator[tuple[str, ...]]:
    actors = [str(actor) for actor in range(FIRST_ACTOR, LAST_ACTOR + 1)]
    for number in range(NUM_FOLDS):
        last = len(actors) if number == NUM_FOLDS - 1 else (number + 1) * ACTORS_PER_FOLD
        yield tuple(actors[number * ACTORS_PER_FOLD : last])


CREMA_D = RawSet(
    name="crema-d",
    title="CREMA-D",
    licence="Open Database License 1.0",
    suffixes=(".flv", ".mp4", ".avi"),
    folds=tuple(_folds()),
    read_name=read_name,
    expected=expected,
    label=label,
    sources=("acted", "face-votes"),
    tables=(TABLE, DEMOGRAPHICS),
    repository="https://github.com/CheyneyComputerScience/CREMA-D.git",
)
