"""Counts the work of a function in Python bytecodes, which are the same on any machine."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import dfercli

HOUSE = str(Path(dfercli.__file__).parent)


def operations(function: Callable[[], Any]) -> int:
    """How many bytecodes of dfercli's own modules `function` runs; C code is not counted."""
    count = 0

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return local

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(HOUSE):
            return None
        frame.f_trace = local  # Python 3.13 counts a function's first call only with this
        frame.f_trace_opcodes = True
        return local

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # and Python 3.12 only with this
    sys.settrace(enter)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def growth(work: Callable[[int], Callable[[], Any]], small: int = 50, factor: int = 4) -> float:
    """Operations at `factor * small` over those at `small`, divided by `factor`: 1 is linear.

    Args:
        work: Prepares work of a given size and returns the function to count.
        small: The smaller size.
        factor: How many times larger the other size is; quadratic work gives this number.
    """
    return operations(work(factor * small)) / operations(work(small)) / factor
