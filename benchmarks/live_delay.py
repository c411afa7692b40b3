"""The delay of `dfer predict --camera`: from the arrival of a frame until it is shown or reported.

A video stands in for the camera: its frames come at their own rate, and a frame that nobody takes
in time is lost. The window needs a display (without one, use `xvfb-run -a python ...`).

    python benchmarks/live_delay.py VIDEO --model RUN [--detector-weights FILE]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfercli.config import PredictConfig
from dfercli.prediction import live
from dfercli.progress import LogProgress
from dfercli.video import camera


class PacedVideo:
    """A video as an OpenCV capture; it delivers no frame before it is due."""

    def __init__(self, path: str) -> None:
        self._capture = cv2.VideoCapture(path)
        self._began: float | None = None
        self._count = 0

    def read(self) -> tuple[bool, Any]:
        """The next frame, once it is due."""
        is_there, image = self._capture.read()
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        due = self._began + self._count / self._capture.get(cv2.CAP_PROP_FPS)
        self._count += 1
        time.sleep(max(0.0, due - now))
        return is_there, image

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Leave everything else to the capture."""
        return getattr(self._capture, name)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--model", required=True)
    parser.add_argument("--detector-weights", type=Path)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--bar-ms", type=float, default=300.0)
    asked = parser.parse_args()
    detector = "yunet" if asked.detector_weights else "haar"
    camera.cv2 = _Paced(asked.video)
    print(f"{'':10s}{'frames':>8s}{'a second':>10s}{'median ms':>11s}{'95 % ms':>9s}{'rows':>6s}")
    worst = 0.0
    for shows in (False, True):
        rows: list[dict[str, Any]] = []
        config = PredictConfig(
            camera="0",
            model=asked.model,
            show=shows,
            end=asked.seconds,
            detector=detector,
            detector_weights=asked.detector_weights,
        )
        began = time.monotonic()
        pace = live.run(config, LogProgress(), rows.append).pace
        delays = 1000 * np.array(pace.delays_seconds)
        median, most = np.percentile(delays, (50, 95))
        rate = len(delays) / min(asked.seconds, time.monotonic() - began)
        name = "window" if shows else "headless"
        print(f"{name:10s}{len(delays):8d}{rate:10.1f}{median:11.0f}{most:9.0f}{len(rows):6d}")
        worst = max(worst, float(median))
    if worst > asked.bar_ms:
        raise SystemExit(f"the delay of {worst:.0f} ms is above {asked.bar_ms:.0f} ms")


class _Paced:
    """OpenCV with paced videos as cameras."""

    def __init__(self, video: str) -> None:
        self._video = video

    def VideoCapture(self, _: int) -> PacedVideo:  # noqa: N802
        """Open the video, whichever camera is asked for."""
        return PacedVideo(self._video)

    def __getattr__(self, name: str) -> Any:
        """Leave everything else to OpenCV."""
        return getattr(cv2, name)


if __name__ == "__main__":
    main()
