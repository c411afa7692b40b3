"""A loopback server that sends whatever bytes a test gives it, part by part."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Script = Callable[[int], Iterable[bytes]]
"""The bytes to send for a request, by its number from 0."""


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole answer; a `Content-Length` among the headers replaces the true one."""
    lines = [f"HTTP/1.1 {status}", *headers, "Connection: close"]
    if not any(line.lower().startswith("content-length") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def drip(part: bytes, seconds: float = 0.1) -> Iterator[bytes]:
    """The same bytes, over and over."""
    while True:
        yield part
        time.sleep(seconds)


def endless(begin: bytes, part: bytes) -> Iterator[bytes]:
    """Endless bytes, as fast as the client takes them."""
    return itertools.chain([begin], itertools.repeat(part))


@dataclass
class RawServer:
    """Where it listens, the requests it got, and how much it has sent."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    sent: int = 0


@contextmanager
def serve_raw(script: Script, port: int = 0) -> Iterator[RawServer]:
    server = RawServer()

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(1 << 16) or b"\r\n\r\n"
            number = len(server.requests)
            server.requests.append(request)
            for part in script(number):
                connection.sendall(part)
                server.sent += len(part)

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed below
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", port)) as listener:
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
