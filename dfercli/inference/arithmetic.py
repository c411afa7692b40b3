"""Measure once which type of numbers this machine multiplies fastest; keep it in the cache folder.

No flag of a processor tells. With AVX-512 instructions for bfloat16, AMD CPUs multiply it at twice
the rate of float32, and some Intel CPUs at half of it.
"""

import hashlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.artifacts.cache_folder import cache_folder
from dfercli.artifacts.locks import exclusive
from dfercli.config.kinds import AnswerPrecision
from dfercli.errors import ArtifactError, ConfigError
from dfercli.progress import LogProgress
from dfercli.typed import Range, typed

ARITHMETIC_SCHEMA = "dfer.arithmetic/1"
ENVIRONMENT_NAME = "DFER_PRECISION"
WORTH = 1.2  # bfloat16 rounds; a smaller gain is not worth it
WIDTH, HIDDEN = 768, 3072  # the MLP of ViT-B, most of its work
FEW_TOKENS, TOKENS = 50, 200  # of one image and of four
CLEARLY_SLOWER = 3.0
PAIRS, BUDGET_SECONDS = 5, 0.08
CPU_FACTS = Path("/proc/cpuinfo")
FACTS_OF_A_KIND = ("model name", "cpu family", "model", "stepping", "flags", "Features")

INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")  # the last of ARM

Rate = Annotated[float, Range(1e-6)]


@dataclass(frozen=True)
class Arithmetic:
    """The measurement of a machine.

    Attributes:
        processor: Its name.
        kind: Digest of name, model and instructions; processors of one name may differ in these.
        torch: Version of PyTorch.
        threads: Number of threads that PyTorch uses for one product.
        float32_gflops: Billions of operations per second of one core in products of ViT-B's shapes.
        bfloat16_gflops: The same in bfloat16.
        seconds: How long the measurement took.
        measured_at: Local time, ISO 8601.
    """

    processor: str
    kind: str
    torch: str
    threads: int
    float32_gflops: Rate
    bfloat16_gflops: Rate
    seconds: float
    measured_at: str

    @property
    def ratio(self) -> float:
        """The rate of bfloat16 over that of float32."""
        return self.bfloat16_gflops / self.float32_gflops

    @property
    def prefers_bfloat16(self) -> bool:
        """Whether `auto` takes bfloat16 for large encoders."""
        return self.ratio >= WORTH


def as_asked(precision: AnswerPrecision) -> AnswerPrecision:
    """The requested precision: `DFER_PRECISION` replaces `auto`.

    Raises:
        ConfigError: another word; the known ones are listed.
    """
    known = get_args(AnswerPrecision)
    if precision not in known:
        raise ConfigError(f"precision: expected one of {', '.join(known)}, got {precision!r}")
    if precision != "auto":
        return precision
    word = os.environ.get(ENVIRONMENT_NAME) or "auto"
    for name in known:
        if word == name:
            found: AnswerPrecision = name
            return found
    raise ConfigError(f"{ENVIRONMENT_NAME}: expected one of {', '.join(known)}, got {word!r}")


def prefers_bfloat16() -> bool:
    """Whether this CPU multiplies matrices in bfloat16 at 1.2 times the rate of float32 or more."""
    return arithmetic_here().prefers_bfloat16


def arithmetic_here() -> Arithmetic:
    """The measurement for this machine, PyTorch and number of threads; made if none is kept.

    Another process that asks meanwhile waits for it. A broken file, or one of another machine
    or PyTorch, is replaced by a new measurement.
    """
    return kept_or_measured(cache_folder("machine"), torch.get_num_threads())


def arithmetic_file() -> Path:
    """The file with the measurement of this machine."""
    return _file(cache_folder("machine"), torch.get_num_threads())


def forget() -> None:
    """Forget the kept measurement; the file is then read again."""
    kept_or_measured.cache_clear()
    processor_kind.cache_clear()


@cache
def kept_or_measured(folder: Path, threads: int) -> Arithmetic:
    """The measurement kept in `folder`, else a new one; each process asks once."""
    path = _file(folder, threads)
    kept = _read(path, threads)
    if kept is not None:
        return kept
    try:
        with exclusive(path.with_suffix(".lock")):
            kept = _read(path, threads)  # another process may have measured
            if kept is None:
                kept = measure()
                write_json(path, {"schema": ARITHMETIC_SCHEMA, **asdict(kept)})
    except ArtifactError as error:
        LogProgress().note(f"the measurement of this processor is not kept: {error.message}")
    return kept or measure()


def _file(folder: Path, threads: int) -> Path:
    key = "\n".join((processor_kind(), torch.__version__, str(threads)))
    return folder / f"arithmetic-{_digest(key)}.json"


def _read(path: Path, threads: int) -> Arithmetic | None:
    """The measurement in `path`; None if there is none, or none of this machine."""
    try:
        kept: Arithmetic = typed(Arithmetic, read_json(path), str(path), schema=ARITHMETIC_SCHEMA)
    except ArtifactError:
        return None
    same = (kept.kind, kept.torch, kept.threads) == (processor_kind(), torch.__version__, threads)
    return kept if same else None


def measure() -> Arithmetic:
    """Measure this machine; takes 0.2 s.

    This measures one core by its computing time: on a busy machine several threads would wait for
    each other, and the types would look alike.
    """
    begun, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tokens, seconds = FEW_TOKENS, _seconds_by_turns(FEW_TOKENS)
        if seconds[torch.bfloat16] < CLEARLY_SLOWER * seconds[torch.float32]:
            tokens, seconds = TOKENS, _seconds_by_turns(TOKENS)
    finally:
        torch.set_num_threads(threads)
    operations = 2 * 2 * tokens * WIDTH * HIDDEN
    return Arithmetic(
        processor=processor_name(),
        kind=processor_kind(),
        torch=torch.__version__,
        threads=threads,
        float32_gflops=operations / seconds[torch.float32] / 1e9,
        bfloat16_gflops=operations / seconds[torch.bfloat16] / 1e9,
        seconds=time.monotonic() - begun,
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%S"),
    )


def _seconds_by_turns(tokens: int) -> dict[torch.dtype, float]:
    """Median seconds of an MLP's two products in each type, in turns after one to warm up."""
    works = {dtype: _products(dtype, tokens) for dtype in (torch.float32, torch.bfloat16)}
    taken: dict[torch.dtype, list[float]] = {dtype: [] for dtype in works}
    with torch.inference_mode():
        for work in works.values():
            work()
        while len(taken[torch.float32]) < PAIRS and sum(map(sum, taken.values())) < BUDGET_SECONDS:
            for dtype, work in works.items():
                taken[dtype].append(seconds_of(work, dtype))
    return {dtype: statistics.median(values) for dtype, values in taken.items()}


def _products(dtype: torch.dtype, tokens: int) -> Callable[[], Tensor]:
    x, wide, narrow = (
        torch.ones(shape, dtype=dtype)
        for shape in ((tokens, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN))
    )
    return lambda: F.linear(F.linear(x, wide), narrow)


def seconds_of(work: Callable[[], Tensor], _: torch.dtype) -> float:
    """The computing time of this thread for `work`; tests replace this clock."""
    begun = time.thread_time()
    work()
    return max(time.thread_time() - begun, 1e-9)


def has_int8_instructions() -> bool:
    """Whether this processor has instructions to multiply 8-bit numbers (VNNI, AMX).

    True if its instructions are unknown.
    """
    facts = _facts()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return not flags or any(name in flags for name in INT8_FLAGS)


def processor_name() -> str:
    """The processor's name from the system."""
    return _facts().get("model name") or platform.processor() or platform.machine()


@cache
def processor_kind() -> str:
    """Digest of the processor's model and instructions, which its name does not reveal."""
    facts = _facts()
    known = [facts.get(name, "") for name in FACTS_OF_A_KIND]
    return _digest("\n".join([platform.machine(), *known]))


def _facts() -> dict[str, str]:
    """Linux's description of the first core."""
    if not CPU_FACTS.is_file():
        return {}
    first = CPU_FACTS.read_text().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
