"""The lanes below a live picture: the expressions of each face in the last half minute."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.report.colours import class_colours
from dfercli.report.drawn_text import drawn_text
from dfercli.report.face_panel import FONT

SHOWN_SECONDS = 30.0
MOST_LANES = 4
PAPER, UNSEEN, INK = (28, 23, 20), (60, 52, 46), (235, 235, 235)  # BGR
LEAST_LETTER_PX = 9


@dataclass(frozen=True)
class _Part:
    """A stretch of a lane."""

    start_seconds: float
    end_seconds: float
    probabilities: NDArray[np.float64]


class LiveLanes:
    """Keeps and draws the last half minute.

    Args:
        label_set: The K class names.
    """

    def __init__(self, label_set: Sequence[str]) -> None:
        self._labels = list(map(drawn_text, label_set))
        self._colours = [
            tuple(int(colour[at : at + 2], 16) for at in (5, 3, 1))
            for colour in class_colours(label_set)
        ]
        self._parts: dict[int, deque[_Part]] = {}

    def add(
        self,
        track: int,
        start_seconds: float,
        end_seconds: float,
        probabilities: NDArray[np.float64],
    ) -> None:
        """Add the expression of a face in a stretch of time; stretches of a face come in order.

        Args:
            track: The face.
            start_seconds: Where the stretch begins.
            end_seconds: Where it ends.
            probabilities: (K,).
        """
        parts = self._parts.setdefault(track, deque())
        if parts:  # windows overlap: the newest counts from where the last one ended
            start_seconds = max(start_seconds, parts[-1].end_seconds)
        parts.append(_Part(start_seconds, end_seconds, probabilities))

    def shown(self, seconds: float) -> list[int]:
        """The faces of the last half minute, the latest seen first."""
        for track, parts in list(self._parts.items()):
            while parts and parts[0].end_seconds < seconds - SHOWN_SECONDS:
                parts.popleft()
            if not parts:
                del self._parts[track]
        return sorted(self._parts, key=lambda track: -self._parts[track][-1].end_seconds)

    def draw(self, image: NDArray[np.uint8], seconds: float, told: str) -> NDArray[np.uint8]:
        """The picture with its lanes below.

        Args:
            image: (H, W, 3) uint8 RGB.
            seconds: The current time.
            told: A line above the lanes.

        Returns:
            (H + h, W, 3) uint8 RGB; h depends only on the size of the picture.
        """
        height, width = image.shape[:2]
        letter = max(LEAST_LETTER_PX, min(height, width) // 40)
        row = 3 * letter
        panel = np.full((round(2.4 * letter) + MOST_LANES * row, width, 3), PAPER, np.uint8)
        self._write(panel, told, letter // 2, round(1.6 * letter), letter)
        self._legend(panel, width, letter)
        head = 4 * letter
        for number, track in enumerate(sorted(self.shown(seconds)[:MOST_LANES])):
            top = round(2.4 * letter) + number * row
            lane = panel[top : top + row - letter // 2, head : width - letter // 2]
            lane[:] = UNSEEN
            self._lane(lane, track, seconds)
            self._write(panel, f"#{track}", letter // 2, top + 2 * letter, letter)
        return np.concatenate([image, np.asarray(cv2.cvtColor(panel, cv2.COLOR_BGR2RGB), np.uint8)])

    def _lane(self, lane: NDArray[np.uint8], track: int, seconds: float) -> None:
        height, width = lane.shape[:2]
        scale = width / SHOWN_SECONDS
        for part in self._parts[track]:
            left = max(0, round((part.start_seconds - seconds + SHOWN_SECONDS) * scale))
            right = round((part.end_seconds - seconds + SHOWN_SECONDS) * scale)
            edges = height - np.rint(np.cumsum([0.0, *part.probabilities]) * height).astype(int)
            for colour, bottom, top in zip(self._colours, edges[:-1], edges[1:], strict=True):
                lane[max(0, top) : bottom, left:right] = colour

    def _legend(self, panel: NDArray[np.uint8], width: int, letter: int) -> None:
        """The names of the classes in their colours, from the right, as many as there is room."""
        at = width - letter // 2
        for label, colour in zip(reversed(self._labels), reversed(self._colours), strict=True):
            (wide, _), _ = cv2.getTextSize(label, FONT, letter / 24, 1)
            at -= wide + 2 * letter
            if at < width * 0.3:
                return
            panel[letter : 2 * letter - letter // 3, at : at + letter // 2 + 2] = colour
            cv2.putText(
                panel,
                label,
                (at + letter, round(1.6 * letter)),
                FONT,
                letter / 24,
                INK,
                1,
                cv2.LINE_AA,
            )

    def _write(self, panel: NDArray[np.uint8], text: str, x: int, y: int, letter: int) -> None:
        stroke = max(1, letter // 10)
        cv2.putText(panel, text, (x, y), FONT, letter / 22, INK, stroke, cv2.LINE_AA)
