"""A process that has imported what `dfer` imports, and forks a `dfer` command for each request.

Importing takes most of a small command's time. The server imports once, computes nothing, starts no
thread and lets go of all that a command would share with it; so a command finds what it finds in a
process of its own: stdout, stderr, environment, arguments, handlers of signals, a session.
"""

import atexit
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from functools import cache
from pathlib import Path

from dfercli.cli.start import leave_at_once

IMPORTS = (
    *("dfercli.cli.app", "dfercli.evaluation.run", "dfercli.prediction.run"),
    *("dfercli.preprocessing.run", "dfercli.training.run", "torch._dynamo"),
)
LONGEST = 1 << 16  # bytes of a request


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # before the line above: the server ends then
    return ours


class Forked:
    """A running command, led by its own session.

    Args:
        arguments: `sys.argv` of the command.
        out: Open file for its stdout; if it is a terminal, that of its session.
        err: Open file for its stderr.
        environment: Its whole environment.
    """

    def __init__(
        self, arguments: list[str], out: int, err: int, environment: dict[str, str]
    ) -> None:
        request = {"arguments": arguments, "folder": os.getcwd(), "environment": environment}
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = [out, err, theirs.fileno()]
            socket.send_fds(_server(), [json.dumps(request).encode()], fds)
        self.pid = int(self._told.recv(20))
        self._code: int | None = None

    def poll(self, seconds: float | None = 0) -> int | None:
        """Its exit code, negative if a signal killed it; None if it still runs after `seconds`."""
        if self._code is None and select.select([self._told], [], [], seconds)[0]:
            self._code = int(self._told.recv(20))
            self._told.close()
        return self._code


def _serve(requests: socket.socket) -> list[str]:
    """Fork a command for each request; return in it, with its arguments."""
    while True:
        request, fds, _, _ = socket.recv_fds(requests, LONGEST, 3)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            break
        for fd in fds:
            os.close(fd)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err, teller = fds
    command = os.fork()
    if command != 0:  # the server has no time to wait for a command's end
        _, ended = os.waitpid(command, 0)
        os.write(teller, str(os.waitstatus_to_exitcode(ended)).encode())
        os._exit(0)
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    if os.isatty(out):
        os.dup2(out, 0)
        fcntl.ioctl(out, termios.TIOCSCTTY, 0)  # the terminal that hangs up this session
    asked = json.loads(request)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    tempfile.tempdir = None
    os.write(teller, str(os.getpid()).encode())
    for fd in fds:
        os.close(fd)
    return list(asked["arguments"])


def _main() -> None:
    answers: list[int] = []
    atexit.register(leave_at_once, answers)  # first, as `start.main` does
    for name in IMPORTS:
        __import__(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a thread does not survive a fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        sys.argv = _serve(requests)
    # What processes that the command starts take over from it.
    globals()["__file__"] = sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    answers.append(sys.modules["dfercli.cli.app"].run(sys.argv[1:]))
    sys.exit(answers[0])


if __name__ == "__main__":
    _main()
