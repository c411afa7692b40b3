"""Draw the layers of the house, from the contract that import-linter checks, into docs/house.svg.

python docs/generate/house.py
"""

import sys
from pathlib import Path
from xml.sax.saxutils import escape

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "house.svg"
WIDTH, ROW, GAP, EDGE = 1080, 52, 10, 12  # pixels
STYLE = (
    "rect{fill:#e8eaf6;stroke:#5c6bc0}"
    "text{font:14px sans-serif;fill:#1a237e;text-anchor:middle}"
    ".lines{font-size:11px;fill:#5c6bc0}"
    "@media(prefers-color-scheme:dark){rect{fill:#1f2333;stroke:#7986cb}"
    "text{fill:#c5cae9}.lines{fill:#9fa8da}}"
)


def layers() -> list[list[str]]:
    """The packages of each layer, the topmost first; a layer imports only from those below."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rows = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[name.strip() for name in row.split("|")] for row in rows]


def picture() -> str:
    """The layers as SVG, each package with its lines of code."""
    rows = layers()
    height = len(rows) * (ROW + GAP) + 2 * EDGE - GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="The layers of dfer; imports go down only"><style>{STYLE}</style>'
    ]
    for number, names in enumerate(rows):
        top = EDGE + number * (ROW + GAP)
        wide = (WIDTH - 2 * EDGE - (len(names) - 1) * GAP) / len(names)
        for place, name in enumerate(names):
            left = EDGE + place * (wide + GAP)
            middle = left + wide / 2
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{ROW}" rx="6"/>'
                f'<text x="{middle:.1f}" y="{top + 22}">{escape(name)}</text>'
                f'<text class="lines" x="{middle:.1f}" y="{top + 40}">'
                f"{num_lines(name):,} lines</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def num_lines(name: str) -> int:
    """Lines of Python of a package or module of dfercli, in hundreds."""
    place = ROOT / "dfercli" / name
    files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    return max(100, round(sum(len(file.read_text().splitlines()) for file in files), -2))


if __name__ == "__main__":
    PICTURE.write_text(picture())
