"""Settings of class texts and captions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class DescribeConfig:
    """What `dfer describe` writes: texts for classes, captions for the clips of a face store.

    Attributes:
        style: `description`, `name`, `context` or `pn` (positive and negative texts).
        model: The LLM to ask; None takes the shipped texts where there are any, else
            `default_model`.
        default_model: The LLM that is asked where one is needed and none was named.
        refine_model: The LLM that shortens captions; None takes the one that wrote them.
        variants: Texts per class.
        language: Language of the texts.
        no_names: Refuse a description that holds the name of a class.
        prompt: The user's own LLM prompt template, in place of the shipped one.
        temperature: Sampling temperature of the LLM.
        seed: Seed of the LLM's sampling, for the servers that know one.
        send_sampling: Send temperature and seed; some models refuse requests that have them.
        frames: Frames of each clip that are shown for its caption.
        images: `sheet` (all frames on one contact sheet) or `separate` images.
        context_tokens: Learned tokens that a class text shares CLIP's 77 tokens with.
        concurrency: Requests under way at a time.
        rate: Most requests per minute; None for no limit.
        max_requests: Most requests of one run, the client's own retries not counted.
        timeout_seconds: Longest time for one request, from connecting to the last byte.
        max_retries: Retries after 429, 5xx, time-outs and broken connections, each with the whole
            time, after a wait of at most two minutes.
        cache: Folder of cached answers; None takes `DFER_CACHE`, else the user's cache folder.
        refresh: Ask again for what the cache holds.
        overwrite: Replace a file with other texts, and captions made with other settings.
    """

    style: Literal["description", "name", "context", "pn"] = "description"
    model: str | None = None
    default_model: str = "gpt-4.1-mini"
    refine_model: str | None = None
    variants: int = 1
    language: str = "English"
    no_names: bool = False
    prompt: Path | None = None
    temperature: float = 0.0
    seed: int = 1
    send_sampling: bool = True
    frames: int = 8
    images: Literal["sheet", "separate"] = "sheet"
    context_tokens: int = 8
    concurrency: int = 4
    rate: float | None = None
    max_requests: int | None = None
    timeout_seconds: float = 120.0
    max_retries: int = 4
    cache: Path | None = None
    refresh: bool = False
    overwrite: bool = False
