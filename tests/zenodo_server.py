"""A loopback Zenodo with one record; it can fail as servers do."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Zenodo:
    """What the server has and how it behaves.

    Attributes:
        files: Name -> content.
        md5: Name -> MD5 in the record, where it differs from that of the content.
        refusals: Statuses (with headers) that the next requests for a file get.
        cut_at: End the next file after so many bytes.
        requests: (path, Range header) of each request.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.md5: dict[str, str] = {}
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.cut_at: int | None = None
        self.requests: list[tuple[str, str | None]] = []
        self.url = ""

    def record(self) -> bytes:
        entries = [
            {
                "key": name,
                "size": len(content),
                "checksum": f"md5:{self.md5.get(name) or hashlib.md5(content).hexdigest()}",
            }
            for name, content in self.files.items()
        ]
        return json.dumps({"id": 1188976, "files": entries}).encode()


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Zenodo]:
    """Serve a record with `files` for the length of the context."""
    zenodo = Zenodo(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            zenodo.requests.append((path, self.headers.get("Range")))
            if path.startswith("/api/records/"):
                return self._send(200, {}, zenodo.record())
            if zenodo.refusals:
                status, headers = zenodo.refusals.pop(0)
                return self._send(status, headers, b"")
            content = zenodo.files[path.rpartition("/")[2]]
            tag = f'"{hashlib.md5(content).hexdigest()}"'
            span = self.headers.get("Range")
            if span is None or self.headers.get("If-Range") != tag:
                return self._send(200, {"ETag": tag}, content)
            first = int(span.removeprefix("bytes=").partition("-")[0])
            place = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return self._send(206, {"ETag": tag, "Content-Range": place}, content[first:])

        def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            cut, zenodo.cut_at = zenodo.cut_at, None
            if cut is not None and "/files/" in self.path:
                self.wfile.write(content[:cut])
                self.close_connection = True
                return
            zenodo.cut_at = cut
            self.wfile.write(content)

        def log_message(self, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    zenodo.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield zenodo
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def archive_of(names: Mapping[str, Path]) -> bytes:
    """A zip archive of files: name in the archive -> file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in names.items():
            archive.write(path, name)
    return buffer.getvalue()
