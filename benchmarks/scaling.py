"""How time and memory grow: with clips, classes, frames, length of video, and processes.

Every measurement runs in its own process, which first does the smallest version of the work, so
the time does not include start-up. Memory is the peak of the whole process tree (proportional set
size: a page that two processes share counts once), so this needs Linux. The exponent between two
sizes is log(cost ratio) / log(size ratio): 1 is linear, 0 is no growth. The exponent of memory
leaves out the imported modules.

    python benchmarks/scaling.py                    # all tables and docs/scaling.png
    python benchmarks/scaling.py clips length --hour
"""

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PLOT = Path(__file__).parents[1] / "docs" / "scaling.png"
NOISE_SECONDS, NOISE_MB = 0.02, 24  # anything below is noise of the start-up
SLACK = 1.2  # costs may grow by this factor more than the size, as measurements vary
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: What grows.
        unit: Of the sizes.
        sizes: Ascending.
        works: Name -> function in `scaling_work`, or a wrapper and the function that it takes.
        repeats: Each time is the median of this many.
    """

    title: str
    unit: str
    sizes: tuple[int, ...]
    works: dict[str, str]
    repeats: int = 1


TABLES = {
    "clips": Table(
        "Number of clips",
        "clips",
        (100, 1000, 10_000),
        {
            "reading the lists": "reading_lists",
            "dfer data check": "data_check",
            "dfer eval, tiny model": "evaluation",
            "one epoch, tiny model": "training_epoch",
        },
    ),
    "classes": Table(
        "Number of classes",
        "classes",
        (7, 11, 43),
        {
            "forward pass with texts": "of_classes forward_pass",
            "training step": "of_classes training_step",
            "metrics of 10,000 clips": "metrics",
            "report page": "report_page",
            "picture of K x K cells": "confusion_picture",
        },
        repeats=5,
    ),
    "frames": Table(
        "Frames per clip",
        "frames",
        (8, 16, 32),
        {
            "forward pass, ViT-B/32": "of_frames forward_pass",
            "training step, ViT-B/32": "of_frames training_step",
        },
        repeats=5,
    ),
    "length": Table(
        "Length of a video",
        "seconds",
        (10, 60, 600),
        {"dfer preprocess --fps 2": "preprocess", "dfer predict at 2 fps": "predict"},
    ),
    "processes": Table(
        "Number of processes",
        "processes",
        (1, 2),
        {
            "dfer preprocess --workers": "preprocess_in",
            "reading 10,000 clips": "loading_in",
            "dfer train --devices": "training_on",
        },
    ),
}


@dataclass(frozen=True)
class Cost:
    """The cost of one size.

    Attributes:
        size: The size.
        seconds: Of the work.
        peak_mb: Highest memory of the process tree, preparation included.
        start_mb: Memory of the process once it has imported all modules.
    """

    size: int
    seconds: float
    peak_mb: float
    start_mb: float


def tree_mb(root: int) -> float:
    """Proportional set size of a process and all below it, in MB."""
    total_kb, waiting = 0, [root]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kb += int(line.split()[1])
            for task in (folder / "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended
    return total_kb / 1024


def measure(work: str, size: int, repeats: int, folder: Path) -> Cost:
    """Do the work in its own process and watch its memory."""
    command = [sys.executable, __file__, "--do", work, str(size), str(repeats), str(folder)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()  # it has imported all that it needs
    start_mb = peak_mb = tree_mb(child.pid)
    done = threading.Event()

    def look() -> None:
        nonlocal peak_mb
        while not done.wait(LOOK_SECONDS):
            peak_mb = max(peak_mb, tree_mb(child.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    child.stdin.write("go\n")
    answer = child.stdout.readline()
    done.set()
    watcher.join()
    child.communicate()
    if not answer:
        raise SystemExit(f"{work} at {size} failed")
    return Cost(size, float(answer), peak_mb, start_mb)


def do(work: str, size: int, repeats: int, folder: Path) -> None:
    """The measured process: import, report, wait for the start, prepare, work, report the time."""
    import scaling_work

    wrapper, _, inner = work.partition(" ")
    print("ready", flush=True)
    sys.stdin.readline()
    prepare = getattr(scaling_work, wrapper)
    ready = (prepare(getattr(scaling_work, inner)) if inner else prepare)(size, folder)
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        ready()
        seconds.append(time.perf_counter() - begun)
    print(statistics.median(seconds), flush=True)


def exponents(sizes: list[int], values: list[float], noise: float) -> list[float | None]:
    """Growth between neighbouring sizes; None if either value is lost in noise."""
    return [
        None
        if values[i] < noise or values[i + 1] < noise
        else math.log(values[i + 1] / values[i]) / math.log(sizes[i + 1] / sizes[i])
        for i in range(len(sizes) - 1)
    ]


def judged(costs: list[Cost]) -> tuple[list[str], str]:
    """The exponents of time and memory as text, and whether all are at most linear."""
    sizes = [cost.size for cost in costs]
    of_time = exponents(sizes, [cost.seconds for cost in costs], NOISE_SECONDS)
    beyond = exponents(sizes, [cost.peak_mb - cost.start_mb for cost in costs], NOISE_MB)
    # Memory shared with other processes shifts both; a peak that does not rise is no growth.
    of_memory = [
        None if larger.peak_mb - cost.peak_mb < NOISE_MB else value
        for value, (cost, larger) in zip(beyond, itertools.pairwise(costs), strict=True)
    ]
    words = [
        " ".join("-" if value is None else f"{value:.2f}" for value in found)
        for found in (of_time, of_memory)
    ]
    above = [
        value
        for found in (of_time, of_memory)
        for value, (size, larger) in zip(found, itertools.pairwise(sizes), strict=True)
        if value is not None and (larger / size) ** (value - 1) > SLACK
    ]
    return words, f"no: {max(above):.2f}" if above else "yes"


def print_table(table: Table, found: dict[str, list[Cost]]) -> None:
    """Print as Markdown."""
    sizes = [cost.size for cost in next(iter(found.values()))]
    heads = [f"{size:,}" for size in sizes]
    columns = [f"s at {head}" for head in heads] + [f"MB at {head}" for head in heads]
    print(f"\n**{table.title}** ({table.unit})\n")
    print(f"| work | {' | '.join(columns)} | exponents s | exponents MB | at most linear |")
    print("|---|" + "---:|" * len(columns) + "---|---|---|")
    for name, costs in found.items():
        cells = [f"{cost.seconds:.3g}" for cost in costs] + [f"{c.peak_mb:.0f}" for c in costs]
        (of_time, of_memory), verdict = judged(costs)
        print(f"| {name} | {' | '.join(cells)} | {of_time} | {of_memory} | {verdict} |", flush=True)


def draw(results: dict[str, dict[str, list[Cost]]], path: Path) -> None:
    """Time above, memory below, on logarithmic axes with the line of linear growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    figure, axes = plt.subplots(
        2, len(results), figsize=(4.2 * len(results), 8), squeeze=False, layout="constrained"
    )
    for column, (key, found) in enumerate(results.items()):
        for row, name in enumerate(("seconds", "peak_mb")):
            axis = axes[row][column]
            highest, lowest = 0.0, math.inf
            for number, (work, costs) in enumerate(found.items()):
                sizes = [cost.size for cost in costs]
                values = [getattr(cost, name) for cost in costs]
                axis.plot(sizes, values, "o-", color=f"C{number}", label=work)
                linear = [values[0] * size / sizes[0] for size in sizes]
                axis.plot(sizes, linear, ":", color=f"C{number}", alpha=0.7)
                highest, lowest = max(highest, *values), min(lowest, *values)
            room = 12 if row == 0 else 4  # above the curves, for the legend
            axis.set(xscale="log", yscale="log", ylim=(lowest / 2, highest * room))
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_locator(LogLocator(subs=(1,) if row == 0 else (1, 2, 5)))
            axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.3)
            axis.set_xlabel(TABLES[key].unit)
            if row == 0:
                axis.set_title(TABLES[key].title)
                axis.legend(fontsize=8, loc="upper left")
            if column == 0:
                axis.set_ylabel("seconds" if row == 0 else "peak memory, MB")
    figure.suptitle("How cost grows; dotted: exactly linear from the first point")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure, print tables, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument(
        "--hour", action="store_true", help="videos up to an hour (takes minutes more)"
    )
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--json", type=Path, help="keep results here, and draw those of other runs")
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"no table {', '.join(unknown)}: expected {', '.join(TABLES)}")
    kept = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    results = {
        key: {work: [Cost(**cost) for cost in costs] for work, costs in found.items()}
        for key, found in kept.items()
    }
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory() as name:
        for key in options.tables or TABLES:
            table = TABLES[key]
            sizes = (*table.sizes, 3600) if key == "length" and options.hour else table.sizes
            results[key] = {
                title: [measure(work, size, table.repeats, Path(name)) for size in sizes]
                for title, work in table.works.items()
            }
            print_table(table, results[key])
    if options.json:
        plain = {
            key: {work: [vars(cost) for cost in costs] for work, costs in found.items()}
            for key, found in results.items()
        }
        options.json.write_text(json.dumps(plain, indent=1))
    draw({key: results[key] for key in TABLES if key in results}, options.plot)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--do"]:
        do(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
