"""Peak memory of preprocess on a long video, against ten seconds of the same pictures.

The long video repeats the packets of the short one, so making it takes only a minute.

    python benchmarks/long_video_memory.py ../shared/media/images/single_face.jpg \
        ../shared/weights/yunet_s_640_640.onnx --minutes 60
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
from preprocess_speed import panned

from dfercli.video.images import read_image
from dfercli.video.write import write_video

SECONDS = 10
FPS = 25


def looped(short: Path, target: Path, times: int) -> None:
    """Write the packets of `short` this many times in a row."""
    with av.open(str(target), "w") as container:
        copy = None
        for turn in range(times):
            with av.open(str(short)) as source:
                stream = source.streams.video[0]
                copy = copy or container.add_stream_from_template(stream)
                shift = round(turn * SECONDS / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        packet.pts += shift
                        packet.dts += shift
                        packet.stream = copy
                        container.mux(packet)


def peak_megabytes(
    video: Path, weights: Path, out: Path, options: list[str]
) -> tuple[float, float]:
    """Peak memory of the largest process, in MB, and the seconds it took."""
    command = [
        *(sys.executable, "-c", "from dfercli.cli.start import main; main()"),
        *("preprocess", str(video), "--out", str(out), "--workers", "1"),
        *("--detector", "yunet", "--detector-weights", str(weights), *options),
    ]
    # One process per video, as the peak of children is over all of them.
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    begun = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", program, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(answer.stdout), time.perf_counter() - begun


def main() -> None:
    """Print both peaks and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--minutes", type=int, default=60)
    arguments, options = parser.parse_known_args()
    picture = read_image(arguments.picture)
    with tempfile.TemporaryDirectory() as name:
        short, long = Path(name) / "short.mp4", Path(name) / "long.mp4"
        write_video(short, panned(picture, 1280, 720, SECONDS * FPS), FPS)
        looped(short, long, arguments.minutes * 60 // SECONDS)
        peaks = {}
        for video in (short, long):
            out = Path(name) / video.stem
            peaks[video], seconds = peak_megabytes(video, arguments.weights, out, options)
            print(f"{video.stem:5} {peaks[video]:.0f} MB in {seconds:.0f} s", flush=True)
        print(f"{arguments.minutes} minutes take {peaks[long] - peaks[short]:.0f} MB more")


if __name__ == "__main__":
    main()
