"""Peak memory of preprocess on videos and pictures of 4K and 8K, in this process and in a worker.

The script pans over a picture with faces to write each source. Peaks are of the largest process.

    python benchmarks/big_frames_memory.py ../shared/media/images/single_face.jpg \
        ../shared/weights/yunet_s_640_640.onnx
"""

import argparse
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
from preprocess_speed import panned

from dfercli.video.images import read_image

SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160), "8K": (7680, 4320)}
QUIET = "log-level=none"
CODECS = {
    "h264": ("libx264", "yuv420p", {"preset": "superfast", "bf": "3", "refs": "3"}),
    "hevc 10 bit": (
        "libx265",
        "yuv420p10le",
        {"preset": "ultrafast", "x265-params": QUIET},
    ),
}
WORKERS = (0, 1)


def write(picture, target: Path, size: tuple[int, int], codec: str, fps: int, frames: int) -> Path:
    """Write a video whose frames wait in the decoder, as those of recordings do."""
    name, pixels, options = CODECS[codec]
    with av.open(str(target), "w") as container:
        stream = container.add_stream(name, rate=fps, options=options)
        (stream.width, stream.height), stream.pix_fmt = size, pixels
        for number, image in enumerate(panned(picture, *size, frames)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target


def peak_megabytes(source: Path, weights: Path, out: Path, options: list[str]) -> tuple[float, str]:
    """Peak memory of the largest process, in MB, and the last line that it printed."""
    command = [
        *(sys.executable, "-c", "from dfercli.cli.start import main; main()"),
        *("preprocess", str(source), "--out", str(out), "--quiet", "--json"),
        *("--detector", "yunet", "--detector-weights", str(weights), *options),
    ]
    program = (
        "import resource, subprocess, sys;"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, done.returncode)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    megabytes, code = answer.stdout.split()
    return float(megabytes), code


def main() -> None:
    """Print a row for each source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    arguments, options = parser.parse_known_args()
    picture = read_image(arguments.picture)
    print(f"{'source':28} {'--workers':>9} {'peak':>8} {'seconds':>8}  exit code")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {}
        for size in arguments.sizes:
            for codec, fps in (("h264", 25), ("h264", 60), ("hevc 10 bit", 25)):
                path = folder / f"{size}-{codec[:4]}-{fps}.mp4"
                sources[f"{size} {codec}, {fps} fps"] = write(
                    picture, path, SIZES[size], codec, fps, arguments.frames
                )
            still = folder / f"{size}.png"
            cv2.imwrite(str(still), next(panned(picture, *SIZES[size], 1))[..., ::-1])
            sources[f"{size} picture"] = still
        for label, path in sources.items():
            for workers in WORKERS:
                out = folder / f"{path.name}-{workers}"
                begun = time.perf_counter()
                each = [*options, "--workers", str(workers)]
                peak, code = peak_megabytes(path, arguments.weights, out, each)
                seconds = time.perf_counter() - begun
                row = f"{label:28} {workers:9} {peak:5.0f} MB {seconds:8.1f}  {code}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
