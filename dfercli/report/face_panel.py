"""The panel next to a face in a video: its name and bars of its three strongest classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.report.drawn_text import drawn_text

FONT = cv2.FONT_HERSHEY_SIMPLEX
CAPITAL_PX = 22  # height of a capital letter of this font at scale 1
LEAST_LETTER_PX = 9  # smaller ones cannot be read
LETTERS_PER_SIDE = 44  # letters that would fill the shorter side, stacked
SHOWN_CLASSES = 3
MANY_FACES = 4  # with more, panels have one line, as they would cover the faces
MOST_NAME = 24
FAR_LETTERS = 3  # a panel further from its face than this many letters gets a line to it
BACKDROP = np.array((24.0, 24.0, 24.0))
BACKDROP_SHARE = 0.72
INK = (255, 255, 255)

Place = tuple[int, int, int, int]  # left, top, right, bottom, in pixels


@dataclass(frozen=True)
class PanelText:
    """The content of a panel.

    Attributes:
        track: Of the face.
        name: Of the face.
        doubt: Whether the strongest class is uncertain.
        rows: (class name, probability, BGR colour) of the strongest classes, strongest first.
    """

    track: int
    name: str
    doubt: bool
    rows: Sequence[tuple[str, float, tuple[int, int, int]]]


@dataclass
class FacePanels:
    """Draws panels into the frames of one video; each stays on its side if it can.

    Args:
        size_wh_px: Width and height of the frames.
        floor_px: Panels end above this height, where the timelines begin.
    """

    size_wh_px: tuple[int, int]
    floor_px: int
    _sides: dict[int, int] = field(default_factory=dict)

    @property
    def letter_px(self) -> int:
        """The height of a capital letter: a share of the frame, to be readable at any size."""
        return max(LEAST_LETTER_PX, round(min(self.size_wh_px) / LETTERS_PER_SIDE))

    def draw(
        self, scene: NDArray[np.uint8], boxes: NDArray[np.float64], texts: Sequence[PanelText]
    ) -> None:
        """Draw a panel for each face.

        Args:
            scene: (H, W, 3) uint8 BGR, changed in place.
            boxes: (n, 4) in pixels.
            texts: The content for each box.
        """
        is_short = len(texts) > MANY_FACES
        letter = self.letter_px if not is_short else max(LEAST_LETTER_PX, self.letter_px * 3 // 4)
        taken: list[Place] = []
        faces = [_whole(box) for box in boxes]
        for face, text in zip(faces, texts, strict=True):
            lines = _lines(text, is_short)
            width = max(_text_width(line, letter) for line in lines) + letter
            height = round(1.7 * letter * len(lines) + 0.8 * letter)
            if not is_short:
                width += 4 * letter
            place = self._place(text.track, (width, height), face, faces, taken)
            taken.append(place)
            _draw_leader(scene, place, face, text, letter)
            _draw_panel(scene, place, text, lines, letter)

    def _place(
        self,
        track: int,
        size: tuple[int, int],
        face: Place,
        faces: Sequence[Place],
        taken: Sequence[Place],
    ) -> Place:
        """The place where a panel covers least of faces, its own first, and of other panels."""
        corners = _corners(face, size, self.size_wh_px)
        options = [self._inside(corner, size) for corner, _ in corners]
        costs = [
            4 * _shared(option, face)
            + 2 * sum(_shared(option, other) for other in faces if other != face)
            + sum(_shared(option, other) for other in taken)
            + distance * size[0] * size[1]
            for option, (_, distance) in zip(options, corners, strict=True)
        ]
        best = int(np.argmin(costs))
        before = self._sides.get(track, best)
        if costs[before] <= costs[best] + 0.05 * size[0] * size[1]:
            best = before  # to avoid jumping
        self._sides[track] = best
        return options[best]

    def _inside(self, corner: tuple[int, int], size: tuple[int, int]) -> Place:
        left = max(0, min(corner[0], self.size_wh_px[0] - size[0]))
        top = max(0, min(corner[1], self.floor_px - size[1]))
        return left, top, left + size[0], top + size[1]


def _whole(box: NDArray[np.float64]) -> Place:
    left, top, right, bottom = np.rint(box).astype(int).tolist()
    return left, top, right, bottom


def _corners(
    face: Place, size: tuple[int, int], frame: tuple[int, int]
) -> list[tuple[tuple[int, int], float]]:
    """Upper left corners to try, each with a cost for its distance.

    Next to the face, above and below it, one row further, and last in the corners of the frame.
    """
    left, top, right, bottom = face
    width, height = size
    gap = max(3, (right - left) // 20)
    above, below = top - gap - height, bottom + gap
    near = [(right + gap, top), (left - gap - width, top)]
    near += [(x, y) for y in (above, below) for x in (left, right - width)]
    further = [(x, y) for y in (above - height, below + height) for x in (left, right - width)]
    last = [(0, 0), (frame[0], 0), (0, frame[1]), frame]
    return [
        *((corner, 0.0) for corner in near),
        *((corner, 0.1) for corner in further),
        *((corner, 0.5) for corner in last),
    ]


def _shared(one: Place, other: Place) -> int:
    """The area that two places share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)


def _lines(text: PanelText, is_short: bool) -> list[str]:
    """The name, and a line for each class; a short panel has one line for both."""
    mark = "?" if text.doubt else ""
    name = drawn_text(text.name, MOST_NAME)
    if is_short:
        label, sure, _ = text.rows[0]
        return [f"{name} {drawn_text(label, MOST_NAME)}{mark} {sure:.0%}"]
    lines = [f"{drawn_text(label, MOST_NAME)} {sure:.0%}" for label, sure, _ in text.rows]
    return [name, lines[0].replace(" ", f"{mark} ", 1) if mark else lines[0], *lines[1:]]


def _scale(letter: int) -> float:
    return letter / CAPITAL_PX


def _stroke(letter: int) -> int:
    return max(1, round(letter / 9))


def _text_width(text: str, letter: int) -> int:
    (width, _), _ = cv2.getTextSize(text, FONT, _scale(letter), _stroke(letter))
    return width


def _draw_panel(
    scene: NDArray[np.uint8], place: Place, text: PanelText, lines: Sequence[str], letter: int
) -> None:
    left, top, right, bottom = place
    area = scene[max(0, top) : bottom, max(0, left) : right]
    area[:] = (BACKDROP_SHARE * BACKDROP + (1 - BACKDROP_SHARE) * area).astype(np.uint8)
    at = left + letter // 2
    wide = right - left - letter
    bar = max(2, letter // 4)
    for number, line in enumerate(lines):
        base = top + round(letter * (1.4 + 1.7 * number))
        cv2.putText(
            scene, line, (at, base), FONT, _scale(letter), INK, _stroke(letter), cv2.LINE_AA
        )
        under = base + letter // 4
        if len(lines) == 1:
            _draw_parts(scene, (at, under), wide, bar, text)
        elif number > 0:
            _, sure, colour = text.rows[number - 1]
            scene[under : under + bar, at : at + max(1, round(sure * wide))] = colour


def _draw_leader(
    scene: NDArray[np.uint8], place: Place, face: Place, text: PanelText, letter: int
) -> None:
    """A line from a face to a panel that is not next to it, to show whose it is."""
    ends = []
    for low, high in ((0, 2), (1, 3)):  # x, then y
        if place[high] < face[low]:
            ends.append((face[low], place[high]))
        elif place[low] > face[high]:
            ends.append((face[high], place[low]))
        else:  # they overlap in this direction
            middle = (max(place[low], face[low]) + min(place[high], face[high])) // 2
            ends.append((middle, middle))
    (face_x, panel_x), (face_y, panel_y) = ends
    if np.hypot(panel_x - face_x, panel_y - face_y) > FAR_LETTERS * letter:
        _, _, colour = text.rows[0]
        thickness = _stroke(letter)
        cv2.line(scene, (face_x, face_y), (panel_x, panel_y), colour, thickness, cv2.LINE_AA)


def _draw_parts(
    scene: NDArray[np.uint8], corner: tuple[int, int], wide: int, bar: int, text: PanelText
) -> None:
    """Bars of the strongest classes, side by side."""
    at, under = corner
    for _, sure, colour in text.rows:
        end = at + round(sure * wide)
        scene[under : under + bar, at:end] = colour
        at = end


def strongest_rows(
    probabilities: NDArray[np.float64],
    names: Sequence[str],
    colours_bgr: Sequence[tuple[int, int, int]],
) -> list[tuple[str, float, tuple[int, int, int]]]:
    """(name, probability, colour) of the three strongest classes."""
    order = np.argsort(probabilities)[::-1][:SHOWN_CLASSES].tolist()
    return [(names[k], float(probabilities[k]), colours_bgr[k]) for k in order]
