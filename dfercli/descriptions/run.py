"""Describe: texts for classes, and captions for the clips of a face store."""

import os
from collections.abc import Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.bug_log import BUGS_FILE, BugLog
from dfercli.artifacts.cache_folder import cache_folder
from dfercli.artifacts.captions import CaptionRow, append_caption, read_captions
from dfercli.artifacts.face_store import ClipRow, read_clips, read_dataset
from dfercli.artifacts.locks import exclusive
from dfercli.attempts import Crash, attempt
from dfercli.config import DescribeConfig
from dfercli.descriptions.cache import AnswerCache, CacheInfo
from dfercli.descriptions.captions import CaptionPlan, caption_clip
from dfercli.descriptions.class_writer import class_prompt, write_class_texts
from dfercli.descriptions.estimate import Estimate, estimate_tokens
from dfercli.descriptions.label_lists import LabelList
from dfercli.descriptions.llm import Llm, Tally, open_llm
from dfercli.descriptions.llm_server import RequestLimitError, ServiceUnusableError
from dfercli.descriptions.texts import (
    ClassTexts,
    has_shipped_descriptions,
    shipped_texts,
    write_texts,
)
from dfercli.descriptions.tokens import CLIP_TOKENS, token_counter
from dfercli.descriptions.workers import run_concurrently
from dfercli.errors import ArtifactError, ConfigError, DataError, DferError
from dfercli.labels import ELEVEN
from dfercli.progress import Progress

HOPELESS_AFTER = 20
"""Failures in a row, without any caption, after which the rest is skipped."""
UNUSABLE_AFTER = 3
"""Refusals in a row, such as of a key, that are no longer a coincidence."""


class ClipBugError(DataError):
    """A bug in one clip; its traceback is in the log that the message names."""


@dataclass
class CaptionResult:
    """The result of a run over a face store.

    Attributes:
        clips: Clips in the store.
        kept: Clips that had a caption already.
        written: Captions written now.
        failed: Clip -> why it has no caption.
        stopped: The error that ended the run before all clips were tried, if any.
        tally: Requests and tokens.
    """

    clips: int
    kept: int = 0
    written: int = 0
    failed: dict[str, DferError] = field(default_factory=dict)
    stopped: DferError | None = None
    tally: Tally = field(default_factory=Tally)


def describe_classes(
    classes: LabelList, config: DescribeConfig, progress: Progress
) -> tuple[ClassTexts, Tally]:
    """Return the texts of `classes`: shipped ones, or an LLM's if they are missing.

    An LLM is asked if `config` names a model, or if a class has no shipped text.

    Raises:
        ConfigError: an LLM is needed and there is no key, or a template is faulty.
        ServiceError: the LLM failed, or its texts do not pass the checks.
    """
    _check(config)
    if not _needs_llm(classes, config):
        return shipped_texts(classes.label_set, config.style), Tally()
    class_prompt(classes, config)  # report a faulty template before a missing key
    model = config.model or config.default_model
    llm = open_llm(config, os.environ, progress.note)
    with progress.task(f"asking {model} at {llm.server.address}", total=1) as task:
        texts = write_class_texts(classes, config, llm, model, token_counter())
        task.advance()
    return texts, llm.tally


def plan_classes(classes: LabelList, config: DescribeConfig) -> Estimate:
    """Estimate the requests of `describe_classes`; nothing is sent."""
    _check(config)
    if not _needs_llm(classes, config):
        return Estimate((), 0, 0)
    prompt = class_prompt(classes, config)
    return Estimate((prompt,), 1, estimate_tokens(prompt))


def caption_store(
    store: Path,
    config: DescribeConfig,
    progress: Progress,
    only: Set[str] | None = None,
    bugs: BugLog | None = None,
) -> CaptionResult:
    """Caption the clips of a face store that have no caption yet; write each one at once.

    A single failure never stops the rest; it is reported and counted. Errors that affect every
    request (a wrong key or no server, several times in a row; the limit of requests; a full disk)
    end the run and keep the finished work.

    Args:
        store: The face store.
        config: The settings.
        progress: Where to report.
        only: The wanted clips; None for all.
        bugs: Takes the tracebacks of clips with a bug; by default `bugs.log` in the store,
            which the user is asked to report.

    Raises:
        DataError: `store` is not a face store.
        ConfigError: there is no key, or a template is faulty.
    """
    _check(config)
    plan = _caption_plan(store, config)
    rows = _wanted(store, only)
    todo = _without_caption(store, rows, plan, progress)
    result = CaptionResult(clips=len(rows), kept=len(rows) - len(todo))
    if not todo:
        return result
    plan.prompt(config.frames)  # report a faulty template before anything is sent
    llm = open_llm(config, os.environ, progress.note)
    result.tally = llm.tally
    own_bugs = BugLog(store / BUGS_FILE)
    with exclusive(store / ".describe.lock", busy=f"captions of {store} are being written"):
        try:
            _caption_all(store, todo, plan, llm, result, bugs or own_bugs, progress)
        except (ServiceUnusableError, ArtifactError) as error:
            result.stopped = error
    own_bugs.tell(progress)
    return result


def _caption_all(
    store: Path,
    todo: list[ClipRow],
    plan: CaptionPlan,
    llm: Llm,
    result: CaptionResult,
    bugs: BugLog,
    progress: Progress,
) -> None:
    count = token_counter()
    outcomes = run_concurrently(
        lambda row: caption_clip(store, row, plan, llm, count),
        todo,
        plan.config.concurrency,
        begin_no_more_after=RequestLimitError,
    )
    refusals = 0
    with progress.task(f"captions by {plan.model} at {llm.server.address}", len(todo)) as task:
        for row, outcome in outcomes:
            fault = _fault(store, row, outcome, bugs)
            if fault is None:
                result.written += 1
                refusals = 0
            elif isinstance(fault, RequestLimitError):
                result.stopped = fault
            elif isinstance(fault, ArtifactError):  # the cache cannot be written
                raise fault
            else:
                result.failed[row.clip_id] = fault
                progress.note(f"no caption for {row.clip_id}: {fault.message}")
                refusals = refusals + 1 if isinstance(fault, ServiceUnusableError) else 0
                if refusals == UNUSABLE_AFTER:
                    raise fault
                _stop_if_hopeless(result, fault)
            task.advance()
            task.status(requests=llm.tally.sent, failed=len(result.failed))


def _fault(
    store: Path, row: ClipRow, outcome: CaptionRow | DferError | Crash, bugs: BugLog
) -> DferError | None:
    """Write the caption of a clip, if it has one; return the error, if any."""
    fault = (
        attempt(partial(append_caption, store, outcome))
        if isinstance(outcome, CaptionRow)
        else outcome
    )
    return ClipBugError(bugs.add(row.clip_id, fault)) if isinstance(fault, Crash) else fault


def _stop_if_hopeless(result: CaptionResult, last: DferError) -> None:
    if result.written == 0 and len(result.failed) >= HOPELESS_AFTER:
        raise ServiceUnusableError(
            f"the first {HOPELESS_AFTER} clips all failed, the last one with: {last.message}",
            hint=last.hint,
        )


def plan_captions(
    store: Path, config: DescribeConfig, progress: Progress, only: Set[str] | None = None
) -> Estimate:
    """Estimate the most requests of `caption_store`; nothing is sent."""
    _check(config)
    plan = _caption_plan(store, config)
    todo = _without_caption(store, _wanted(store, only), plan, progress)
    prompt, refine = plan.prompt(config.frames), plan.refine_prompt("(the first answer)")
    per_clip = estimate_tokens(prompt, plan.image_sizes_px()) + estimate_tokens(refine)
    return Estimate((prompt, refine), 2 * len(todo), per_clip * len(todo))


def _wanted(store: Path, only: Set[str] | None) -> list[ClipRow]:
    return [row for row in read_clips(store) if only is None or row.clip_id in only]


def _caption_plan(store: Path, config: DescribeConfig) -> CaptionPlan:
    labels = read_dataset(store)["label_set"] if (store / "dataset.json").is_file() else []
    labels += [row.label for row in read_clips(store) if row.label is not None]
    model = config.model or config.default_model
    return CaptionPlan(
        config, model, config.refine_model or model, tuple(dict.fromkeys([*ELEVEN, *labels]))
    )


def _without_caption(
    store: Path, rows: list[ClipRow], plan: CaptionPlan, progress: Progress
) -> list[ClipRow]:
    captions = read_captions(store)
    if plan.config.refresh:
        return rows
    other = [
        row.clip_id
        for row in rows
        if row.clip_id in captions and captions[row.clip_id].settings != plan.settings
    ]
    if other and not plan.config.overwrite:
        progress.note(
            f"{len(other)} captions were made with other settings and are kept "
            "(--overwrite writes them again)"
        )
    redo = set(other) if plan.config.overwrite else set()
    return [row for row in rows if row.clip_id not in captions or row.clip_id in redo]


def _needs_llm(classes: LabelList, config: DescribeConfig) -> bool:
    """Tell whether an LLM must write the texts, because no shipped ones fit."""
    if config.style in ("name", "context"):
        return False
    special = config.prompt is not None or config.variants > 1 or config.language != "English"
    if config.model is not None or special:
        return True
    if config.style == "pn":
        return config.no_names
    return not has_shipped_descriptions(classes.label_set)


def _check(config: DescribeConfig) -> None:
    """Refuse settings out of range, all at once."""
    faults = [
        f"{name} is at least {least}, got {value:g}"
        for name, value, least in (
            ("variants", config.variants, 1),
            ("frames", config.frames, 1),
            ("concurrency", config.concurrency, 1),
            ("max-requests", config.max_requests, 0),
            ("max-retries", config.max_retries, 0),
            ("temperature", config.temperature, 0),
            ("context-tokens", config.context_tokens, 0),
        )
        if value is not None and value < least
    ]
    faults += [
        f"{name} is above 0, got {value:g}"
        for name, value in (("rate", config.rate), ("timeout", config.timeout_seconds))
        if value is not None and not value > 0
    ]
    if config.context_tokens > CLIP_TOKENS // 2:
        faults.append(f"context-tokens is at most {CLIP_TOKENS // 2}, got {config.context_tokens}")
    if config.style in ("name", "context") and (config.variants > 1 or config.prompt is not None):
        faults.append(f"style {config.style} has one fixed text per class")
    if faults:
        raise ConfigError("; ".join(faults))


def answer_cache(config: DescribeConfig, *, clear: bool = False) -> CacheInfo:
    """Describe the cache of answers, as it was before clearing if it is cleared."""
    cache = AnswerCache(config.cache or cache_folder("llm"))
    return cache.clear() if clear else cache.info()


def default_path(classes: LabelList, style: str) -> Path:
    """Where the texts go when the user names no file: `descriptions-7.json`."""
    suffix = "" if style == "description" else f"-{style}"
    return Path(f"descriptions-{classes.name}{suffix}.json")


def save_texts(path: Path, texts: ClassTexts, *, overwrite: bool) -> None:
    """Write a descriptions file; one with the same texts is left as it is.

    Raises:
        ConfigError: the file holds something else and `overwrite` is False.
    """
    if path.exists() and not overwrite:
        if _holds_same(path, texts):
            return
        raise ConfigError(
            f"{path} exists and holds other texts",
            hint="--overwrite replaces it, --out FILE writes elsewhere",
        )
    write_texts(path, texts)


def _holds_same(path: Path, texts: ClassTexts) -> bool:
    try:
        there = read_json(path)
    except ArtifactError:
        return False
    new = texts.to_json()
    return isinstance(there, dict) and all(
        there.get(key) == new[key] for key in ("schema", "style", "classes")
    )
