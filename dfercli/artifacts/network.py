"""Whether the network may be used and a server answers, decided within seconds."""

import os
import socket
from urllib.parse import urlsplit

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
"""A download ends where it brings less than `STALL_BYTES` in this time."""
STALL_BYTES = 1 << 18


def is_offline() -> bool:
    """Tell whether `DFER_OFFLINE` forbids the network."""
    return os.environ.get("DFER_OFFLINE", "") not in ("", "0")


def connect(host: str, port: int) -> None:
    """Open a connection to a server and close it again.

    Raises:
        OSError: nobody answers within seconds.
    """
    socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()


def require_server(url: str) -> None:
    """Fail fast if a server cannot be reached; the hub's client would retry for a minute.

    Raises:
        OSError: offline by `DFER_OFFLINE`, or nobody answers.
    """
    from urllib.request import getproxies  # imports a client of HTTP

    if is_offline():
        raise OSError("DFER_OFFLINE is set")
    if not getproxies():  # a proxy resolves names itself
        place = urlsplit(url)
        port = place.port or (80 if place.scheme == "http" else 443)
        connect(place.hostname or "", port)
