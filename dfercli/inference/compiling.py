"""Compile a model on a CPU if enough work waits to pay for it.

Compiling (`torch.compile`) takes about a minute and then saves some of the time. Measurements
during the work decide; a model that turns out no faster goes on uncompiled.
"""

import os
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from torch import nn

from dfercli.inference.devices import is_large
from dfercli.models.method import Method
from dfercli.torch_private import run_as_written

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # slow to import, and not needed to predict

COMPILERS = ("g++", "clang++", "c++")


@dataclass(frozen=True)
class Compiling:
    """The known cost and gain of compiling; measured on two cores, see `benchmarks/`.

    Attributes:
        costs: Seconds.
        saves: Share of the time of the work.
    """

    costs: float
    saves: float


FORWARD, TRAINING = Compiling(45.0, 0.15), Compiling(120.0, 0.12)
WORTH = 2.0  # gain over cost of compiling, both estimates
FEW, MANY = 3, 5  # pieces of work to measure the speed before, and after


class LongWork:
    """Compiles an image encoder once that should pay, and undoes it if it did not.

    Args:
        encoder: Compiled in place; its weights keep their names.
        note: Gets one line about what happens.
        expected: What compiling costs and saves.
        what: The kind of waiting items, such as `windows`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        note: Callable[[str], None],
        expected: Compiling,
        what: str,
    ) -> None:
        self._encoder = encoder
        self._note = note
        self._expected = expected
        self._what = what
        self._before: list[float] = []
        self._after: list[float] = []
        self._stage = "measuring"

    def done(self, items: int, seconds: float, waiting: int) -> None:
        """Record finished work, and compile before the next if that pays.

        Args:
            items: Number of finished items.
            seconds: Their time.
            waiting: Number of items known to come.
        """
        if self._stage == "measuring":
            self._before.append(seconds / max(1, items))
            if len(self._before) > FEW:  # the first one warms up
                self._decide(waiting)
        elif self._stage == "compiled":
            self._after.append(seconds / max(1, items))
            if len(self._after) > MANY:
                self._judge()

    def _decide(self, waiting: int) -> None:
        each = median(self._before[1:])
        saved = self._expected.saves * each * waiting
        if saved < WORTH * self._expected.costs:
            return
        lacking = what_compiling_lacks()
        if lacking is not None:
            self._stage = "over"
            self._note(f"not compiled: {lacking}")
            return
        self._stage = "compiled"
        self._note(
            f"about {waiting} {self._what} wait, {each * waiting / 60:.0f} minutes: compiling the "
            f"image encoder, about {self._expected.costs:.0f} s (--no-compile skips this)"
        )
        compile_in_place(self._encoder)

    def _judge(self) -> None:
        self._stage = "over"
        before, after = median(self._before[1:]), median(self._after[1:])
        if after >= before:
            run_as_written(self._encoder)
            self._note("it is no faster when compiled: going on as before")


def for_windows(
    encoder: nn.Module | None, compiles: bool | None, note: Callable[[str], None]
) -> LongWork | None:
    """The decision for `dfer predict`; None if there is nothing to decide.

    Args:
        encoder: The image encoder, if it may be compiled.
        compiles: The user's choice; None lets the work decide.
        note: Gets one line about what happens.
    """
    if encoder is None:
        if compiles:
            note("not compiled: only large models in PyTorch on a CPU are")
        return None
    if compiles:
        lacking = what_compiling_lacks()
        if lacking is None:
            compile_in_place(encoder)
        else:
            note(f"not compiled: {lacking}")
    return None if compiles is not None else LongWork(encoder, note, FORWARD, "windows")


def for_steps(
    module: Method, compiles: bool | None, fabric: "Fabric", note: Callable[[str], None]
) -> LongWork | None:
    """The decision for `dfer train`, as `for_windows`; several processes must agree."""
    is_alone = fabric.device.type == "cpu" and fabric.world_size == 1
    if compiles is not None or not is_alone or not is_large(module):
        return None
    return LongWork(module.clip.visual, note, TRAINING, "steps")


def compile_in_place(module: nn.Module) -> None:
    """Compile a module in place; its weights keep their names."""
    module.compile(dynamic=True)


def what_compiling_lacks() -> str | None:
    """What this machine lacks to compile on a CPU, as text; None if nothing."""
    named = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([named] if named else COMPILERS)):
        return f"there is no C++ compiler here ({named or ', '.join(COMPILERS)})"
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").is_file():
        return f"the headers of Python are not here ({headers}/Python.h)"
    return None
