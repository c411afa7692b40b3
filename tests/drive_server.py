"""Google Drive on the loopback: a proxy answers for it over TLS with its own certificate.

gdown has Drive's address built in; environment variables send it here, as to any proxy.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from raw_server import answer

HOSTS = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
Script = Callable[[str, dict[str, str]], Iterable[bytes]]
"""The bytes to send for a path and its request headers."""


@dataclass
class DriveServer:
    """The environment variables that lead to it, and the requests it got."""

    environment: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


def confirmation(action: str = "https://drive.usercontent.google.com/download") -> bytes:
    """The page that asks whether to download a large file without a virus scan."""
    page = (
        "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
        f'<form id="download-form" action="{action}" method="get">'
        '<input type="hidden" name="id" value="ID"><input type="hidden" name="confirm" value="t">'
        '<input type="hidden" name="uuid" value="1-2-3"></form></body></html>'
    )
    return answer(page.encode(), "200 OK", "Content-Type: text/html; charset=utf-8")


def quota_page() -> bytes:
    """Drive's answer, with status 200, for a file that too many have downloaded today."""
    page = (
        "<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>"
        '<p class="uc-error-caption">Sorry, you can&#39;t view or download this file.</p>\n'
        '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file '
        "recently. Please try again later.</p>\n</body></html>"
    )
    return answer(page.encode(), "200 OK", "Content-Type: text/html; charset=utf-8")


def whole_file(content: bytes, headers: dict[str, str], *more: str) -> bytes:
    """A file as Drive sends it, from the requested position."""
    kinds = (
        "Content-Type: application/octet-stream",
        'Content-Disposition: attachment; filename="model.pth"',
        "Accept-Ranges: bytes",
        *more,
    )
    wanted = headers.get("range", "")
    if not wanted:
        return answer(content, "200 OK", *kinds)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    piece = f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}"
    return answer(content[start:], "206 Partial Content", piece, *kinds)


@contextmanager
def serve_drive(folder: Path, script: Script) -> Iterator[DriveServer]:
    """Answer for Drive; write the certificate to `folder`."""
    authority = trustme.CA()
    bundle = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(context)
    server = DriveServer()

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            _read_head(connection)  # CONNECT
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with context.wrap_socket(connection, server_side=True) as secure:
                first, *lines = _read_head(secure).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in lines if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                path = first.split(" ")[1]
                server.requests.append(path)
                for part in script(path, headers):
                    secure.sendall(part)
                with suppress(OSError):
                    secure.unwrap()

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed below
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.environment = {"HTTPS_PROXY": place, "REQUESTS_CA_BUNDLE": str(bundle)}
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1 << 16) or b"\r\n\r\n"
    return head
