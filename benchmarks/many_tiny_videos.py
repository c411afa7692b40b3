"""`dfer predict` on thousands of tiny videos: memory, seconds per video, and a kill in the middle.

Draws videos of one second at 96x96, each tenth without a face and each fiftieth cut short, and
copies them. The rows of the table must be those of the same video in the smallest run, each source
once, also after SIGKILL in the middle of the largest run, which then goes on.

    python benchmarks/many_tiny_videos.py ../shared/weights/yunet_s_640_640.onnx
"""

import argparse
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.config import ModelConfig
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.video.write import write_video

SIZE, FRAMES, FPS = 96, 12, 12
KINDS = 50  # different videos; all others are copies
LOOK_SECONDS = 0.5
FAILED = 3  # the exit code of a run with failed sources
TOLERANCE = 1e-4  # of probabilities, and of boxes in pixels
Table = dict[str, list[tuple[str, ...]]]
"""Rows by source."""


@dataclass
class Run:
    """What a run of the command took.

    Attributes:
        seconds: How long.
        megabytes: Peak memory of the largest of its processes.
        files: The most files that one of its processes had open.
        killed: Whether it was killed in the middle.
    """

    seconds: float
    megabytes: float = 0.0
    files: int = 0
    killed: bool = False


def make_kinds(folder: Path) -> list[Path]:
    """Write the different videos."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    paths = [folder / f"{number:02d}.mp4" for number in range(KINDS)]
    for number, path in enumerate(paths):
        label = SEVEN[number % len(SEVEN)]
        clip = render_clip(random_identity(rng), label, rng, num_frames=FRAMES, fps=FPS, size=SIZE)
        frames = clip.frames if number % 10 else np.full_like(clip.frames, 90)
        write_video(path, iter(frames), FPS)
    paths[-1].write_bytes(paths[-1].read_bytes()[:700])
    return paths


def processes(group: int) -> list[int]:
    """The processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == group:
            found.append(int(path.parent.name))
    return found


def look(group: int, run: Run) -> None:
    """Note the memory and the open files of a group's processes."""
    for pid in processes(group):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            count = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:  # it has just ended
            continue
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        run.megabytes = max(run.megabytes, int(peak[1]) / 1024 if peak else 0.0)
        run.files = max(run.files, count)


def rows_in(path: Path) -> int:
    """The lines of a file that may not exist yet."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def predict(command: list[str], folder: Path, kill_at: int | None = None) -> Run:
    """Run the command, and kill all its processes when so many sources are done."""
    begun = time.perf_counter()
    run = Run(0.0)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, start_new_session=True, stdout=log, stderr=log
        )
        while process.poll() is None:
            look(process.pid, run)
            if kill_at is not None and rows_in(folder / ".x.csv.work/journal.jsonl") > kill_at:
                os.killpg(process.pid, signal.SIGKILL)
                run.killed = True
                process.wait()
            time.sleep(LOOK_SECONDS)
    if not run.killed and process.returncode != FAILED:
        raise SystemExit(f"exit code {process.returncode}: {folder / 'log'}")
    run.seconds = time.perf_counter() - begun
    return run


def table_of(folder: Path) -> Table:
    """The rows of a table by source, without the source."""
    rows: Table = {}
    with (folder / "x.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            source = Path(row.pop("source")).stem
            rows.setdefault(source, []).append(tuple(row.values()))
    return rows


def is_same(one: list[tuple[str, ...]], other: list[tuple[str, ...]]) -> bool:
    """Whether rows are equal; the other windows of a batch move the last digits of numbers."""

    def close(a: str, b: str) -> bool:
        try:
            return abs(float(a) - float(b)) < TOLERANCE
        except ValueError:
            return a == b

    if len(one) != len(other):
        return False
    pairs = zip(one, other, strict=True)
    return all(close(*cells) for rows in pairs for cells in zip(*rows, strict=True))


def differences(folder: Path, count: int, expected: Table) -> int:
    """How many of the sources have other rows than the same video in the smallest run."""
    found = table_of(folder)
    names = [f"{number:05d}" for number in range(count)]
    strangers = len(found.keys() - set(names))
    kinds = [f"{number % KINDS:05d}" for number in range(count)]
    pairs = zip(names, kinds, strict=True)
    wrong = sum(not is_same(found.get(n, []), expected.get(kind, [])) for n, kind in pairs)
    return wrong + strangers


def main() -> int:
    """Print a line for each run; the exit code is 1 if a table is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path, help="of YuNet")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--workers", default="2")
    parser.add_argument("--html", action="store_true", help="write a page, too")
    parser.add_argument("--keep", type=Path, help="folder for everything")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.keep or Path(temporary)).resolve()
        work.mkdir(exist_ok=True)
        kinds = make_kinds(work / "kinds")
        model = new_model(ModelConfig(clip="tiny/random", num_frames=4), SEVEN, 1)
        save_checkpoint(work / "model", model.module.state_dict(), model.card.to_json())
        expected: Table = {}
        wrong = 0
        for count in sorted(arguments.counts):
            folder = work / str(count)
            (folder / "videos").mkdir(parents=True)
            for number in range(count):
                shutil.copy(kinds[number % KINDS], folder / "videos" / f"{number:05d}.mp4")
            command = [sys.executable, "-c", "from dfercli.cli.start import main; main()"]
            command += ["predict", "videos", "--model", str(work / "model"), "--out", "x.csv"]
            weights = str(arguments.weights.resolve())
            command += ["--detector", "yunet", "--detector-weights", weights]
            command += ["--workers", arguments.workers, "--quiet"]
            command += ["--html", "x.html"] if arguments.html else []
            is_last = count == max(arguments.counts)
            runs = [predict(command, folder, count // 2)] if is_last else []
            runs.append(predict(command, folder))
            expected = expected or table_of(folder)
            different = differences(folder, count, expected)
            wrong += different
            print(_line(count, runs, different, folder), flush=True)
    return int(wrong > 0)


def _line(count: int, runs: list[Run], different: int, folder: Path) -> str:
    seconds = sum(run.seconds for run in runs)
    page = folder / "x.html"
    said = [
        f"{count} videos" + (", killed in the middle" if len(runs) > 1 else ""),
        f"{seconds:.0f} s ({1000 * seconds / count:.0f} ms each)",
        " and ".join(f"{run.megabytes:.0f} MB" for run in runs),
        f"{max(run.files for run in runs)} files open",
        f"{different} with other rows",
    ]
    if page.is_file():
        said.append(f"a page of {page.stat().st_size / 1e6:.1f} MB")
    return "; ".join(said)


if __name__ == "__main__":
    sys.exit(main())
