"""What the start of a worker that finds faces costs: seconds of processor time, medians by turns.

Begins a worker as `dfer predict` does, from a script like that of the installed command, and waits
until it is ready for its first source; beside it Python's bare start, NumPy, OpenCV and PyAV alone.
Only the worker's own time counts, user and system, so that other work on the machine matters less;
with bytecode, as an installed package has it, whatever PYTHONDONTWRITEBYTECODE says.

    python benchmarks/worker_start.py [--beside CHECKOUT] [--runs 9]

`--beside` measures another checkout of dfer by turns with this one. What is imported, and how long
each module takes: `python -X importtime -c "import dfercli.preprocessing.source_worker"`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
BARE = "Python's bare start"
ALONE = {
    BARE: "pass",
    "and NumPy": "import numpy",
    "and OpenCV": "import numpy, cv2",
    "and PyAV": "import numpy, cv2, av",
}
# What stands around it is what pip writes of `[project.scripts]`: each worker imports it again.
SCRIPT = """
import sys
from {module} import {function}

if __name__ == "__main__":
    import resource
    from dfercli.config import PreprocessConfig
    from dfercli.faces.build import DetectorChoice
    from dfercli.faces.stream_maker import StreamSetting
    from dfercli.preprocessing.source_worker import WorkerSetting, set_up_held
    from dfercli.preprocessing.time_grid import TimeGrid
    from dfercli.preprocessing.worker_pool import WorkerPool

    choice = DetectorChoice("haar", None, None, "cpu")
    setting = WorkerSetting(PreprocessConfig(), choice, 1, StreamSetting(()), TimeGrid(2.0, 16))
    with WorkerPool(set_up_held, setting, workers=1, time_limit=60) as pool:
        next(pool.run([None]))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(used.ru_utime + used.ru_stime)
"""


def script_of(checkout: Path, folder: Path) -> Path:
    """The script of the command of a checkout."""
    lines = (checkout / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    (entry,) = (line.split('"')[1] for line in lines if line.startswith("dfer = "))
    module, _, function = entry.partition(":")
    script = folder / checkout.name / "dfer"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(module=module, function=function), encoding="utf-8")
    return script


def environment_of(checkout: Path, folder: Path) -> dict[str, str]:
    """The environment that imports dfer from a checkout; bytecode lies in the folder."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    paths = [str(checkout), os.environ.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}


def worker_seconds(script: Path, environment: dict[str, str]) -> float:
    """Processor time of a worker until it is ready."""
    command = [sys.executable, str(script)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(done.stdout)


def seconds_alone(code: str, environment: dict[str, str]) -> float:
    """Processor time of a process that does this alone."""
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, code
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", type=Path, help="Another checkout.")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    checkouts = [HERE, *([options.beside.resolve()] if options.beside else [])]
    seconds: dict[str, list[float]] = {}
    print(f"load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory(prefix="dfer-start-") as name_of_folder:
        folder = Path(name_of_folder)
        scripts = {checkout: script_of(checkout, folder) for checkout in checkouts}
        own = environment_of(HERE, folder)
        for number in range(options.runs + 1):  # the first is to warm up
            for checkout, script in scripts.items():
                took = worker_seconds(script, environment_of(checkout, folder))
                if number:
                    seconds.setdefault(f"a worker of {checkout.name}", []).append(took)
            for name, code in ALONE.items():
                took = seconds_alone(code, own)
                if number:
                    seconds.setdefault(name, []).append(took)
    for name, values in seconds.items():
        median, least, most = statistics.median(values), min(values), max(values)
        print(f"{median:6.3f} s ({least:.3f} to {most:.3f})  {name}")
    bare = statistics.median(seconds[BARE])
    beside = statistics.median(seconds[f"a worker of {HERE.name}"]) - bare
    print(f"imports and set-up of a worker: {beside:.3f} s beside Python's bare start")


if __name__ == "__main__":
    main()
