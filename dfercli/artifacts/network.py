"""Whether the network may be used, through which proxy, and whether a server answers in seconds."""

import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
"""A download ends where it brings less than `STALL_BYTES` in this time."""
STALL_BYTES = 1 << 18


def is_offline() -> bool:
    """Tell whether `DFER_OFFLINE` forbids the network."""
    return os.environ.get("DFER_OFFLINE", "") not in ("", "0")


@dataclass(frozen=True)
class Proxy:
    """A proxy of the environment.

    Attributes:
        variable: The variable that names it, such as HTTPS_PROXY.
        host: Its host.
        port: Its port.
    """

    variable: str
    host: str
    port: int


PROXY_PORTS = {"https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}


def proxy_of(url: str) -> Proxy | None:
    """The proxy that requests to an address go through; None if they go straight there."""
    from urllib.request import getproxies, proxy_bypass  # imports a client of HTTP

    place, known = urlsplit(url), getproxies()
    kind = next((name for name in (place.scheme, "all") if known.get(name)), None)
    if kind is None or proxy_bypass(place.hostname or ""):
        return None
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    variable = next((name for name in names if os.environ.get(name)), "the system's settings")
    address = known[kind] if "://" in known[kind] else f"http://{known[kind]}"
    try:
        parts = urlsplit(address)
        port = parts.port or PROXY_PORTS.get(parts.scheme, 80)
    except ValueError:
        return Proxy(variable, "?", 0)
    return Proxy(variable, parts.hostname or "?", port)


def blamed(reason: str, url: str) -> str:
    """Why a server was not reached, with the proxy on the way as a likely cause.

    The proxy's user name and password are left out.
    """
    proxy = proxy_of(url)
    if proxy is None or proxy.variable in reason:
        return reason
    way = f"through the proxy {proxy.host} of {proxy.variable}, which may be wrong"
    return ", ".join(filter(None, (reason, way)))


def connect(host: str, port: int) -> None:
    """Open a connection to a server and close it again.

    Raises:
        OSError: nobody answers within seconds.
    """
    socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()


def require_server(url: str) -> None:
    """Fail fast if a server, or the proxy before it, cannot be reached.

    The hub's client would retry for a minute.

    Raises:
        OSError: offline by `DFER_OFFLINE`, or nobody answers.
    """
    if is_offline():
        raise OSError("DFER_OFFLINE is set")
    proxy = proxy_of(url)
    if proxy is None:
        place = urlsplit(url)
        connect(place.hostname or "", place.port or (80 if place.scheme == "http" else 443))
        return
    try:
        connect(proxy.host, proxy.port)  # it resolves names itself
    except OSError as error:
        raise OSError(blamed(str(error), url)) from error
