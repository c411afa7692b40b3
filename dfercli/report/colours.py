"""One colour per class, the same in videos and pages, told apart in light and dark."""

from collections.abc import Sequence

CLASS_COLOURS = {
    "happiness": "#e0a100",
    "sadness": "#3b78c4",
    "neutral": "#8a929c",
    "anger": "#d0392b",
    "surprise": "#d95fa8",
    "disgust": "#5f9e36",
    "fear": "#7a52c7",
    "contempt": "#a56a43",
    "anxiety": "#1f9e9a",
    "helplessness": "#64748b",
    "disappointment": "#b58bd8",
}
OTHER_COLOURS = tuple(colour for name, colour in CLASS_COLOURS.items() if name != "neutral")


def class_colours(label_set: Sequence[str]) -> list[str]:
    """The colours of classes as `#rrggbb`; classes without their own colour take turns."""
    taken = {CLASS_COLOURS[name] for name in label_set if name in CLASS_COLOURS}
    free = [colour for colour in OTHER_COLOURS if colour not in taken] or list(OTHER_COLOURS)
    colours, turn = [], 0
    for name in label_set:
        if name not in CLASS_COLOURS:
            colours.append(free[turn % len(free)])
            turn += 1
        else:
            colours.append(CLASS_COLOURS[name])
    return colours
