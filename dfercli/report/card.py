"""The model card as text: the checkpoint, its training, its results and its limits."""

from typing import Any

from dfercli.artifacts.model_card import ModelCard

INTENDED_USE = (
    "Research on facial expressions, and looking through one's own videos with the consent of "
    "the people in them."
)
LIMITS = (
    "The model names the movement of a face in the words of the people who labelled its training "
    "videos. It does not know what a person feels: people smile without joy and are sad without "
    "showing it, and the same face is read differently in other situations and cultures. "
    "Probabilities are a model's, not those of a state of mind, and errors are not spread evenly "
    "over ages, sexes, skin tones, head poses, cameras or light.",
    "Do not decide about people by it: not in hiring, schools, policing, credit, health or "
    "insurance. In the European Union the AI Act (Regulation 2024/1689, Article 5) prohibits "
    "inferring emotions of people at work and in education except for medical or safety reasons, "
    "and elsewhere asks that people are told (Article 50); faces of people who can be identified "
    "are personal data. Other places have their own laws: check before you use this on anyone.",
)


def card_rows(card: ModelCard) -> list[tuple[str, str]]:
    """The card as (name, text) rows for a terminal or a page."""
    trained = card.trained_on
    crop = card.crop or {}
    rows = [
        ("method", str(card.model.get("method", "unknown"))),
        ("backbone", f"{card.backbone.get('name')}/{card.backbone.get('tag')}"),
        ("weights", card.backbone.get("sha256") or "no file: drawn at random, or inside"),
        ("classes", ", ".join(card.label_set)),
        ("input", f"{card.sampling.get('num_frames')} frames of {card.image_size} px"),
        ("frames chosen", str(card.sampling.get("test", "as published"))),
        ("normalisation", str(card.model.get("normalization", "none"))),
        ("face crops", _crop(crop) if crop else "not recorded"),
        ("trained on", _trained_on(trained) if trained else "not recorded"),
        ("protocol", str(trained.get("selection", "not recorded"))),
        ("this checkpoint", card.selected_on),
        *_calibration(card.calibration),
        *_results(card.results),
        *_origin(card.origin),
        ("intended use", INTENDED_USE),
    ]
    return [*rows, *(("limits", paragraph) for paragraph in LIMITS)]


def class_text_rows(card: ModelCard) -> list[tuple[str, str]]:
    """Each class with the text it is compared by."""
    return list(zip(card.label_set, card.class_texts, strict=False))


def _crop(crop: dict[str, Any]) -> str:
    return (
        f"{crop.get('detector', '?')}, {crop.get('align', '?')}, margin {crop.get('margin', '?')}, "
        f"{crop.get('size', '?')} px"
    )


def _trained_on(trained: dict[str, Any]) -> str:
    subjects = trained.get("num_subjects")
    parts = [
        f"{trained.get('dataset')} fold {trained.get('fold')}"
        f"{'' if trained.get('official_split') else ' (a split of our own)'}"
    ]
    if "num_train" in trained:  # models of others do not record it
        parts += [
            f"{trained['num_train']} clips{f' of {subjects} people' if subjects else ''}",
            f"{trained.get('num_held_out')} held out",
            f"seed {trained.get('seed')}",
        ]
    return ", ".join(parts)


def _origin(origin: dict[str, Any]) -> list[tuple[str, str]]:
    """The owners of the model, their published results, and their terms."""
    if not origin:
        return []
    rows = [("made by others", f"{origin.get('name')}, from {origin.get('place')}")]
    if "sha256" in origin:
        rows.append(("their file", f"{origin.get('size_bytes')} bytes, SHA-256 {origin['sha256']}"))
    for rates in origin.get("results", ()):
        rows.append(
            (
                "they published",
                f"UAR {rates['uar']:.2f} %, WAR {rates['war']:.2f} % on {rates['dataset']} "
                f"({rates['protocol']}); not measured here",
            )
        )
    rows += [
        ("licence of the code", str(origin.get("licence_code", "not stated"))),
        ("licence of the weights", str(origin.get("licence_weights", "not stated"))),
        ("data behind it", str(origin.get("licence_data", "not stated"))),
    ]
    if origin.get("research_only"):
        rows.append(
            (
                "research only",
                "The data behind it may be used only for research. Do not use the model in a "
                "product or a service, or pass it on, without asking the owners of both.",
            )
        )
    return [*rows, ("cite", str(origin.get("citation", "not stated")))]


def _calibration(calibration: dict[str, Any]) -> list[tuple[str, str]]:
    if "ece_before" not in calibration:
        return [("calibration", "none")]
    after = calibration["ece_after"]
    error = "not measured" if after is None else f"{100 * after:.1f} %"
    rule = calibration.get("ece_rule", "on the clips that fitted it")
    return [
        (
            "calibration",
            f"temperature {calibration['temperature']:.3f}, fitted on "
            f"{calibration['num_clips']} {calibration['fitted_on']} clips; ECE there "
            f"{100 * calibration['ece_before']:.1f} % before, "
            f"{error} after ({rule})",
        ),
        (
            "uncertain below",
            f"{calibration['min_confidence']:.0%} ({calibration['min_confidence_rule']})",
        ),
    ]


def _results(results: dict[str, Any]) -> list[tuple[str, str]]:
    if not results:
        return [("results", "none recorded")]
    rates = [
        f"{name.upper()} {100 * results[name]:.2f} % "
        f"({_interval(results[f'{name}_interval'], results.get(f'{name}_method'))})"
        for name in ("war", "uar")
    ]
    return [
        (
            "results",
            f"{', '.join(rates)}; {results['num_clips']} clips: {results['measured_on']}",
        )
    ]


def _interval(interval: list[float] | None, method: str | None) -> str:
    if interval is None:
        return "no interval"
    low, high = interval
    by = f", {method}" if method else ""
    return f"95 %: {100 * low:.2f} to {100 * high:.2f}{by}"
