"""What preprocess finds in every file of a folder: tracks with their times, seconds, reasons.

python benchmarks/preprocess_media.py ../shared/media/videos \
        --detector-weights ../shared/weights/yunet_s_640_640.onnx --previews previews/
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from dfercli.config import PreprocessConfig
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress


def main() -> None:
    """Print a line for each file and each of its tracks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--detector-weights", type=Path)
    parser.add_argument("--previews", type=Path, help="Keep the contact sheets and videos here.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for path in sorted(arguments.folder.iterdir()):
            config = PreprocessConfig(
                sources=(str(path),),
                out=Path(name) / path.name,
                detector=arguments.detector,
                detector_weights=arguments.detector_weights,
                preview=arguments.previews is not None,
                workers=0,
            )
            begun = time.perf_counter()
            result = run(config, LogProgress())
            seconds = time.perf_counter() - begun
            print(f"{path.name}: {result.num_frames} frames, {seconds:.1f} s")
            for clip in result.clips:
                print(
                    f"    track {clip.track}: {clip.num_frames} crops, "
                    f"{clip.start_seconds:.2f} to {clip.end_seconds:.2f} s at {clip.fps:g} fps"
                )
            for failure in result.failures:
                print(f"    no clip: {failure.reason}")
            if arguments.previews is not None and result.clips:
                shutil.copytree(config.out / "preview", arguments.previews, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
