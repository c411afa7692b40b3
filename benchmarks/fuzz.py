"""The hunt: dfer's commands on mutated media, artefacts and server answers, N cases by seed.

    python benchmarks/fuzz.py --cases 300
    python benchmarks/fuzz.py --cases 5000 --seed 7 --jobs 2
    python benchmarks/fuzz.py --repeat artefacts:1:42

Each case is one command line in its own process, forked from this one, with limits on time and
memory and a guard on the file system. This process only imports, forks and compares: it starts no
thread and no pool, as neither survives a fork, so seeds and cases are made in processes of their
own. These are faults: a traceback, an exit code that is not ours,
more or less than one line of error, a hang, memory over the bound, a terminal escape in the output,
a formula in a CSV, a script in a page, and any access outside the folders of the case.
"""

import argparse
import gc
import importlib
import json
import multiprocessing
import os
import pkgutil
import random
import shutil
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]
# Before any import: a process with threads does not fork well.
os.environ.update(OMP_NUM_THREADS="1", JE_ARROW_MALLOC_CONF="background_thread:false")

from fuzzing import answers, media  # noqa: E402
from fuzzing.artefacts import artefact_case, copy_seed, sound_case  # noqa: E402
from fuzzing.mutations import VICTIM, change_bytes  # noqa: E402
from fuzzing.running import Case, Running, Verdict  # noqa: E402
from fuzzing.seeds import make_seeds  # noqa: E402

import dfercli  # noqa: E402
from dfercli.descriptions.tokens import token_counter  # noqa: E402

SHARED = HERE.parents[1] / "shared"
GROUPS = ("media", "artefacts", "answers")
TURN = ("artefacts", "media", "artefacts", "media", "artefacts", "answers")
QUICK_TURN = ("artefacts", "media", "artefacts", "artefacts", "answers", "artefacts")
SECONDS = 30.0
FORK = multiprocessing.get_context("fork")
# Without onnxruntime: it starts a thread.
LIBRARIES = (
    *("matplotlib.pyplot", "onnx", "onnxscript", "openai", "pandas"),
    *("pyarrow.parquet", "supervision", "torch", "cv2", "av"),
)
OPTIONAL = ("dfercli.preprocessing.ray_engine",)
POLL_SECONDS = 0.005
Row = dict[str, Any]
"""A verdict as JSON."""


def media_case(name: str, number: int, seeds: Path, folder: Path, *, quick: bool) -> Case:
    """One mutated source through `dfer predict` or `dfer preprocess`."""
    rng = random.Random(name)
    kinds = (*media.KINDS, "shared") if SHARED.is_dir() and not quick else media.KINDS
    kind = kinds[number % len(kinds)]
    place = folder / "in"
    if kind == "shared":
        path, what = _shared(rng, place)
    else:
        path, what = media.mutate_media(rng, kind, seeds / "media", place)
    source = place if rng.random() < 0.2 and kind != "folder" else path
    workers = "1" if rng.random() < 0.01 and not quick else "0"
    end = "0.4" if kind == "shared" else "2"
    options = ["--detector", "haar", "--min-face", "40", "--end", end, "--workers", workers]
    if rng.random() < 0.6:
        arguments = ["predict", str(source), "--checkpoint", str(seeds / "checkpoint")]
        arguments += [*options, "--device", "cpu", "--out", rng.choice(("x.csv", "x.jsonl"))]
        arguments += rng.choice(([], ["--html", "x.html"], ["--video", "x.mp4"], ["--json"]))
    else:
        arguments = ["preprocess", str(source), "--out", "faces", *options]
        arguments += rng.choice(([], [], ["--preview"], ["--fps", "5"], ["--json"]))
    kept = (folder / "outside", seeds / "checkpoint")
    return Case(name, f"media: {kind}", what, tuple(arguments), kept=kept)


def _shared(rng: random.Random, place: Path) -> tuple[Path, str]:
    """A real video or picture with changed bytes."""
    files = sorted([*SHARED.glob("media/videos/*"), *SHARED.glob("media/images/*")])
    file = rng.choice([path for path in files if path.stat().st_size < 3_000_000])
    place.mkdir(parents=True)
    content, done = change_bytes(rng, file.read_bytes())
    (place / file.name).write_bytes(content)
    return place / file.name, f"{file.name}: {done}"


def answers_case(name: str, number: int, seeds: Path, folder: Path, *, quick: bool) -> Case:
    """One `dfer describe` against a server that misbehaves."""
    rng = random.Random(name)
    kinds = answers.KINDS[:-2] if quick else answers.KINDS  # except those that take time
    kind = kinds[number % len(kinds)]
    captions = rng.random() < 0.5
    good = answers.caption_answer() if captions else answers.classes_answer()
    made = (kind, good, folder / "outside")
    serve = partial(_serve, rng.getstate(), *made)
    _, what = answers.hostile_answer(rng, *made)
    options = ["--model", "m", "--timeout", "2", "--max-retries", "1", "--concurrency", "2"]
    copy = folder / "in" / "faces"
    if captions:
        copy_seed(seeds / "faces", copy)
        (copy / "captions.jsonl").unlink()
        arguments = ["describe", str(copy), *options, "--max-requests", "4"]
    else:
        classes = str(seeds / "texts" / "classes.txt")
        arguments = ["describe", "--classes", classes, *options, "--out", "t.json"]

    of = "captions" if captions else "classes"
    kept = (folder / "outside", seeds / "texts")
    return Case(name, f"answers: {kind}", f"{of}: {what}", tuple(arguments), (copy,), kept, serve)


def _serve(state: Any, kind: str, good: str, outside: Path) -> dict[str, str]:
    """Start the server of a case in the case's own process."""
    rng = random.Random()
    rng.setstate(state)
    answer, _ = answers.hostile_answer(rng, kind, good, outside)
    listener = socket.create_server(("127.0.0.1", 0))
    return {
        "OPENAI_BASE_URL": answers.serve_on(listener, answer),
        "OPENAI_API_KEY": "secret-of-the-user",
    }


MAKERS = {
    "media": media_case,
    "artefacts": artefact_case,
    "answers": answers_case,
    "sound": sound_case,
}


def names_of(
    seed: int, count: int, only: str | None, first: int = 0, *, quick: bool = False
) -> Iterator[str]:
    """The names of cases, `group:seed:number`; numbers count up within a group."""
    turns = QUICK_TURN if quick else TURN
    numbers = dict.fromkeys(MAKERS, 0)
    for turn in range(first + count):
        group = only or turns[turn % len(turns)]
        if turn >= first:
            yield f"{group}:{seed}:{numbers[group]}"
        numbers[group] += 1


def make_case(seeds: Path, quick: bool, name: str, folder: Path) -> Case | None:
    """Make a case by its name in a new folder, next to files that must stay as they are."""
    group, _, number = name.split(":")
    victim = folder / "outside" / VICTIM
    victim.mkdir(parents=True)
    (victim / "file.txt").write_text("of the user\n")
    # The same name closer, too: any number of `..` finds something.
    shutil.copytree(victim, folder / VICTIM)
    case = MAKERS[group](name, int(number), seeds, folder, quick=quick)
    if case is None:
        return None
    return replace(case, kept=(*case.kept, folder / VICTIM))


def prepare(folder: Path, *, quick: bool) -> Path:
    """Import all that commands import, for the forked processes, and make the seeds."""
    for module in pkgutil.walk_packages(dfercli.__path__, "dfercli."):
        if module.name not in OPTIONAL:
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    token_counter()
    sys.modules["cv2"].setNumThreads(0)
    warnings.filterwarnings("ignore", category=FutureWarning)  # about TorchScript, once per case
    seeds = folder / "seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    with apart(_make_seeds, folder, quick) as make_them:
        make_them()
    gc.collect()
    gc.freeze()  # else garbage collection in a forked process copies all memory of this one
    return seeds


@contextmanager
def apart(work: Callable[..., Any], *fixed: Any) -> Iterator[Callable[..., Any]]:
    """Call a function in a process of its own, which lives until the block ends.

    Yields:
        Takes further arguments after `fixed`, and returns what the function returns.
    """
    here, there = FORK.Pipe()
    process = FORK.Process(target=_serve_calls, args=(there, work, fixed), daemon=True)
    process.start()
    there.close()

    def call(*arguments: Any) -> Any:
        try:
            here.send(arguments)
            return here.recv()
        except (EOFError, OSError):
            raise SystemExit(f"{work.__name__}{arguments} failed") from None

    try:
        yield call
    finally:
        process.kill()  # it may wait for ever
        process.join()


def _serve_calls(pipe: Connection, work: Callable[..., Any], fixed: tuple[Any, ...]) -> None:
    """Answer calls; after an error the pipe is closed."""
    try:
        while True:
            pipe.send(work(*fixed, *pipe.recv()))
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        pipe.close()


def _make_seeds(folder: Path, quick: bool) -> None:
    os.environ.update(DFER_CACHE=str(folder / "cache"), DFER_OFFLINE="1", HF_HUB_OFFLINE="1")
    make_seeds(folder / "seeds", quick=quick)
    weights = SHARED / "weights" / "yunet_n_640_640.onnx"
    if weights.is_file():
        shutil.copy(weights, folder / "seeds" / "detector.onnx")


def judge(
    names: Sequence[str], seeds: Path, folder: Path, *, jobs: int, seconds: float, quick: bool
) -> Iterator[Verdict]:
    """Run several cases at a time and yield the verdicts as they come."""
    with apart(make_case, seeds, quick) as make:
        yield from _judged(make, names, folder, jobs=jobs, seconds=seconds)


def _judged(
    make: Callable[..., Case | None],
    names: Sequence[str],
    folder: Path,
    *,
    jobs: int,
    seconds: float,
) -> Iterator[Verdict]:
    waiting = list(reversed(names))
    running: list[Running] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop()
            place = folder / name.replace(":", "-")
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            case = make(name, place)
            if case is not None:
                running.append(Running(case, place, seconds))
                running[-1].start()
        for one in list(running):
            verdict = one.poll()
            if verdict is not None:
                running.remove(one)
                yield verdict
                if not verdict.faults:
                    shutil.rmtree(one.folder, ignore_errors=True)
        time.sleep(POLL_SECONDS)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table by kind: tried, refused, accepted, faults."""
    lines = [
        "| mutated | tried | refused in one line | accepted | faults | most memory | longest |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds = sorted({row["kind"] for row in rows})
    for kind in [*kinds, "all"]:
        of = [row for row in rows if kind in (row["kind"], "all")]
        good = [row for row in of if not row["faults"]]
        refused = sum(row["code"] != 0 for row in good)
        numbers = (len(of), refused, len(good) - refused, len(of) - len(good))
        memory, longest = (max(row[name] for row in of) for name in ("grown_mb", "cpu_seconds"))
        cells = " | ".join(map(str, numbers))
        lines.append(f"| {kind} | {cells} | {memory:.0f} MB | {longest:.1f} s |")
    computed = sum(row["cpu_seconds"] for row in rows)
    return "\n".join(
        [*lines, "", f"{len(rows)} cases, {computed / len(rows):.2f} s of computing each"]
    )


def main() -> int:
    """Run cases; the exit code is 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument(
        "--first", type=int, default=0, help="skip this many cases, to run in pieces"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[*GROUPS, "sound"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of computing per case")
    parser.add_argument("--quick", action="store_true", help="skip slow seeds and commands")
    parser.add_argument(
        "--repeat", nargs="+", metavar="CASE", help="run these cases and print everything"
    )
    parser.add_argument("--keep", type=Path, help="folder for the seeds and faulty cases")
    parser.add_argument("--json", type=Path, help="append all verdicts here as JSON lines")
    parser.add_argument("--table", nargs="+", type=Path, help="only print the table of such files")
    arguments = parser.parse_args()
    if arguments.table:
        lines = [line for path in arguments.table for line in path.read_text().splitlines()]
        print(table([json.loads(line) for line in lines]))
        return 0
    names = arguments.repeat or list(
        names_of(
            arguments.seed,
            arguments.cases,
            arguments.only,
            arguments.first,
            quick=arguments.quick,
        )
    )
    with tempfile.TemporaryDirectory(prefix="dfer-fuzz-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        seeds = prepare(folder, quick=arguments.quick)
        print(f"seeds in {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        rows = []
        bounds = {name: getattr(arguments, name) for name in ("jobs", "seconds", "quick")}
        for verdict in judge(names, seeds, folder / "cases", **bounds):
            rows.append(_as_row(verdict))
            if arguments.json:
                with arguments.json.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
            if verdict.faults or arguments.repeat:
                _tell(verdict, whole=bool(arguments.repeat))
    print(table(rows))
    return int(any(row["faults"] for row in rows))


def _as_row(verdict: Verdict) -> Row:
    """A verdict as JSON."""
    row = {name: getattr(verdict, name) for name in verdict.__dataclass_fields__}
    case = row.pop("case")
    return {"case": case.name, "kind": case.kind, "what": case.what, **row}


def _tell(verdict: Verdict, *, whole: bool) -> None:
    case = verdict.case
    print(f"\n{case.name}  {case.kind}  {case.what!r}")
    print(f"  dfer {' '.join(case.arguments)!r}")
    for fault in verdict.faults:
        print(f"  FAULT {fault!r}")
    if whole:
        print(f"  code {verdict.code}, {verdict.seconds:.1f} s, {verdict.grown_mb:.0f} MB")
        print("  " + "\n  ".join(repr(line)[1:-1] for line in verdict.said.splitlines()))
    else:
        print(f"  again: python benchmarks/fuzz.py --repeat {case.name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
