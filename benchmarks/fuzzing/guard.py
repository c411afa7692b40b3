"""A guard on the system: nothing outside a case's own folders is written, removed or renamed.

It uses Python's audit hooks, which see every such call from Python code, whichever library makes
it. The guard logs a call before it refuses it, as the code under test may swallow the exception. It
does not see calls from C code; for those, `running` checks the files that must not change.

A child process inherits the guard: `inherited/sitecustomize.py` sets it up from the environment
before any other code runs.
"""

import ipaddress
import os
import sys
from collections.abc import Sequence
from typing import Any

WRITABLE = "DFER_FUZZ_WRITABLE"
LOG = "DFER_FUZZ_LOG"
DEVICES = ("/dev/null", "/dev/tty", "/dev/shm/")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events that change the file system: the positions of their paths, and of the folders that
# these may be relative to.
CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "shutil.rmtree": ((0, 1),),
    "shutil.move": ((0, None), (1, None)),
    "shutil.copyfile": ((1, None),),
}
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile", "pty.spawn")


def put_up(writable: Sequence[str], log: str) -> None:
    """From now on, refuse all that this process may not do.

    Args:
        writable: Folders in which files may be written and removed.
        log: File that gets a line for each refusal.
    """
    roots = tuple(os.path.realpath(folder) + os.sep for folder in writable)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    python = os.path.realpath(sys.executable)

    def refuse(event: str, what: object) -> None:
        os.write(handle, f"{event} {what!r}\n".encode("utf-8", "backslashreplace"))
        raise PermissionError(f"refused by the guard: {event} {what!r}")

    def allowed(path: Any, folder: Any) -> bool:
        if isinstance(path, int):  # an open file: the guard saw it being opened
            return True
        path = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        head, tail = os.path.split(os.path.abspath(path))
        real = os.path.join(os.path.realpath(head), tail)
        return (real + os.sep).startswith(roots) or real.startswith(DEVICES)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            # Opening follows a last link, unlike removing.
            if path is not None and flags is not None and flags & WRITES:
                target = path if isinstance(path, int) else os.path.realpath(os.fsdecode(path))
                if not allowed(target, None):
                    refuse(event, path)
        elif event in CHANGES:
            for place, folder in CHANGES[event]:
                path = arguments[place]
                relative_to = None if folder is None else arguments[folder]
                if not allowed(path, relative_to):
                    refuse(event, path)
        elif event in STARTS:
            _look_at_start(event, arguments)
        elif event == "socket.connect":
            _look_at_address(arguments[1])

    def _look_at_start(event: str, arguments: tuple[Any, ...]) -> None:
        program = os.fsdecode(arguments[0]) if arguments[0] is not None else ""
        known = os.path.realpath(program) == python or program == "uname"  # `platform` asks for it
        if event == "os.system" or not known:
            refuse(event, program)

    def _look_at_address(address: Any) -> None:
        if not isinstance(address, tuple):  # a local socket, such as those of multiprocessing
            return
        try:
            loopback = ipaddress.ip_address(address[0]).is_loopback
        except ValueError:
            loopback = address[0] == "localhost"
        if not loopback:
            refuse("socket.connect", address)

    sys.addaudithook(hook)


def from_environment() -> None:
    """Set up the guard with the settings of the parent process."""
    if LOG in os.environ:
        put_up(os.environ[WRITABLE].split(os.pathsep), os.environ[LOG])
