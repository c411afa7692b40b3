"""RAVDESS (Livingstone and Russo, PLoS ONE 2018): 24 actors, each 60 spoken takes.

`02-01-06-01-02-01-12.mp4` is modality (01 with sound, 02 without, 03 sound alone), channel (01
speech, 02 song), emotion, intensity, statement, repetition and actor. Odd actors are men. The files
of modality 01 and 02 show the same take. Folds are by actor: six of four, two men and two women
each.
"""

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from dfercli.data.raw_sets import Choice, Labels, RawSet, Take, ZenodoRecord
from dfercli.errors import ConfigError
from dfercli.labels import SEVEN

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
INTENSITIES = {"01": "normal", "02": "strong"}
NUM_ACTORS = 24
ACTORS_PER_FOLD = 4
NAME = re.compile(r"(0[12])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")


def read_name(stem: str) -> Take | None:
    """The take of a file's stem; None where it does not name a video of RAVDESS."""
    match = NAME.fullmatch(stem)
    if match is None or not 1 <= int(match[7]) <= NUM_ACTORS:
        return None
    modality, channel, emotion, intensity, *_, actor = match.groups()
    return Take(
        key=stem[3:],
        subject=_subject(int(actor)),
        emotion=EMOTIONS[emotion],
        groups={
            "sex": "male" if int(actor) % 2 else "female",
            "intensity": INTENSITIES[intensity],
        },
        rank=int(modality),
        left_out="songs" if channel == "02" else None,
    )


def expected() -> list[Take]:
    """All 1,440 spoken takes; neutral has no strong intensity."""
    takes = []
    twice = ("01", "02")
    for actor, emotion in product(range(1, NUM_ACTORS + 1), EMOTIONS):
        intensities = twice if emotion != "01" else ("01",)
        for intensity, statement, repetition in product(intensities, twice, twice):
            take = read_name(f"01-01-{emotion}-{intensity}-{statement}-{repetition}-{actor:02d}")
            assert take is not None
            takes.append(take)
    return takes


def label(takes: Sequence[Take], root: Path, choice: Choice) -> Labels:
    """Label takes by the acted emotion; `calm`, which is not one of the seven, by the choice.

    Raises:
        ConfigError: labels that RAVDESS does not have, or a choice about ties of votes.
    """
    if choice.ties != "drop":
        raise ConfigError("ravdess has no votes: --ties is for crema-d")
    if choice.source not in (None, "acted"):
        raise ConfigError(f"ravdess has acted labels only, got --labels {choice.source}")
    calm = {"drop": None, "own": "calm", "neutral": "neutral"}[choice.calm]
    how = {"drop": "calm left out", "own": "calm a class of its own", "neutral": "calm as neutral"}
    return Labels(
        label_set=(*SEVEN, "calm") if choice.calm == "own" else SEVEN,
        by_key={t.key: calm if t.emotion == "calm" else t.emotion for t in takes},
        groups={take.key: take.groups for take in takes},
        how=f"acted emotions, {how[choice.calm]}",
    )


def _subject(actor: int) -> str:
    return f"actor-{actor:02d}"


def _archive(subject: str) -> str:
    """The archive with the spoken takes of an actor, about 0.55 GB."""
    return f"Video_Speech_Actor_{subject.removeprefix('actor-')}.zip"


RAVDESS = RawSet(
    name="ravdess",
    title="RAVDESS",
    licence="CC BY-NC-SA 4.0: not for commercial use",
    suffixes=(".mp4",),
    folds=tuple(
        tuple(_subject(actor) for actor in range(first, first + ACTORS_PER_FOLD))
        for first in range(1, NUM_ACTORS + 1, ACTORS_PER_FOLD)
    ),
    read_name=read_name,
    expected=expected,
    label=label,
    zenodo=ZenodoRecord("1188976", _archive),
)
