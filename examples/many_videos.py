"""Many videos: a summary per person, and the mean per folder.

python examples/many_videos.py runs/first videos/
"""

import sys
from pathlib import Path

import pandas as pd

from dfercli import load


def main(model_name: str, folder: str) -> None:
    """Print how much of the seen time each class takes, by the folder of the videos."""
    model = load(model_name)
    videos = sorted(Path(folder).rglob("*.mp4"))
    summaries = [model.predict_video(video).summary() for video in videos]
    table = pd.concat(summaries, ignore_index=True)
    persons = table[table["level"] == "person"]
    shares = [f"share_{name}" for name in model.label_set]
    by_folder = persons["source"].map(lambda source: Path(source).parent.name)
    print(persons.groupby(by_folder)[shares].mean().round(3))
    failed = table["failure"].dropna()
    print(f"{len(videos)} videos, {len(persons)} persons, {len(failed)} failures")


if __name__ == "__main__":
    main(*sys.argv[1:])
