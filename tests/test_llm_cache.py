import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from llm_server import Reply, class_answer, in_turn, serve

from dfercli.artifacts import weight_files
from dfercli.artifacts.cache_folder import cache_folder
from dfercli.cli.app import run
from dfercli.config import DescribeConfig
from dfercli.descriptions.answers import AnswerForm
from dfercli.descriptions.cache import AnswerCache, request_key
from dfercli.descriptions.llm import Llm
from dfercli.descriptions.llm_server import LlmServer

GOOD = class_answer({"awe": ["The brows rise."], "joy": ["The lip corners rise."]})
ASK = ["describe", "--classes", "emotions.txt", "--model", "m"]
FORM = AnswerForm("any", {"type": "object"}, lambda value: value)


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    Path("emotions.txt").write_text("awe\njoy\n")


def client(server, folder, **settings):
    config = DescribeConfig(**settings)
    return Llm(LlmServer(server.url, "k"), AnswerCache(folder), config, lambda line: None)


def test_the_same_request_is_sent_once(monkeypatch, capsys):
    with serve(in_turn(Reply(GOOD))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert run(ASK) == 0
        first = Path("descriptions-emotions.json").read_bytes()
        assert run([*ASK, "--overwrite"]) == 0
    assert len(server.received) == 1
    assert Path("descriptions-emotions.json").read_bytes() == first
    assert "requests sent: 0, answered by the cache: 1" in capsys.readouterr().err


def test_refresh_asks_again(monkeypatch):
    with serve(in_turn(Reply(GOOD))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert run(ASK) == 0
        assert run([*ASK, "--refresh"]) == 0
    assert len(server.received) == 2


def test_raw_and_parsed_answers_are_kept_with_the_request(tmp_path, monkeypatch):
    with serve(in_turn(Reply(f"Here:\n{GOOD}"))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert run(ASK) == 0
    (path,) = (tmp_path / "cache").rglob("*.json")
    entry = json.loads(path.read_text())
    assert entry["schema"] == "dfer.llm_answer/1"
    assert entry["parsed"] == json.loads(GOOD)
    assert json.loads(entry["raw"][0])["choices"][0]["message"]["content"] == f"Here:\n{GOOD}"
    assert entry["request"]["prompt"] == server.prompts[0]
    assert entry["key"] == path.stem == request_key(entry["request"])
    provenance = json.loads(Path("descriptions-emotions.json").read_text())["provenance"]
    assert provenance["answers"] == [path.stem]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "other"},
        {"images": (b"jpeg",)},
        {"model": "other"},
        {"temperature": 1.0},
        {"seed": 2},
        {"form": AnswerForm("any", {"type": "array"}, lambda value: value)},
    ],
)
def test_whatever_affects_the_answer_changes_the_key(tmp_path, change):
    base = {"prompt": "p", "images": (), "model": "m", "temperature": 0.0, "seed": 1, "form": FORM}
    with serve(in_turn(Reply("{}"))) as server:
        for values in (base, base, {**base, **change}):
            llm = client(server, tmp_path, temperature=values["temperature"], seed=values["seed"])
            llm.ask(
                values["prompt"], values["form"], model=values["model"], images=values["images"]
            )
    assert len(server.received) == 2


def test_what_does_not_affect_the_answer_keeps_the_key(tmp_path):
    with serve(in_turn(Reply("{}"))) as server:
        client(server, tmp_path).ask("p", FORM, model="m")
        client(server, tmp_path, timeout_seconds=9.0, rate=600.0).ask("p", FORM, model="m")
    assert len(server.received) == 1


def test_two_clients_with_the_same_request_send_it_once(tmp_path):
    with serve(in_turn(Reply('{"a": 1}', hang_seconds=0.3))) as server:
        results = []

        def work():
            results.append(client(server, tmp_path).ask("p", FORM, model="m")[0])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [{"a": 1}] * 4
    assert len(server.received) == 1


def test_two_processes_with_the_same_requests_send_each_once(tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dfercli.config import DescribeConfig\n"
        "from dfercli.descriptions.answers import AnswerForm\n"
        "from dfercli.descriptions.cache import AnswerCache\n"
        "from dfercli.descriptions.llm import Llm\n"
        "from dfercli.descriptions.llm_server import LlmServer\n"
        "form = AnswerForm('any', {}, lambda value: value)\n"
        "cache = AnswerCache(Path(sys.argv[2]))\n"
        "llm = Llm(LlmServer(sys.argv[1], 'k'), cache, DescribeConfig(), print)\n"
        "for number in range(20):\n"
        "    assert llm.ask(f'p{number}', form, model='m')[0] == {'a': 1}\n"
        "assert llm.tally.sent + llm.tally.from_cache == 20\n"
    )
    with serve(in_turn(Reply('{"a": 1}', hang_seconds=0.02))) as server:
        command = [sys.executable, "-c", program, server.url, str(tmp_path)]
        processes = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait() for process in processes] == [0, 0]
    assert len(server.received) == 20


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": "other/1"}', b"\xff\xfe"])
def test_a_damaged_answer_is_asked_for_again(tmp_path, damage):
    with serve(in_turn(Reply("{}"))) as server:
        client(server, tmp_path).ask("p", FORM, model="m")
        (path,) = tmp_path.rglob("*.json")
        path.write_bytes(damage)
        client(server, tmp_path).ask("p", FORM, model="m")
        client(server, tmp_path).ask("p", FORM, model="m")
    assert len(server.received) == 2


def test_cache_info_and_clear(tmp_path, monkeypatch, capsys):
    with serve(in_turn(Reply(GOOD))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert run(ASK) == 0
        kept = tmp_path / "cache" / "llm" / "notes.json"
        kept.write_text("mine")
        capsys.readouterr()
        assert run(["describe", "--cache-info"]) == 0
        assert "1 answers held" in capsys.readouterr().out
        assert run(["describe", "--cache-clear"]) == 0
        assert "1 answers removed" in capsys.readouterr().out
        assert run(["describe", "--cache-info", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["answers"] == 0
        assert kept.read_text() == "mine"
        assert run(ASK) == 0
    assert len(server.received) == 2


def test_the_cache_lies_where_it_is_told(monkeypatch):
    monkeypatch.setenv("HOME", "/people/me")
    monkeypatch.delenv("DFER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("llm") == Path("/people/me/.cache/dfer/llm")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder("llm") == Path("/b/dfer/llm")
    assert weight_files.hub_folder() == Path("/b/torch/hub/checkpoints")
    monkeypatch.setenv("DFER_CACHE", "~/a")
    assert cache_folder("llm") == Path("/people/me/a/llm")


def test_the_rate_spaces_requests(tmp_path):
    import time

    with serve(in_turn(Reply("{}"))) as server:
        llm = client(server, tmp_path, rate=600.0)
        start = time.monotonic()
        for number in range(4):
            llm.ask(f"p{number}", FORM, model="m")
        assert time.monotonic() - start >= 0.3
    assert len(server.received) == 4
