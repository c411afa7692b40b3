"""The model card as the README of a repository on the hub, with the table that the hub reads."""

import re

from dfercli.artifacts.model_card import ModelCard
from dfercli.report.card import card_rows, class_text_rows

RESEARCH_ONLY = {"dfew": "DFEW", "ferv39k": "FERV39k", "mafw": "MAFW"}


def hub_readme(card: ModelCard, repository: str, licence: str | None) -> str:
    """Write the README.

    Args:
        card: The model card, without paths of this machine.
        repository: `owner/name` on the hub.
        licence: The hub's identifier of the terms; None if none is stated.
    """
    from huggingface_hub import EvalResult, ModelCardData

    dataset = str(card.trained_on.get("dataset", "")) or None
    measured = card.results
    results = [
        EvalResult(
            task_type="video-classification",
            task_name="Dynamic facial expression recognition",
            dataset_type=dataset or "faces",
            dataset_name=str(measured["measured_on"]),
            metric_type=kind,
            metric_name=name,
            metric_value=round(100 * measured[key], 2),
        )
        for key, kind, name in (("war", "accuracy", "WAR"), ("uar", "recall", "UAR"))
        if measured
    ]
    research = RESEARCH_ONLY.get((dataset or "").lower())
    data = ModelCardData(
        license=licence or "other",
        license_name=None if licence else "not-stated",
        library_name="dfer",
        pipeline_tag="video-classification",
        tags=["facial-expression-recognition", "emotion", "video", str(card.model.get("method"))],
        datasets=[dataset] if dataset else None,
        metrics=["accuracy", "recall"] if measured else None,
        model_name=repository.partition("/")[2],
        eval_results=results or None,
    )
    lines = [
        "---",
        data.to_yaml(),
        "---",
        "",
        f"# {_plain(repository.partition('/')[2])}",
        "",
        "Which expression a face shows over a few seconds of video.",
        "",
        "```sh",
        f"dfer predict clip.mp4 --model {repository}",
        "```",
        "",
    ]
    if research:
        lines += [
            f"**For research only.** The model was trained on {research}, whose owners allow "
            "only research: no product, no service, and none of their data is in this "
            "repository.",
            "",
        ]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {name} | {_plain(text)} |" for name, text in card_rows(card)]
    lines += ["", "Class texts:", ""]
    lines += [f"- {_plain(f'{name}: {text}')}" for name, text in class_text_rows(card)]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Untrusted text as one line of Markdown: nothing in it is a link, a tag or a cell."""
    return re.sub(r"([\\`*_\[\]<>|#!])", r"\\\1", " ".join(text.split()))
