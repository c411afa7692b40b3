"""The work of one source, isolated so that its faults do not affect other sources.

A user's error is a `DferError` and passes. Anything else is a bug, which becomes a `Crash`: a value
that passes between processes, with its traceback as text. The set-up for all sources (model,
detector, options) is outside of this; a bug there ends the command.
"""

import errno
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dfercli.errors import DferError, UnwritableError

ResultT = TypeVar("ResultT")

MOST_LETTERS = 300
PACKAGE = Path(__file__).parent
# The system refuses to write, whatever the source: this ends the work for all sources.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Crash:
    """An unexpected exception.

    Attributes:
        reason: Its kind and message, and where it happened, in one line.
        traceback: As Python prints it.
    """

    reason: str
    traceback: str


class SetUpError(RuntimeError):
    """A bug in the set-up for all sources, maybe in another process.

    Args:
        crash: What happened there.
    """

    def __init__(self, crash: Crash) -> None:
        super().__init__(f"{crash.reason}\n\nThere:\n{crash.traceback}")


def attempt(work: Callable[[], ResultT]) -> ResultT | Crash:
    """Do the work of one source; an unexpected exception becomes a `Crash`.

    Raises:
        DferError: one that the work raised, or what it says of a full or read-only disk.
    """
    try:
        return work()
    except DferError:
        raise
    except Exception as error:  # one source must not end the others; the caller logs it
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            where = f" {error.filename}" if error.filename else ""
            raise UnwritableError(f"cannot write{where}: {error.strerror}") from error
        return _crash(error)


def _crash(error: Exception) -> Crash:
    message = " ".join(str(error).split())
    kind = type(error).__name__
    reason = f"{kind}: {message}" if message else kind
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if PACKAGE in Path(frame.filename).parents and frame.filename != __file__
    ]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return Crash(reason[:MOST_LETTERS] + where, "".join(traceback.format_exception(error)))
