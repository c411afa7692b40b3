"""Captions of windows by an LLM: two requests each, and none any more once the server fails."""

import os
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.attempts import Crash
from dfercli.config import DescribeConfig, PredictConfig
from dfercli.descriptions.captions import (
    FRAME_PX,
    CaptionPlan,
    caption_images,
    layout_images,
    sample_positions,
)
from dfercli.descriptions.estimate import estimate_tokens
from dfercli.descriptions.llm import open_llm
from dfercli.descriptions.llm_server import RequestLimitError
from dfercli.descriptions.tokens import token_counter
from dfercli.descriptions.workers import run_concurrently
from dfercli.labels import ELEVEN
from dfercli.progress import Progress

GIVEN_UP_AFTER = 3
"""Failures in a row after which no more is asked."""

Window = tuple[str, Sequence[NDArray[np.uint8]]]
"""The source, and the crops (H, W, 3) uint8 RGB that the model sees."""


class WindowCaptions:
    """Writes captions of windows, several at a time.

    Args:
        config: Names the LLM.
        label_set: Classes that a caption must not name.
        progress: Gets one note if there are no more captions.

    Raises:
        ConfigError: there is no key, and no server of one's own.
    """

    def __init__(self, config: PredictConfig, label_set: Sequence[str], progress: Progress) -> None:
        settings = DescribeConfig(model=config.model_for_captions)
        model = settings.model or settings.default_model
        labels = tuple(dict.fromkeys([*ELEVEN, *label_set]))
        self._plan = CaptionPlan(settings, model, settings.refine_model or model, labels)
        self._llm = open_llm(settings, os.environ, progress.note)
        self._count = token_counter()
        self._progress = progress
        self._failures = 0

    @property
    def model(self) -> str:
        """The LLM that sees the frames."""
        return self._plan.model

    def tell_cost(self, windows: int, of_what: str) -> None:
        """Estimate the cost of captions, before anything is sent."""
        config = self._plan.config
        prompts = self._plan.prompt(config.frames), self._plan.refine_prompt("(the first answer)")
        tokens = estimate_tokens(prompts[0], self._plan.image_sizes_px()) + estimate_tokens(
            prompts[1]
        )
        self._progress.note(
            f"captions by {self.model} at {self._llm.server.address}: about {2 * windows} requests "
            f"and {tokens * windows} tokens {of_what}"
        )

    def write(self, windows: Sequence[Window], on_bug: Callable[[Crash], None]) -> list[str | None]:
        """The caption of each window; None if there is none. `on_bug` takes bugs."""
        found: list[str | None] = [None] * len(windows)
        if self._failures >= GIVEN_UP_AFTER:
            return found
        outcomes = run_concurrently(
            lambda number: self._caption(*windows[number]),
            range(len(windows)),
            self._plan.config.concurrency,
            begin_no_more_after=RequestLimitError,
        )
        for number, outcome in outcomes:
            if isinstance(outcome, str):
                found[number] = outcome
                self._failures = 0
                continue
            if isinstance(outcome, Crash):
                on_bug(outcome)
            self._failures += 1
            if self._failures == GIVEN_UP_AFTER:
                self._tell(outcome.reason if isinstance(outcome, Crash) else outcome.message)
                break
        return found

    def _tell(self, reason: str) -> None:
        self._progress.note(f"no more captions, the other streams go on: {reason}")

    def _caption(self, source: str, crops: Sequence[NDArray[np.uint8]]) -> str:
        positions = sample_positions(len(crops), self._plan.config.frames)
        size = (FRAME_PX, FRAME_PX)
        frames = [
            np.asarray(
                cv2.resize(crops[place][..., ::-1], size, interpolation=cv2.INTER_AREA), np.uint8
            )
            for place in positions
        ]
        images = layout_images(frames, self._plan.config.images)
        names = [name for name in (source, os.path.basename(source)) if not name.isalpha()]
        found = caption_images(images, len(frames), names, self._plan, self._llm, self._count)
        return found.text
