"""Captions of clips: how a face changes, described neutrally from frames of the face store."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.captions import CaptionRow
from dfercli.artifacts.face_store import ClipRow, frame_paths
from dfercli.config import DescribeConfig
from dfercli.descriptions.answers import AnswerForm, bounded_text
from dfercli.descriptions.cache import Answer
from dfercli.descriptions.checks import text_problems, tidy
from dfercli.descriptions.class_writer import WORDS_PER_TOKEN
from dfercli.descriptions.leaks import LeakGuard, path_pattern, word_pattern
from dfercli.descriptions.llm import Llm
from dfercli.descriptions.prompt_files import read_template, render, sha256_of
from dfercli.descriptions.tokens import text_limit
from dfercli.documents import require_regular
from dfercli.errors import DataError, ServiceError

FRAME_PX = 224
SHEET_COLUMNS = 4
NAMED_A_FEELING = "it names a feeling or a mood; describe only positions and movements"


@dataclass(frozen=True)
class CaptionPlan:
    """Everything that shapes the captions of a store.

    Attributes:
        config: Frames, images, language, template.
        model: The LLM that sees the frames.
        refine_model: The LLM that shortens the text.
        label_set: Classes that a caption must not name.
    """

    config: DescribeConfig
    model: str
    refine_model: str
    label_set: tuple[str, ...]

    @property
    def limit(self) -> int:
        """CLIP tokens that a caption may take; it has no context tokens."""
        return text_limit(0)

    @cached_property
    def template(self) -> str:
        """The LLM prompt template that asks for a caption."""
        return read_template("caption.txt", self.config.prompt)

    @cached_property
    def words(self) -> re.Pattern[str]:
        """Matches words that name a class of the label set."""
        return word_pattern(self.label_set)

    @cached_property
    def settings(self) -> str:
        """SHA-256 of everything that shapes a caption, except the clip itself."""
        config = self.config
        return sha256_of(
            json.dumps(
                [
                    self.template,
                    read_template("caption_refine.txt"),
                    self.model,
                    self.refine_model,
                    [config.temperature, config.seed] if config.send_sampling else [],
                    [config.frames, config.images, config.language],
                    sorted(self.label_set),
                ]
            )
        )

    def image_sizes_px(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the images for a clip."""
        if self.config.images == "separate":
            return ((FRAME_PX, FRAME_PX),) * self.config.frames
        rows, columns = _grid(self.config.frames)
        return ((rows * FRAME_PX, columns * FRAME_PX),)

    def prompt(self, shown: int) -> str:
        """Render the prompt for a clip with `shown` frames.

        Raises:
            ConfigError: the user's template asks for an unknown variable.
        """
        if self.config.images == "sheet":
            layout = (
                f"The image is a contact sheet of {shown} frames of one face in a video, in order "
                "of time, from left to right and then from top to bottom."
            )
        else:
            layout = f"The {shown} images are frames of one face in a video, in order of time."
        where = str(self.config.prompt or "caption.txt")
        return render(
            self.template,
            where,
            layout=layout,
            frames=str(shown),
            language=self.config.language,
        )

    def refine_prompt(self, caption: str) -> str:
        """Render the prompt that asks for a shorter caption."""
        return render(
            read_template("caption_refine.txt"),
            "caption_refine.txt",
            caption=caption,
            language=self.config.language,
            max_words=str(int(self.limit * WORDS_PER_TOKEN)),
        )


def caption_clip(
    store: Path, row: ClipRow, plan: CaptionPlan, llm: Llm, count: Callable[[str], int]
) -> CaptionRow:
    """Write the caption of one clip: one request with its frames, one that shortens the text.

    An answer that names a class is requested again; words that still name one are masked. A caption
    that stays too long, or is not plain text, is refused.

    Raises:
        DataError: a frame is missing or broken.
        ServiceError: the LLM failed, or its caption was refused.
    """
    frames = sample_positions(row.num_frames, plan.config.frames)
    images = clip_images(frame_paths(store, row), frames, plan.config.images)
    found = caption_images(images, len(frames), _paths(row), plan, llm, count)
    return CaptionRow(
        clip_id=row.clip_id,
        caption=found.text,
        frames=frames,
        model=plan.model,
        refine_model=plan.refine_model,
        settings=plan.settings,
        masked=found.masked,
        answers=tuple(answer.key for answer in found.answers),
        created=found.answers[-1].created,
    )


@dataclass(frozen=True)
class Caption:
    """An LLM's caption of some frames: the text, the number of masked words, the answers."""

    text: str
    masked: int
    answers: tuple[Answer, ...]


def caption_images(
    images: tuple[bytes, ...],
    shown: int,
    paths: Sequence[str],
    plan: CaptionPlan,
    llm: Llm,
    count: Callable[[str], int],
) -> Caption:
    """Write a caption: one request with the images, one that shortens the text.

    Args:
        images: JPEG files from `layout_images`.
        shown: The number of frames in them.
        paths: Names of the source that the caption must not repeat.
        plan: Everything that shapes it.
        llm: The LLM.
        count: Counts CLIP tokens.

    Raises:
        ServiceError: the LLM failed, or its caption was refused.
    """
    guard = LeakGuard(plan.words, path_pattern(paths))
    seen, seen_masked, answers = _asked_until_clean(
        llm, plan.prompt(shown), plan.model, guard, _empty, images
    )

    def faults(text: str) -> list[str]:
        return text_problems(text, limit=plan.limit, count=count)

    text, masked, more = _asked_until_clean(
        llm, plan.refine_prompt(seen), plan.refine_model, guard, faults
    )
    return Caption(text, seen_masked + masked, (*answers, *more))


def _asked_until_clean(
    llm: Llm,
    prompt: str,
    model: str,
    guard: LeakGuard,
    faults: Callable[[str], list[str]],
    images: tuple[bytes, ...] = (),
) -> tuple[str, int, list[Answer]]:
    """Return a text without leaks and faults, the number of words masked, and the answers."""
    text, answer = llm.ask(prompt, CAPTION_FORM, model=model, images=images)
    answers = [answer]
    problems = [*([NAMED_A_FEELING] if guard.find(text) else []), *faults(text)]
    if problems:
        # The class names are not repeated: the model must not learn the label set.
        again = render(
            read_template("caption_again.txt"),
            "caption_again.txt",
            prompt=prompt,
            problem="; ".join(problems),
        )
        text, answer = llm.ask(again, CAPTION_FORM, model=model, images=images)
        answers.append(answer)
    text, masked = guard.mask(text)
    problems = faults(text)
    if problems:
        raise ServiceError(
            f"{model} at {llm.server.address}: its caption cannot be used, even after asking "
            f"again: {'; '.join(problems)}"
        )
    return text, masked, answers


def _empty(text: str) -> list[str]:
    return [] if any(letter.isalpha() for letter in text) else ["it is empty"]


def _read_caption(value: Any) -> str:
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(caption, str):
        raise ValueError('expected a text under "caption"')
    return tidy(bounded_text(caption))


CAPTION_FORM = AnswerForm(
    "caption",
    {
        "type": "object",
        "properties": {"caption": {"type": "string"}},
        "required": ["caption"],
        "additionalProperties": False,
    },
    _read_caption,
)


def _paths(row: ClipRow) -> list[str]:
    """The parts of the clip's path that a caption must not repeat; plain words do not count."""
    names = {row.source, Path(row.source).name, row.clip_id}
    return sorted(name for name in names if len(name) > 3 and not name.isalpha())


def sample_positions(num_frames: int, wanted: int) -> tuple[int, ...]:
    """At most `wanted` positions spread evenly over 0..num_frames-1, both ends included."""
    return tuple(
        int(position)
        for position in np.unique(
            np.linspace(0, num_frames - 1, min(wanted, num_frames)).round().astype(int)
        )
    )


def clip_images(paths: list[Path], positions: tuple[int, ...], layout: str) -> tuple[bytes, ...]:
    """JPEG files of the frames at `positions`: one contact sheet, or one image each.

    They are encoded again, so no metadata of the files leaves the machine.

    Raises:
        DataError: a frame cannot be read (named).
    """
    return layout_images([_read_frame(paths[position]) for position in positions], layout)


def layout_images(frames: Sequence[NDArray[np.uint8]], layout: str) -> tuple[bytes, ...]:
    """JPEG files of frames, each (FRAME_PX, FRAME_PX, 3) BGR: one contact sheet, or one each."""
    if layout == "separate":
        return tuple(_encode(frame) for frame in frames)
    rows, columns = _grid(len(frames))
    sheet = np.zeros((rows * FRAME_PX, columns * FRAME_PX, 3), np.uint8)
    for number, frame in enumerate(frames):
        top, left = FRAME_PX * (number // columns), FRAME_PX * (number % columns)
        sheet[top : top + FRAME_PX, left : left + FRAME_PX] = frame
    return (_encode(sheet),)


def _grid(frames: int) -> tuple[int, int]:
    """Rows and columns of a contact sheet."""
    columns = min(SHEET_COLUMNS, frames)
    return math.ceil(frames / columns), columns


def _read_frame(path: Path) -> NDArray[np.uint8]:
    """A frame as (FRAME_PX, FRAME_PX, 3) BGR."""
    import cv2

    from dfercli.artifacts.pictures import decode_picture

    try:
        content = require_regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    image = decode_picture(content, path)
    if image is None:
        raise DataError(f"not a JPEG image: {path}")
    return np.asarray(cv2.resize(image, (FRAME_PX, FRAME_PX), interpolation=cv2.INTER_AREA))


def _encode(image: NDArray[np.uint8]) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return bytes(data)
