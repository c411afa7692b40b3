"""A loopback model hub: repositories, files and commits, as the hub's client expects them."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_the_test"


@dataclass
class Hub:
    """Its address and its content: repository -> file name -> bytes."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    commits: list[list[str]] = field(default_factory=list)

    def commit_of(self, repository: str) -> str:
        """40 digits that identify the content of a repository."""
        digest = hashlib.sha1()
        for name, content in sorted(self.files[repository].items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def _answer(self, content, status=200, **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _may_write(self):
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def do_GET(self):
            path = self.path.partition("?")[0].strip("/")
            hub.requests.append(f"{self.command} {path}")
            if path.startswith("api/models/"):
                repository = "/".join(path.split("/")[2:4])
                if repository not in hub.files:
                    self._answer(
                        {"error": "Repository not found"}, 401, X_Error_Code="RepoNotFound"
                    )
                    return
                files = hub.files[repository]
                siblings = [
                    {"rfilename": name, "size": len(content)} for name, content in files.items()
                ]
                sha = hub.commit_of(repository)
                self._answer({"id": repository, "sha": sha, "siblings": siblings})
            elif "/resolve/" in path:
                repository, _, rest = path.partition("/resolve/")
                name = rest.partition("/")[2]
                content = hub.files.get(repository, {}).get(name)
                if content is None:
                    self._answer({"error": "no"}, 404, X_Error_Code="EntryNotFound")
                    return
                self._answer(
                    content,
                    ETag=f'"{hashlib.sha256(content).hexdigest()}"',
                    X_Repo_Commit=hub.commit_of(repository),
                )
            else:
                self._answer({}, 404)

        do_HEAD = do_GET

        def do_POST(self):
            path = self.path.partition("?")[0].strip("/")
            hub.requests.append(f"POST {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if path == "api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            elif not self._may_write():
                self._answer({"error": "Invalid credentials"}, 401)
            elif path == "api/repos/create":
                wanted = json.loads(body)
                repository = f"{wanted.get('organization') or 'user'}/{wanted['name']}"
                hub.files.setdefault(repository, {})
                hub.private[repository] = wanted.get("private") or (
                    wanted.get("visibility") == "private"
                )
                self._answer({"url": f"{hub.url}/{repository}"})
            elif "/preupload/" in path:
                files = [
                    {"path": entry["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for entry in json.loads(body)["files"]
                ]
                self._answer({"files": files})
            elif "/commit/" in path:
                repository = "/".join(path.split("/")[2:4])
                names = []
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        names.append(entry["value"]["path"])
                        content = base64.b64decode(entry["value"]["content"])
                        hub.files[repository][names[-1]] = content
                hub.commits.append(sorted(names))
                self._answer(
                    {
                        "commitUrl": f"{hub.url}/{repository}/commit/1",
                        "commitOid": hub.commit_of(repository),
                        "commitId": hub.commit_of(repository),
                    }
                )
            else:
                self._answer({}, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
