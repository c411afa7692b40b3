"""How long `dfer data check` takes on 40,000 clips: python benchmarks/data_check.py [--clips N].

Makes a copy of FERV39k's layout with empty frames in a temporary folder (28 per clip, the median
of the real one), checks it twice and prints the time of the second, warm run.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from dfercli.config import CheckConfig
from dfercli.preprocessing import check_data
from dfercli.progress import LogProgress

SCENES = 22
WORDS = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")


def make_copy(root: Path, num_clips: int, frames_per_clip: int) -> None:
    """Write lists and folders; all frames of a clip are hard links to one picture."""
    picture = root / "picture.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
    cv2.imwrite(str(picture), noise)
    rows = []
    for number in range(num_clips):
        word = WORDS[number % len(WORDS)]
        key = f"Scene{number % SCENES:02d}/{word}/{number:05d}"
        folder = root / "2_ClipsforFaceCrop" / key
        folder.mkdir(parents=True)
        for frame in range(frames_per_clip):
            if frame == 0:
                own = folder / "00000.jpg"
                own.write_bytes(picture.read_bytes())
            else:
                os.link(own, folder / f"{frame:05d}.jpg")
        rows.append(f"{key} {word}\n")
    lists = root / "4_setups" / "All_scenes"
    lists.mkdir(parents=True)
    cut = num_clips * 8 // 10
    (lists / "train_All.csv").write_text("".join(rows[:cut]))
    (lists / "test_All.csv").write_text("".join(rows[cut:]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40_000)
    parser.add_argument("--frames", type=int, default=28)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_copy(Path(folder), options.clips, options.frames)
        config = CheckConfig(dataset="ferv39k", root=Path(folder), subset=True)
        for run in ("first", "second, warm"):
            start = time.perf_counter()
            report = check_data.run(config, LogProgress())
            seconds = time.perf_counter() - start
            print(f"{run}: {report.num_clips} clips in {seconds:.1f} s, clean: {report.is_clean}")


if __name__ == "__main__":
    main()
