"""Texts for classes, written by an LLM and checked before they are kept."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfercli.config import DescribeConfig
from dfercli.descriptions.answers import AnswerForm, bounded_text
from dfercli.descriptions.checks import text_problems, tidy
from dfercli.descriptions.completions import SHOWN_LETTERS
from dfercli.descriptions.label_lists import LabelList
from dfercli.descriptions.leaks import name_pattern
from dfercli.descriptions.llm import Llm
from dfercli.descriptions.prompt_files import read_template, render, sha256_of
from dfercli.descriptions.texts import ClassTexts
from dfercli.descriptions.tokens import text_limit
from dfercli.errors import ServiceError

WORDS_PER_TOKEN = 0.7
"""Words per CLIP token, conservatively."""


@dataclass(frozen=True)
class Pair:
    """The texts of one class: positive, and negative if the style has them."""

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()


def class_prompt(classes: LabelList, config: DescribeConfig) -> str:
    """Render the LLM prompt that asks for the texts of all classes.

    Raises:
        ConfigError: the user's template is unreadable, or asks for an unknown variable.
    """
    name = "class_texts_pn.txt" if config.style == "pn" else "class_texts.txt"
    lines = [
        f"- {label}: {classes.definitions[label]}" if label in classes.definitions else f"- {label}"
        for label in classes.label_set
    ]
    return render(
        read_template(name, config.prompt),
        str(config.prompt or name),
        classes="\n".join(lines),
        variants=str(config.variants),
        language=config.language,
        max_words=str(int(text_limit(config.context_tokens) * WORDS_PER_TOKEN)),
        name_rule="\n- Do not use the name of a class, or a word made from it, in any text."
        if config.no_names
        else "",
    )


def write_class_texts(
    classes: LabelList, config: DescribeConfig, llm: Llm, model: str, count: Callable[[str], int]
) -> ClassTexts:
    """Request the texts of all classes at once; request unusable ones once more.

    Args:
        classes: The classes, with the user's definitions, if any.
        config: Style, variants, language, limits.
        llm: The LLM.
        model: Its model.
        count: The CLIP token counter.

    Raises:
        ServiceError: the LLM failed, or its texts do not pass the checks (named).
    """
    prompt = class_prompt(classes, config)
    form = class_form(classes.label_set, config)
    pairs, first = llm.ask(prompt, form, model=model)
    answers = [first]
    problems = _problems(classes.label_set, pairs, config, count)
    if problems:
        again = render(
            read_template("class_texts_again.txt"),
            "class_texts_again.txt",
            prompt=prompt,
            problems="\n".join(
                f"- {label}: {problem}" for label, found in problems.items() for problem in found
            ),
            names=", ".join(problems),
        )
        better, second = llm.ask(again, class_form(tuple(problems), config), model=model)
        answers.append(second)
        pairs = {**pairs, **{label: better[label] for label in problems if label in better}}
        problems = _problems(classes.label_set, pairs, config, count)
    if problems:
        found = "; ".join(f"{label}: {texts[0]}" for label, texts in problems.items())
        raise ServiceError(
            f"{model} at {llm.server.address}: its texts cannot be used, even after asking "
            f"again: {found}",
            hint="try another model, or --prompt FILE; --refresh asks the same model again",
        )
    ordered = [pairs[label] for label in classes.label_set]
    return ClassTexts(
        label_set=classes.label_set,
        positive=tuple(pair.positive for pair in ordered),
        negative=tuple(pair.negative for pair in ordered) if config.style == "pn" else (),
        style=config.style,
        provenance={
            "source": "llm",
            "model": model,
            "server": llm.server.address,
            "parameters": first.request["parameters"],
            "language": config.language,
            "variants": config.variants,
            "no_names": config.no_names,
            "template": config.prompt.name if config.prompt else "shipped",
            "prompt_sha256": sha256_of(prompt),
            "answers": [answer.key for answer in answers],
            "created": answers[-1].created,
        },
    )


def class_form(label_set: tuple[str, ...], config: DescribeConfig) -> AnswerForm[dict[str, Pair]]:
    """The form of an answer with texts for `label_set`."""
    texts = {"type": "array", "items": {"type": "string"}}
    kinds = ("positive", "negative") if config.style == "pn" else ("positive",)
    entry = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": list(label_set)},
            **dict.fromkeys(kinds, texts),
        },
        "required": ["name", *kinds],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {"classes": {"type": "array", "items": entry}},
        "required": ["classes"],
        "additionalProperties": False,
    }

    def read(value: Any) -> dict[str, Pair]:
        entries = value.get("classes") if isinstance(value, dict) else value
        if not isinstance(entries, list) or not all(isinstance(item, dict) for item in entries):
            raise ValueError('expected a list under "classes"')
        names = {label.casefold(): label for label in label_set}
        pairs: dict[str, Pair] = {}
        for item in entries:
            label = names.get(str(item.get("name", "")).strip().casefold())
            if label is None:
                continue  # a class that was not requested; a missing one is found later
            if label in pairs:
                raise ValueError(f"{label} appears twice")
            found = {kind: _read_texts(label, kind, item.get(kind)) for kind in kinds}
            pairs[label] = Pair(**found)
        return pairs

    return AnswerForm("class_texts", schema, read)


def _read_texts(label: str, kind: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f'{label}: expected a list of texts under "{kind}"')
    return tuple(tidy(bounded_text(text)) for text in texts)


def _problems(
    label_set: tuple[str, ...],
    pairs: dict[str, Pair],
    config: DescribeConfig,
    count: Callable[[str], int],
) -> dict[str, list[str]]:
    """The problems of the texts of each class; classes without problems are omitted."""
    limit = text_limit(config.context_tokens)
    forbidden = (
        [re.compile(name_pattern(label), re.IGNORECASE) for label in label_set]
        if config.no_names
        else []
    )
    problems: dict[str, list[str]] = {}
    seen: set[str] = set()
    for label in label_set:
        pair = pairs.get(label)
        if pair is None:
            problems[label] = ["it is missing"]
            continue
        found = []
        kinds = (pair.positive, pair.negative) if config.style == "pn" else (pair.positive,)
        for texts in kinds:
            if len(texts) != config.variants:
                found.append(f"expected {config.variants} texts of each kind, got {len(texts)}")
                continue
            for text in texts:
                faults = text_problems(text, limit=limit, count=count, forbidden=forbidden)
                if text.casefold() in seen:
                    faults.append("the same text appears twice")
                seen.add(text.casefold())
                found.extend(f'"{text[:SHOWN_LETTERS]}": {fault}' for fault in faults)
        if found:
            problems[label] = found
    return problems
