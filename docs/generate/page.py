"""Make docs/page.png: the page of `dfer predict` on two drawn people, by the model of `dfer demo`.

dfer demo && python docs/generate/page.py dfer-demo
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.config import PredictConfig
from dfercli.prediction import run as predict
from dfercli.progress import LogProgress
from dfercli.video.decode import VideoReader
from dfercli.video.write import write_video

PICTURE = Path(__file__).parents[1] / "page.png"
SHOWN = (
    ("happiness", "surprise", "neutral", "anger", "sadness"),
    ("neutral", "fear", "happiness", "disgust", "neutral"),
)
SIZE = (1280, 800)
FPS = 25


def frames_of(folder: Path, person: str, expressions: tuple[str, ...]) -> Iterator[NDArray]:
    """The frames of one person's videos, one expression after the other."""
    for expression in expressions:
        for frame in VideoReader(folder / expression / person):
            yield frame.image


def main() -> None:
    """Compose a video of two people, predict on it, and take a picture of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="folder of a finished `dfer demo`")
    parser.add_argument("--browser", default="chromium")
    asked = parser.parse_args()
    folder = asked.demo / "videos" / "test"
    people = sorted(path.name for path in (folder / "happiness").iterdir())[:2]
    pairs = zip(
        *(frames_of(folder, person, row) for person, row in zip(people, SHOWN, strict=True)),
        strict=False,
    )
    with tempfile.TemporaryDirectory() as name:
        video, page = Path(name) / "two-people.mp4", Path(name) / "page.html"
        write_video(video, (np.concatenate(pair, axis=1) for pair in pairs), FPS)
        predict.run(
            PredictConfig(
                sources=(str(video),), runs=asked.demo / "runs", html=page, detector="haar"
            ),
            LogProgress(),
        )
        subprocess.run(
            [
                asked.browser,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--window-size={SIZE[0]},{SIZE[1]}",
                "--virtual-time-budget=4000",
                f"--screenshot={PICTURE}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
