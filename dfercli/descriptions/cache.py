"""Answers of LLMs on disk, to pay for no request twice.

One file per answer, named by the SHA-256 of all that affects it: the rendered prompt, the images,
the model, its parameters, and the schema of the answer. Files are whole or absent; a lock per key
lets two processes (or threads) with the same request send it once.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import is_temporary, read_json, write_json
from dfercli.artifacts.locks import exclusive
from dfercli.errors import ArtifactError
from dfercli.typed import typed

ANSWER_SCHEMA = "dfer.llm_answer/1"


@dataclass(frozen=True)
class Answer:
    """One answer of an LLM.

    Attributes:
        key: SHA-256 of the request.
        request: The request, with the images as SHA-256 sums.
        parsed: The JSON value in it.
        raw: The bodies that the server sent; the last one was parsed.
        usage: Tokens that the server counted, if it did.
        created: ISO 8601 in UTC.
    """

    key: str
    request: dict[str, Any]
    parsed: Any
    raw: tuple[str, ...]
    usage: dict[str, int]
    created: str


@dataclass(frozen=True)
class CacheInfo:
    """The content of a cache."""

    folder: Path
    answers: int
    size_bytes: int


def request_key(request: dict[str, Any]) -> str:
    """SHA-256 of a request in canonical JSON."""
    canonical = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


class AnswerCache:
    """The answers in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Answer | None:
        """The answer to a request; None if there is none or its file is unusable."""
        try:
            path = self._path(key)
            answer: Answer = typed(Answer, read_json(path), str(path), schema=ANSWER_SCHEMA)
        except ArtifactError:
            return None
        return answer if answer.key == key else None

    def put(self, answer: Answer) -> None:
        """Keep an answer atomically."""
        write_json(self._path(answer.key), {"schema": ANSWER_SCHEMA, **asdict(answer)})

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold the lock of `key` (and of every 4096th other key)."""
        with exclusive(self.folder / "locks" / key[:3]):
            yield

    def info(self) -> CacheInfo:
        """Count the answers."""
        sizes = [path.stat().st_size for path in self._files()]
        return CacheInfo(self.folder, len(sizes), sum(sizes))

    def clear(self) -> CacheInfo:
        """Remove all answers, and nothing else; return how many there were."""
        info = self.info()
        for path in self._files():
            path.unlink(missing_ok=True)
        return info

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _files(self) -> list[Path]:
        return [
            path
            for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*.json"))
            if len(path.stem) == 64 and os.path.isfile(path) and not is_temporary(path)
        ]
