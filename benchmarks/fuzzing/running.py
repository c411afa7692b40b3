"""Runs one case in its own process within bounds, and finds its faults."""

import csv
import hashlib
import io
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing import guard

CLEAN_CODES = (0, 2, 3, 4, 5)
MEMORY_MB = 1200  # by which a case may exceed the process it was forked from
HARD_MEMORY_GB = 6  # of addresses; for memory that grows faster than it can be watched
BUG = re.compile(r"\bTraceback \(most recent call last\)|(^|[\s|:])bug: ", re.MULTILINE)
# Control characters except newline and tab, and those that reverse the direction of text.
ESCAPES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FORMULA = re.compile(r"[=+\-@\t\r]")
SCRIPT = "<script>fuzz("
WAITS = 3  # times the computing limit: how long a process may sleep
LONGEST_STEP = 1.0  # of sleep, in seconds, between two looks: a machine may stand still itself
INHERITED = Path(__file__).parent / "inherited"


@dataclass(frozen=True)
class Case:
    """A command line over mutated input.

    Attributes:
        name: `kind:seed:number`, which recreates it.
        kind: Of the mutated files.
        what: The mutation in a few words.
        arguments: Of `dfer`.
        writable: Folders besides the case's own ones that the command may write into.
        kept: Files and whole folders that must exist unchanged afterwards.
        serve: Starts a server in the process of the case and returns additions to the
            environment.
    """

    name: str
    kind: str
    what: str
    arguments: tuple[str, ...]
    writable: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    serve: Callable[[], dict[str, str]] | None = None


@dataclass(frozen=True)
class Verdict:
    """The outcome of a case.

    Attributes:
        case: The case.
        code: Its exit code; negative for a signal.
        seconds: How long it took.
        cpu_seconds: Its processor time.
        grown_mb: Peak memory above that at its start.
        faults: Its forbidden effects; empty if all is well.
        said: The last lines that it printed on stderr.
    """

    case: Case
    code: int
    seconds: float
    cpu_seconds: float
    grown_mb: float
    faults: tuple[str, ...]
    said: str


@dataclass
class Running:
    """A case with a running process; `poll` it until it gives the verdict."""

    case: Case
    folder: Path
    seconds_limit: float  # of computing
    pid: int = 0
    begun: float = 0.0
    base_kb: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    stopped: str = ""
    slept: float = 0.0
    looked: float = 0.0

    def start(self) -> None:
        """Fork the process of the case.

        Raises:
            RuntimeError: this process has threads, whose locks the new one would wait for.
        """
        if len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError("a process with threads must not fork cases")
        for name in ("out", "tmp", "home", "cache"):
            (self.folder / name).mkdir(exist_ok=True)
        self.kept = _digests(self.case.kept)
        self.begun = self.looked = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be(self.case, self.folder)
        self.base_kb = _resident_kb(self.pid)

    def poll(self) -> Verdict | None:
        """The verdict, or None while the process runs within its bounds."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid == 0:
            self._stop_at_bounds()
            return None
        code = os.waitstatus_to_exitcode(status)
        _kill_group(self.pid)  # children that it left behind
        peak = max(usage.ru_maxrss - self.base_kb, 0) / 1024
        return self._judge(code, usage.ru_utime + usage.ru_stime, peak)

    def _is_finding(self, code: int) -> bool:
        """Whether the exit code is the answer: `dfer data check` prints faults and exits with 3."""
        return code == 3 and self.case.arguments[:2] == ("data", "check")

    def _stop_at_bounds(self) -> None:
        if self.stopped:
            return
        now = time.monotonic()
        step, self.looked = now - self.looked, now
        computed, sleeps = _cpu_seconds_and_sleep(self.pid)
        self.slept += min(step, LONGEST_STEP) * sleeps
        if computed > self.seconds_limit or self.slept > WAITS * self.seconds_limit:
            self.stopped = f"hang: computed for {computed:.1f} s, slept for {self.slept:.0f} s"
        elif (_resident_kb(self.pid) - self.base_kb) / 1024 > MEMORY_MB:
            self.stopped = f"memory: grew over {MEMORY_MB} MB"
        if self.stopped:
            _kill_group(self.pid)

    def _judge(self, code: int, cpu_seconds: float, grown: float) -> Verdict:
        out, err = (_text(self.folder / name) for name in ("stdout", "stderr"))
        refused = _text(self.folder / "guard")
        faults = [self.stopped] if self.stopped else []
        if not self.stopped:
            if code < 0:
                faults.append(f"died of {signal.Signals(-code).name}")
            elif code not in CLEAN_CODES:
                faults.append(f"exit code {code}: {_last_line(err)}")
            elif BUG.search(out + err):
                faults.append(f"a bug was told: {_bug_line(out + err)}")
            elif code and _errors(err) != 1 and not self._is_finding(code):
                faults.append(f"exit code {code} with {_errors(err)} lines of error:")
            if grown > MEMORY_MB:
                faults.append(f"memory: grew by {grown:.0f} MB")
            if code and self.case.kind.startswith("sound") and not self._is_finding(code):
                faults.append(f"exit code {code} over what is sound: {_last_line(err)}")
        if found := ESCAPES.search(out + err):
            faults.append(f"terminal escape {found[0]!r} in the output")
        if refused:
            faults.append(f"outside its folder: {refused.splitlines()[0]}")
        after = _digests(self.case.kept)
        faults += [f"gone or changed: {path}" for path in self.kept if after.get(path) is None][:1]
        faults += [
            f"gone or changed: {path}"
            for path, digest in self.kept.items()
            if after.get(path) not in (None, digest)
        ][:1]
        faults += _faults_of_files(self.folder / "out")
        said = "\n".join(err.splitlines()[-25:])
        seconds = time.monotonic() - self.begun
        return Verdict(self.case, code, seconds, cpu_seconds, grown, tuple(faults), said)


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a case's process: only its own folders, and no network."""
    return {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "DFER_CACHE": str(folder / "cache"),
        "DFER_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "home" / "hf"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def writable_of(case: Case, folder: Path) -> list[str]:
    """The folders that a case may write into."""
    own = (folder / name for name in ("out", "tmp", "home", "cache"))
    return [str(path) for path in (*own, *case.writable)]


def _be(case: Case, folder: Path) -> None:
    """Become the process of a case; never return."""
    code = 1
    try:
        os.setpgid(0, 0)
        _take_output(folder)
        os.environ.update(environment_of(folder))
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DFER_DATA"):
            os.environ.pop(name, None)
        if case.serve is not None:
            os.environ.update(case.serve())
        os.chdir(folder / "out")
        import tempfile

        tempfile.tempdir = str(folder / "tmp")
        # Its children set up the guard themselves.
        writable = writable_of(case, folder)
        os.environ[guard.WRITABLE] = os.pathsep.join(writable)
        os.environ[guard.LOG] = str(folder / "guard")
        path = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(INHERITED), path)))
        addresses = _addresses_bytes() + HARD_MEMORY_GB * 2**30
        resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**30, 2 * 2**30))
        guard.put_up(writable, str(folder / "guard"))
        from dfercli.cli.app import run

        code = run(list(case.arguments))
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:  # noqa: BLE001
        # The verdict judges it, whatever it is.
        traceback.print_exc()
        code = 1
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _take_output(folder: Path) -> None:
    """Redirect output to files, with Python's default error handlers."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", "strict")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace")


def _addresses_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _resident_kb(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has just ended
        return 0
    return pages * resource.getpagesize() // 1024


def _cpu_seconds_and_sleep(pid: int) -> tuple[float, bool]:
    """The processor time of a process, and whether it waits for something else than a processor."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0, False
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), fields[0] == "S"


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # the group appears a moment after the process
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""


def _errors(text: str) -> int:
    return sum(line.startswith("error: ") for line in text.splitlines())


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"


def _bug_line(text: str) -> str:
    if "Traceback (most" in text:
        return _last_line(text[text.index("Traceback (most") :])
    return next(line for line in text.splitlines() if BUG.search(line))[:300]


def _digests(paths: tuple[Path, ...]) -> dict[str, str]:
    """Checksums of files and of all files in folders."""
    found = {}
    for path in paths:
        files = sorted(entry for entry in path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
            elif file.is_dir():
                found[str(file)] = "a folder"
    return found


def _faults_of_files(out: Path) -> list[str]:
    """Cells that a spreadsheet would evaluate, and scripts that a browser would run."""
    faults = []
    for path in sorted(out.rglob("*.csv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            cells = (cell for row in csv.reader(file) for cell in row)
            bad = next((c for c in cells if FORMULA.match(c) and not _is_number(c)), None)
        if bad is not None:
            faults.append(f"a formula in {path.name}: {bad[:60]!r}")
    for path in sorted(out.rglob("*.html")):
        if SCRIPT in path.read_text(encoding="utf-8", errors="replace"):
            faults.append(f"a script in {path.name}")
    return faults


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
