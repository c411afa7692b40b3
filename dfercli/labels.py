"""Class names: the canonical label sets and the words that data sets use for them.

Labels are names everywhere; an index means something only with the ordered label set it came
with. Three index orders of the same classes are in use in the field.
"""

SEVEN = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
ELEVEN = (*SEVEN, "contempt", "anxiety", "helplessness", "disappointment")

ALIASES = {
    "angry": "anger",
    "anxious": "anxiety",
    "contemptuous": "contempt",
    "disappointed": "disappointment",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "helpless": "helplessness",
    "neutrality": "neutral",
    "sad": "sadness",
    "surprised": "surprise",
}


def canonical_label(word: str) -> str | None:
    """Return the canonical name for a data set's word (`Happy` -> `happiness`), else None."""
    name = word.strip().lower()
    name = ALIASES.get(name, name)
    return name if name in ELEVEN else None


def label_set_for(names: set[str]) -> tuple[str, ...] | None:
    """Return the smallest canonical label set that holds all `names`, in canonical order.

    Returns:
        `SEVEN`, `ELEVEN`, or None when a name belongs to neither.
    """
    for label_set in (SEVEN, ELEVEN):
        if names <= set(label_set):
            return label_set
    return None
