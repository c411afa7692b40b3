"""`dfer data get`: plan what to fetch, and fetch it."""

import shlex
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Lock

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.own_outputs import check_place
from dfercli.config import GetConfig
from dfercli.data.open_sets import RAW_SETS
from dfercli.data.raw_sets import RawSet, find_takes, is_lfs_pointer
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.names import inside
from dfercli.open_data.unpack import require_room, unpack
from dfercli.open_data.zenodo import Patience, RecordFile, fetch_file, read_record
from dfercli.progress import Progress, Task
from dfercli.typed import typed

AT_ONCE = 3
FETCHED = "fetched"
FETCHED_SCHEMA = "dfer.fetched/1"


@dataclass(frozen=True)
class Plan:
    """The plan of a `dfer data get`.

    Attributes:
        raw_set: The data set.
        root: The target folder.
        files: The files to fetch.
        num_done: Files that lie there already.
        num_bytes: Of `files`.
    """

    raw_set: RawSet
    root: Path
    files: tuple[RecordFile, ...]
    num_done: int

    @property
    def num_bytes(self) -> int:
        """The files to fetch, as text."""
        return sum(file.size for file in self.files)

    def lines(self) -> list[str]:
        """The plan as text: size, place and licence."""
        done = f" ({self.num_done} of them are there)" if self.num_done else ""
        return [
            f"{self.raw_set.title}: {len(self.files) + self.num_done} archives{done}, "
            f"{self.num_bytes / 1e9:.2f} GB to fetch into {self.root}",
            f"licence: {self.raw_set.licence}",
        ]


def wanted_set(config: GetConfig) -> tuple[RawSet, Path]:
    """The requested data set and its folder: `--root`, else `data/<name>`.

    Raises:
        ConfigError: no such data set.
    """
    raw_set = RAW_SETS.get(config.dataset.lower())
    if raw_set is None:
        raise ConfigError(
            f"dfer data get knows {', '.join(RAW_SETS)}, got {config.dataset!r}",
            hint="the owners of DFEW, FERV39k and MAFW give them out after a signed form",
        )
    root = config.root or Path("data") / raw_set.name
    check_place("--root", root, "folder")
    return raw_set, root


def plan(config: GetConfig, progress: Progress) -> Plan:
    """Find out what to fetch, without writing anything.

    Raises:
        ConfigError: no such data set, one of git LFS, or actors that it does not have.
        ArtifactError: too little room, or a record that is broken.
        ServiceError: the server does not answer.
    """
    raw_set, root = wanted_set(config)
    if raw_set.zenodo is None:
        raise ConfigError(
            f"{raw_set.title} comes through git LFS", hint=own_steps(raw_set, root)[0]
        )
    names = [raw_set.zenodo.archive(subject) for subject in _subjects(raw_set, config.actors)]
    record = raw_set.zenodo.number
    there = {file.key: file for file in read_record(record, Patience(progress.note))}
    absent = [name for name in names if name not in there]
    if absent:
        raise ArtifactError(f"record {record} of Zenodo has no {', '.join(absent)}")
    files = [there[name] for name in names]
    missing = tuple(file for file in files if not _is_done(root, file))
    found = Plan(raw_set, root, missing, len(files) - len(missing))
    # Each archive stays beside its unpacked files until these are complete.
    largest = sorted((file.size for file in missing), reverse=True)[:AT_ONCE]
    require_room(root, found.num_bytes + sum(largest), raw_set.title)
    return found


def run(wanted: Plan, progress: Progress) -> int:
    """Fetch and unpack the files of a plan; return how many were unpacked.

    A partial archive is resumed; an unpacked one is not fetched again.

    Raises:
        ArtifactError: a wrong MD5, a hostile archive, or the system refuses a write.
        ServiceError: the server does not answer.
    """
    stop = Event()

    def wait(seconds: float) -> None:
        if stop.wait(seconds):
            raise _StoppedError

    patience = Patience(progress.note, wait)
    with (
        exclusive(wanted.root / ".lock", busy=f"{wanted.root} is being fetched"),
        progress.task("Fetching (MB)", total=wanted.num_bytes / 1e6) as task,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        megabytes = _Megabytes(task, stop)
        jobs = [
            pool.submit(_fetch_and_unpack, wanted, file, megabytes, patience)
            for file in wanted.files
        ]
        try:
            wait_for(jobs, return_when=FIRST_EXCEPTION)
            return sum(job.result() for job in jobs if job.done())
        finally:
            stop.set()  # the others end at their next bytes
            pool.shutdown(wait=True, cancel_futures=True)


class _StoppedError(Exception):
    """Another archive failed, or the user stopped all."""


class _Megabytes:
    """Adds up the reports of several downloads."""

    def __init__(self, task: Task, stop: Event) -> None:
        self._task = task
        self._stop = stop
        self._lock = Lock()
        self._had: dict[str, int] = {}

    def of(self, name: str, num_bytes: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        with self._lock:
            more = num_bytes - self._had.get(name, 0)
            self._had[name] = num_bytes
            self._task.advance(more / 1e6)


def _fetch_and_unpack(
    wanted: Plan, file: RecordFile, megabytes: _Megabytes, patience: Patience
) -> int:
    assert wanted.raw_set.zenodo is not None
    archive = inside(wanted.root, file.key)
    fetch_file(
        wanted.raw_set.zenodo.number,
        file,
        archive,
        patience,
        lambda there, total: megabytes.of(file.key, there),
    )
    suffixes, read_name = wanted.raw_set.suffixes, wanted.raw_set.read_name
    names = unpack(
        archive,
        wanted.root,
        lambda name: name.lower().endswith(suffixes) and read_name(Path(name).stem) is not None,
    )
    sizes = {name: inside(wanted.root, name).stat().st_size for name in names}
    write_json(_record_of(wanted.root, file), asdict(_Fetched(FETCHED_SCHEMA, file.md5, sizes)))
    archive.unlink()
    return len(names)


@dataclass(frozen=True)
class _Fetched:
    """The files unpacked from an archive."""

    schema: str
    md5: str
    sizes: dict[str, int]


def _record_of(root: Path, file: RecordFile) -> Path:
    return inside(root, FETCHED, f"{file.key}.json")


def _is_done(root: Path, file: RecordFile) -> bool:
    """Tell whether an archive was unpacked, and its files still lie there."""
    path = _record_of(root, file)
    if not path.is_file():
        return False
    fetched: _Fetched = typed(_Fetched, read_json(path), str(path), schema=FETCHED_SCHEMA)
    places = {inside(root, name): size for name, size in fetched.sizes.items()}
    return fetched.md5 == file.md5 and all(
        place.is_file() and place.stat().st_size == size for place, size in places.items()
    )


def _subjects(raw_set: RawSet, actors: str) -> list[str]:
    """The subjects in `1-3,7`; all if it is empty."""
    subjects = [subject for fold in raw_set.folds for subject in fold]
    if not actors:
        return subjects
    chosen: list[int] = []
    for part in actors.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise ConfigError(f"--actors takes numbers such as 1-3,7, got {actors!r}")
        if not 1 <= int(first) <= int(last) <= len(subjects):
            raise ConfigError(f"{raw_set.name} has the actors 1 to {len(subjects)}, got {part}")
        chosen += range(int(first), int(last) + 1)
    return [subjects[number - 1] for number in dict.fromkeys(chosen)]


def own_steps(raw_set: RawSet, root: Path) -> tuple[str, list[str]]:
    """The commands for a data set that comes through git LFS, and its missing files.

    Returns:
        The commands, one per line, and the names of videos that are not there or only as pointers.
    """
    gone = [take.key for take in raw_set.expected() if take.left_out is None]
    lines, place = ["git lfs install"], shlex.quote(str(root))
    if root.is_dir():
        with suppress(DataError):  # no video at all: all are missing
            found = find_takes(raw_set, root).takes
            there = {take.key for take, path in found if not is_lfs_pointer(path)}
            gone = [key for key in gone if key not in there]
    else:
        lines.append(f"GIT_LFS_SKIP_SMUDGE=1 git clone {raw_set.repository} {place}")
    lines.append(f"git -C {place} lfs pull --include VideoFlash")
    return "\n".join(lines), gone
