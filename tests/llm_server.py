"""A server on the loopback that speaks the OpenAI protocol, with scripted behaviours."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LONG = "The brows go up and then down again, " * 12 + "and the lips part."


@dataclass
class Received:
    """One request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes

    @property
    def prompt(self) -> str:
        content = self.body["messages"][0]["content"]
        return content if isinstance(content, str) else content[0]["text"]

    @property
    def images(self) -> list[str]:
        content = self.body["messages"][0]["content"]
        return (
            [] if isinstance(content, str) else [part["image_url"]["url"] for part in content[1:]]
        )


@dataclass
class Reply:
    """What the server does with one request; `wire` is the whole answer as raw bytes, in parts."""

    content: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    raw: bytes | None = None
    hang_seconds: float = 0.0
    cut: bool = False
    wire: Iterable[bytes] | None = None


Behaviour = Callable[[Received, int], Reply]


def completion(content: str | None) -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "test-model",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return json.dumps(body).encode()


class QuietServer(ThreadingHTTPServer):
    """Ignores clients that were killed; every other error keeps its traceback."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class LlmServer:
    """Answers with `behaviour(request, request number from 0)` and keeps every request."""

    def __init__(self, behaviour: Behaviour, port: int = 0) -> None:
        self.behaviour = behaviour
        self.received: list[Received] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = QuietServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def handle(self, http: BaseHTTPRequestHandler) -> None:
        raw = http.rfile.read(int(http.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = Received(http.path, headers, json.loads(raw), raw)
        with self.lock:
            number = len(self.received)
            self.received.append(request)
        reply = self.behaviour(request, number)
        if reply.hang_seconds:
            time.sleep(reply.hang_seconds)
        if reply.wire is not None:
            http.close_connection = True
            with suppress(ConnectionError):
                for part in reply.wire:
                    http.wfile.write(part)
            return
        if reply.error is not None:
            body = json.dumps({"error": reply.error}).encode()
        else:
            body = reply.raw if reply.raw is not None else completion(reply.content)
        try:
            http.send_response(reply.status)
            if "Content-Type" not in reply.headers:
                http.send_header("Content-Type", "application/json")
            http.send_header("Content-Length", str(len(body)))
            for name, value in reply.headers.items():
                http.send_header(name, value)
            http.end_headers()
            http.wfile.write(body[: len(body) // 2] if reply.cut else body)
        except (BrokenPipeError, ConnectionResetError):
            return  # the client gave up waiting
        http.close_connection = reply.cut or http.close_connection

    @property
    def prompts(self) -> list[str]:
        return [request.prompt for request in self.received]


@contextmanager
def serve(behaviour: Behaviour, port: int = 0) -> Iterator[LlmServer]:
    server = LlmServer(behaviour, port)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def in_turn(*replies: Reply) -> Behaviour:
    """The replies in order; then the last one repeats."""
    return lambda request, number: replies[min(number, len(replies) - 1)]


def class_answer(texts: dict[str, list[str]], negative: dict[str, list[str]] | None = None) -> str:
    entries: list[dict[str, Any]] = []
    for name, positive in texts.items():
        entry: dict[str, Any] = {"name": name, "positive": positive}
        if negative is not None:
            entry["negative"] = negative[name]
        entries.append(entry)
    return json.dumps({"classes": entries})


def caption_answer(caption: str) -> str:
    return json.dumps({"caption": caption})


def refused(status: int, message: str, **more: Any) -> Reply:
    return Reply(status=status, error={"message": message, "type": "test", **more})
