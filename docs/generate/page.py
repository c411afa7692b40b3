"""Make docs/page.png: the page of `dfer predict` on two drawn people, by the model of `dfer demo`.

dfer demo && python docs/generate/page.py dfer-demo
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from dfercli.config import PredictConfig
from dfercli.drawn_faces.clip import render_sequence
from dfercli.drawn_faces.identity import random_identity
from dfercli.prediction import run as predict
from dfercli.progress import LogProgress
from dfercli.video.write import write_video

PICTURE = Path(__file__).parents[1] / "page.png"
SHOWN = (
    ("neutral", "happiness", "surprise", "sadness", "anger"),
    ("happiness", "disgust", "neutral", "fear", "happiness"),
)
WIDTH, HEIGHT = 1280, 800
FPS, SIZE, SEED = 14.0, 320, 11
AT_SECONDS = 9.0


def main() -> None:
    """Draw a video of two people, predict on it, and take a picture of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="folder of a finished `dfer demo`")
    parser.add_argument("--browser", default="chromium")
    asked = parser.parse_args()
    runs = asked.demo.absolute() / "runs"
    rng = np.random.default_rng(SEED)
    people = [
        render_sequence(random_identity(rng), row, rng, fps=FPS, size=SIZE).frames for row in SHOWN
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_video(folder / "interview.mp4", np.concatenate(people, axis=2), FPS)
        (folder / "runs").symlink_to(runs)
        os.chdir(folder)  # so that the page shows short names
        predict.run(
            PredictConfig(
                sources=("interview.mp4",),
                html=Path("page.html"),
                detector="haar",
            ),
            LogProgress(),
        )
        page = folder / "page.html"
        # A moment with something to see: the page begins at 0.
        seek = f"<script>document.querySelector('video').currentTime = {AT_SECONDS}</script>"
        page.write_text(page.read_text().replace("</body>", f"{seek}</body>"))
        subprocess.run(
            [
                asked.browser,
                *("--headless", "--no-sandbox", "--hide-scrollbars"),
                f"--window-size={WIDTH},{HEIGHT}",
                "--virtual-time-budget=4000",
                f"--screenshot={PICTURE}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
