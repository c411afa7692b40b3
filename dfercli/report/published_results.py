"""Published results on DFEW, FERV39k and MAFW, to compare your own with."""

from dataclasses import dataclass

Rates = tuple[float | None, float | None]

SELECTION = "as published, mostly best-on-test"


@dataclass(frozen=True)
class PublishedResult:
    """One row of the comparison table of papers.

    Attributes:
        method: Its name and year.
        modality: V video, A audio, T text.
        results: Data set -> (UAR, WAR) in per cent, None if a paper gives none. DFEW and MAFW
            are means over five folds; MAFW is the one of eleven single classes.
    """

    method: str
    modality: str
    results: dict[str, Rates]


def _row(method: str, modality: str, dfew: Rates, ferv39k: Rates, mafw: Rates) -> PublishedResult:
    return PublishedResult(method, modality, {"dfew": dfew, "ferv39k": ferv39k, "mafw": mafw})


# From the methods' own papers, as the later ones of them cite each other.
PUBLISHED_RESULTS = (
    _row("Former-DFER 2021", "V", (53.69, 65.70), (37.20, 46.85), (31.16, 43.27)),
    _row("M3DFEL 2023", "V", (56.10, 69.25), (35.94, 47.67), (None, None)),
    _row("CLIPER 2023", "V+T", (57.56, 70.84), (41.23, 51.34), (None, None)),
    _row("DFER-CLIP 2023", "V+T", (59.61, 71.25), (41.27, 51.65), (39.89, 52.55)),
    _row("MAE-DFER 2023", "V", (63.41, 74.43), (43.12, 52.07), (41.62, 54.31)),
    _row("S2D 2024", "V", (61.82, 76.03), (41.28, 52.56), (41.86, 57.37)),
    _row("A3lign-DFER 2024", "V+T", (64.09, 74.20), (41.87, 51.77), (42.07, 53.22)),
    _row("FineCLIPER 2024", "V+T", (65.98, 76.21), (45.22, 53.98), (45.01, 56.91)),
    _row("S4D 2025", "V", (66.80, 76.68), (43.41, 53.65), (43.72, 58.44)),
    _row("MMA-DFER 2024", "A+V", (67.01, 77.51), (None, None), (44.11, 58.52)),
    _row("CLAIP-Emo 2025", "A+V", (None, 80.14), (None, None), (None, 61.18)),
    _row("HumanOmni-7B 2025", "A+V", (74.86, 82.46), (None, None), (52.94, 68.40)),
)


def published_for(dataset: str) -> list[PublishedResult]:
    """The published results on `dataset` that name at least one number; none for other data."""
    return [
        result
        for result in PUBLISHED_RESULTS
        if any(rate is not None for rate in result.results.get(dataset, (None, None)))
    ]
