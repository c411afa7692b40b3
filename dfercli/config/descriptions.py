"""Settings of class texts and captions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dfercli.config.options import DATA, LLM, OUTPUT, option, setting

DEFAULT_LLM = "gpt-4.1-mini"


@dataclass(frozen=True)
class DescribeConfig:
    """Settings of `dfer describe`: texts for classes, captions for the clips of a face store."""

    style: Literal["description", "name", "context", "pn"] = option(
        "description", "Kind of text; pn: a positive and a negative one.", DATA
    )
    model: str | None = option(
        None,
        f"The LLM to use. Without it: shipped texts if there are any, else {DEFAULT_LLM}.",
        LLM,
    )
    default_model: str = setting(DEFAULT_LLM, "The LLM to use if one is needed and none is named.")
    refine_model: str | None = option(
        None, "The LLM that shortens captions; by default --model.", LLM
    )
    variants: int = option(1, "Texts per class.", DATA)
    language: str = option("English", "Language of texts.", DATA)
    no_names: bool = option(
        False, "Refuse texts that contain the name of a class.", DATA, "--no-names"
    )
    prompt: Path | None = option(None, "Your own LLM prompt template ($variables).", LLM)
    temperature: float = option(0.0, "Sampling temperature of the LLM.", LLM)
    seed: int = option(1, "Seed of the LLM.", LLM)
    send_sampling: bool = option(
        True,
        "Send temperature and seed; some models refuse them.",
        LLM,
        "--sampling/--no-sampling",
    )
    frames: int = option(8, "Frames shown per clip.", DATA)
    images: Literal["sheet", "separate"] = option(
        "sheet", "Show them as one contact sheet, or as separate images.", DATA
    )
    context_tokens: int = option(8, "Learned tokens next to a class text, out of CLIP's 77.", DATA)
    concurrency: int = option(4, "Requests at a time.", LLM)
    rate: float | None = option(None, "Most requests per minute.", LLM)
    max_requests: int | None = option(
        None, "Most requests of this run, not counting the client's own retries.", LLM
    )
    timeout_seconds: float = option(
        120.0, "Longest time for one request, with connecting, in seconds.", LLM, "--timeout"
    )
    max_retries: int = option(
        4,
        "Retries after 429, 5xx, time-outs and broken connections, each with its own --timeout, "
        "after at most two minutes.",
        LLM,
    )
    cache: Path | None = option(
        None,
        "Folder of cached answers; by default DFER_CACHE/llm or ~/.cache/dfer.",
        LLM,
        writes="folder",
    )
    refresh: bool = option(False, "Repeat requests that are in the cache.", LLM, "--refresh")
    overwrite: bool = option(
        False, "Replace other texts, or captions of other settings.", OUTPUT, "--overwrite"
    )
