"""A loopback server that answers as no LLM server should, and its answers."""

import gzip
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzzing.mutations import DEEP, ESCAPE, MARKUP, change_bytes, change_tree, hostile_names, short

# The bytes of the number-th answer: all at once, or in pieces, perhaps endless.
Answer = Callable[[int], "bytes | Iterator[bytes]"]
ENDLESS_BYTES = 4 * 2**30
KINDS = ("values", "content", "transport", "status", "size", "time")


def completion(content: object) -> dict[str, object]:
    """A completion as a server sends it."""
    message = {"role": "assistant", "content": content}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole HTTP answer."""
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json"]
    head += [f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + body


def json_reply(content: object) -> bytes:
    """A whole HTTP answer with a completion of this content."""
    return reply(json.dumps(completion(content)).encode())


def classes_answer() -> str:
    """The answer of a good server about the classes of the seeds."""
    entries = [
        {"name": "awe", "positive": ["The eyes are wide and the jaw hangs open."]},
        {"name": "boredom", "positive": ["The lids droop and the mouth is slack."]},
    ]
    return json.dumps({"classes": entries})


def caption_answer() -> str:
    """The answer of a good server about a clip."""
    return json.dumps({"caption": "The brows rise, and the lips part."})


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve until the block ends; gives the address for `OPENAI_BASE_URL`."""
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        yield serve_on(listener, answer)
    finally:
        listener.close()


def serve_on(listener: socket.socket, answer: Answer) -> str:
    """Serve until the socket is closed or the process ends; returns the address."""
    threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def _serve(listener: socket.socket, answer: Answer) -> None:
    number = 0
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed
            return
        threading.Thread(target=_talk, args=(connection, answer, number), daemon=True).start()
        number += 1


def _talk(connection: socket.socket, answer: Answer, number: int) -> None:
    with connection:
        try:
            _read_request(connection)
            said = answer(number)
            for piece in (said,) if isinstance(said, bytes) else said:
                connection.sendall(piece)
        except OSError:  # the client gave up
            return


def _read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(v)
            for k, _, v in (line.partition(b":") for line in head.lower().split(b"\r\n"))
            if k == b"content-length"
        ),
        0,
    )
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            return
        body += part


def hostile_answer(rng: random.Random, kind: str, good: str, outside: Path) -> tuple[Answer, str]:
    """An answer of one kind, the same for each request, and what is wrong with it."""
    if kind == "values":
        tree, said = change_tree(rng, completion(good), outside)
        body = json.dumps(tree).encode()
        return (lambda _: reply(body)), said
    if kind == "content":
        content, said = _content(rng, good, outside)
        return (lambda _: json_reply(content)), said
    if kind == "transport":
        raw, said = _transport(rng, good)
        return (lambda _: raw), said
    if kind == "status":
        raw, said = _status(rng, outside)
        return (lambda _: raw), said
    if kind == "size":
        return _size(rng)
    return _time(rng, good)


def _content(rng: random.Random, good: str, outside: Path) -> tuple[str, str]:
    if rng.random() < 0.6:
        tree, said = change_tree(rng, json.loads(good), outside)
        text = json.dumps(tree)
        fenced = f"Here you are:\n```json\n{text}\n```" if rng.random() < 0.2 else text
        return fenced, said
    ways = {
        "a lone surrogate": good.replace("The", "The \ud800"),
        "lists in lists": "[" * DEEP + "]" * DEEP,
        "tables in tables": '{"classes":' * DEEP + "1" + "}" * DEEP,
        "open lists": "[" * DEEP,
        "escapes": good.replace("The", json.dumps(ESCAPE)[1:-1] + "The"),
        "markup": good.replace("The", MARKUP),
        "a formula": good.replace("The", "=cmd()"),
        "a NUL": good.replace("The", "\\u0000"),
        "many words": good.replace("The", "the " * 200_000),
        "empty": "",
        "a poem": "no JSON at all, " * 100,
        "cut short": good[: len(good) // 2],
        "NaN": good.replace('"The', 'NaN, "The'),
        "many digits": '{"classes": ' + "9" * 10_000 + "}",
        "open fence": "```json\n" * 50_000,
    }
    said = rng.choice(sorted(ways))
    return ways[said], said


def _transport(rng: random.Random, good: str) -> tuple[bytes, str]:
    whole = json_reply(good)
    body = whole.partition(b"\r\n\r\n")[2]
    ways = {
        "cut": whole[: len(whole) * 2 // 3],
        "no answer": b"",
        "garbage": rng.randbytes(300),
        "length too small": whole.replace(b"Content-Length: ", b"Content-Length: 1 \r\nX: "),
        "length no number": whole.replace(b"Content-Length: ", b"Content-Length: x"),
        "length negative": whole.replace(b"Content-Length: ", b"Content-Length: -"),
        "not UTF-8": reply(body.replace(b"The", b"\xff\xfe")),
        "UTF-16": reply(body.decode().encode("utf-16")),
        "wrong charset": whole.replace(b"/json", b"/json; charset=no-such-thing"),
        "a page": reply(b"<html>502</html>").replace(b"/json", b"/html"),
        "not gzip": reply(body, "200 OK", "Content-Encoding: gzip"),
        "chunks without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "a long header": whole.replace(
            b"Connection:", b"X: " + b"x" * 200_000 + b"\r\nConnection:"
        ),
        "many headers": whole.replace(b"Connection:", b"X: y\r\n" * 5000 + b"Connection:"),
        "a redirect out": reply(b"", "307 T", "Location: http://198.51.100.7/v1/chat/completions"),
        "a redirect to itself": reply(b"", "307 T", "Location: /v1/chat/completions"),
        "a redirect to a file": reply(b"", "302 T", "Location: file:///etc/passwd"),
    }
    if rng.random() < 0.25:
        return change_bytes(rng, whole)
    said = rng.choice(sorted(ways))
    return ways[said], said


def _status(rng: random.Random, outside: Path) -> tuple[bytes, str]:
    status = rng.choice((301, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529, 999))
    name = rng.choice([ESCAPE, MARKUP, *hostile_names(outside)])
    errors = (
        {"error": {"message": name, "type": name, "code": name}},
        {"error": name},
        {"error": None},
        {"error": {"message": ["a", {}]}},
        [name],
        {"detail": {"error": {"error": name}}},
    )
    error = rng.choice(errors)
    wait = rng.choice(("", "Retry-After: 1", "Retry-After: nan", "Retry-After: 99999999999"))
    if rng.random() < 0.1:
        wait = rng.choice(("Retry-After: -5", "Retry-After: x", "retry-after-ms: 1e308"))
    raw = reply(json.dumps(error).encode(), f"{status} Odd", *filter(None, [wait]))
    return raw, f"status {status}, {wait}, {short(json.dumps(error))}"


def _size(rng: random.Random) -> tuple[Answer, str]:
    def endless(head: bytes, piece: bytes) -> Iterator[bytes]:
        yield head
        for _ in range(ENDLESS_BYTES // len(piece)):
            yield piece

    begin = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    bomb = gzip.compress(b" " * 2**24) * 100
    ways: dict[str, Answer] = {
        "no end": lambda _: endless(begin + b"\r\n{", b" " * 65536),
        "no end of chunks": lambda _: endless(begin + b"Transfer-Encoding: chunked\r\n\r\n", chunk),
        "no end of headers": lambda _: endless(begin, b"X-Long: yes\r\n" * 4000),
        "no end of an error": lambda _: endless(
            begin.replace(b"200 OK", b"400 Bad") + b"\r\n{", b"x" * 65536
        ),
        "gzip of 1.6 GB": lambda _: reply(bomb, "200 OK", "Content-Encoding: gzip"),
        "30 MB of content": lambda _: json_reply("x" * 30_000_000),
    }
    said = rng.choice(sorted(ways))
    return ways[said], said


def _time(rng: random.Random, good: str) -> tuple[Answer, str]:
    whole = json_reply(good)
    head, _, body = whole.partition(b"\r\n\r\n")

    def silent() -> Iterator[bytes]:
        time.sleep(300)
        yield b""

    def drip(first: bytes, rest: bytes, seconds: float) -> Iterator[bytes]:
        yield first
        for value in rest:
            time.sleep(seconds)
            yield bytes([value])

    ways: dict[str, Answer] = {
        "never": lambda _: silent(),
        "a byte each half second": lambda _: drip(head + b"\r\n\r\n", body, 0.5),
        "a byte of the header each half second": lambda _: drip(b"", whole, 0.5),
        "every second answer is good": lambda n: whole if n % 2 else reply(b"{}", "500 No"),
    }
    said = rng.choice(sorted(ways))
    return ways[said], said
