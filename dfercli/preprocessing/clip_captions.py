"""Captions of the clips of a face store, as the last of their streams."""

import os
from collections.abc import Sequence

from dfercli.artifacts.bug_log import BUG_STAGE, BugLog
from dfercli.artifacts.face_store import ClipRow, FailureRow
from dfercli.config import DescribeConfig, PreprocessConfig
from dfercli.descriptions.llm import open_llm
from dfercli.descriptions.run import ClipBugError, caption_store, plan_captions
from dfercli.errors import DferError
from dfercli.progress import Progress

STAGE = "captions"


def require_llm(config: PreprocessConfig) -> None:
    """Make sure, before hours of work, that an LLM is named to caption clips; nothing is sent.

    Raises:
        ConfigError: there is no key, and no server of one's own.
    """
    open_llm(_settings(config), os.environ, lambda _: None)


def caption_clips(
    clips: Sequence[ClipRow], config: PreprocessConfig, bugs: BugLog, progress: Progress
) -> list[FailureRow]:
    """Caption the clips that have no caption yet; the cost is estimated first.

    A server that fails costs captions, and nothing else.

    Returns:
        A row for each clip without a caption, and one where the server made an end of it.
    """
    settings, only = _settings(config), {clip.clip_id for clip in clips}
    try:
        estimate = plan_captions(config.out, settings, progress, only=only)
        if not estimate.requests:
            return []
        progress.note(
            f"captions: at most {estimate.requests} requests, about {estimate.tokens} tokens sent"
        )
        result = caption_store(config.out, settings, progress, only, bugs)
    except DferError as error:
        return [FailureRow("captions.jsonl", STAGE, error.message)]
    failures = [
        FailureRow(
            f"frames/{clip_id}",
            BUG_STAGE if isinstance(error, ClipBugError) else STAGE,
            error.message,
        )
        for clip_id, error in result.failed.items()
    ]
    if result.stopped is not None:
        failures.append(FailureRow("captions.jsonl", STAGE, result.stopped.message))
    return failures


def _settings(config: PreprocessConfig) -> DescribeConfig:
    return DescribeConfig(model=config.model_for_captions)
