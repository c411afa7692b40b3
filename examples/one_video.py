"""Who shows what, and when, in one video.

python examples/one_video.py runs/first talk.mp4
"""

import sys
from pathlib import Path

from dfercli import load


def main(model_name: str, video: str) -> None:
    """Print the spans of a video, and draw its timeline beside it."""
    model = load(model_name)
    found = model.predict_video(video)
    if found.failure is not None:
        print(f"{video}: {found.failure.reason}")
    spans = found.spans()
    print(spans[["track", "start_seconds", "end_seconds", "label", "confidence", "uncertain"]])
    picture = Path(video).with_suffix(".timeline.png")
    found.plot().savefig(picture, dpi=150)
    print(f"drawn: {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
