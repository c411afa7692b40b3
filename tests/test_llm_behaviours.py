"""What the user sees for each behaviour of an LLM server."""

import json
import logging
import re
from pathlib import Path

import pytest
from llm_server import LONG, Reply, class_answer, in_turn, refused, serve

from dfercli.cli.app import run

KEY = "sk-secret-0123456789abcdef"
GOOD = {
    "awe": ["The brows rise slowly and the lips part."],
    "boredom": ["The eyelids sink and the head leans to one side."],
}
ASK = ["describe", "--classes", "emotions.txt", "--model", "m", "--out", "texts.json"]


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    Path("emotions.txt").write_text("awe\nboredom\n")


def ask(monkeypatch, server, *more):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return run([*ASK, *more])


def written():
    content = json.loads(Path("texts.json").read_text())
    return {entry["name"]: entry["positive"] for entry in content["classes"]}


def test_good_json_is_kept_with_its_provenance(monkeypatch, capsys):
    with serve(in_turn(Reply(class_answer(GOOD)))) as server:
        assert ask(monkeypatch, server, "--temperature", "0.5", "--seed", "7") == 0
    assert written() == GOOD
    (request,) = server.received
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["response_format"]["type"] == "json_schema"
    assert (request.body["temperature"], request.body["seed"]) == (0.5, 7)
    provenance = json.loads(Path("texts.json").read_text())["provenance"]
    assert provenance["source"] == "llm"
    assert provenance["model"] == "m"
    assert provenance["parameters"] == {"temperature": 0.5, "seed": 7}
    assert re.fullmatch(r"[0-9a-f]{64}", provenance["prompt_sha256"])
    assert provenance["created"].endswith("+00:00")
    assert "requests sent: 1, answered by the cache: 0, 15 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrapped",
    [
        "```json\n{}\n```",
        "Sure! Here you are:\n\n{}\n\nShall I go on?",
        "<think>The user {{wants}} [this].</think>\n```\n{}\n```",
    ],
)
def test_json_in_a_fence_or_in_prose_is_read(monkeypatch, wrapped):
    with serve(in_turn(Reply(wrapped.replace("{}", class_answer(GOOD))))) as server:
        assert ask(monkeypatch, server) == 0
    assert written() == GOOD
    assert len(server.received) == 1


def test_a_server_without_json_schemas_is_asked_for_plain_json(monkeypatch, capsys):
    def behaviour(request, number):
        if "response_format" in request.body:
            return refused(400, "response_format is not supported")
        return Reply(class_answer(GOOD))

    with serve(behaviour) as server:
        assert ask(monkeypatch, server) == 0
    assert written() == GOOD
    assert len(server.received) == 2
    assert "takes no JSON schema" in capsys.readouterr().err


def test_prose_is_sent_back_once_for_repair(monkeypatch):
    with serve(in_turn(Reply("I like faces."), Reply(class_answer(GOOD)))) as server:
        assert ask(monkeypatch, server) == 0
    assert written() == GOOD
    assert "I like faces." in server.prompts[1]
    assert "it holds no JSON" in server.prompts[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [("I like faces.", "it holds no JSON"), ("", "it is empty"), (None, "it is empty")],
)
def test_an_answer_that_stays_unreadable_ends_with_the_reason(monkeypatch, capsys, content, reason):
    with serve(in_turn(Reply(content))) as server:
        assert ask(monkeypatch, server) == 5
    assert len(server.received) == 2
    err = capsys.readouterr().err
    assert "m at 127.0.0.1:" in err
    assert reason in err
    assert not Path("texts.json").exists()


def test_a_body_that_is_no_completion_is_requested_again_and_shown(monkeypatch, capsys):
    with serve(in_turn(Reply(raw=b"<html>hello</html>"))) as server:
        assert ask(monkeypatch, server) == 5
    assert "the server sent no JSON (got: hello)" in capsys.readouterr().err
    assert len(server.received) == 2


def test_wrong_classes_are_asked_for_again_then_refused(monkeypatch, capsys):
    wrong = class_answer({"awe": GOOD["awe"], "envy": GOOD["boredom"]})
    right = class_answer({"boredom": GOOD["boredom"]})
    with serve(in_turn(Reply(wrong), Reply(right))) as server:
        assert ask(monkeypatch, server) == 0
    assert written() == GOOD
    assert "boredom: it is missing" in server.prompts[1]
    with serve(in_turn(Reply(wrong))) as server:
        assert ask(monkeypatch, server, "--seed", "2", "--overwrite") == 5
    assert "boredom: it is missing" in capsys.readouterr().err
    assert written() == GOOD


def test_a_long_text_is_sent_back_to_be_shortened_then_refused(monkeypatch, capsys):
    long = class_answer({**GOOD, "awe": [LONG]})
    with serve(in_turn(Reply(long), Reply(class_answer({"awe": GOOD["awe"]})))) as server:
        assert ask(monkeypatch, server) == 0
    assert written() == GOOD
    assert "CLIP tokens, 67 are allowed" in server.prompts[1]
    assert "these classes alone: awe." in server.prompts[1]
    with serve(in_turn(Reply(long))) as server:
        assert ask(monkeypatch, server, "--seed", "2") == 5
    assert "CLIP tokens, 67 are allowed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({**GOOD, "awe": GOOD["boredom"]}, "the same text appears twice"),
        ({**GOOD, "awe": ["**Brows** up."]}, "not plain text"),
        ({**GOOD, "awe": ["The face is awed."]}, "it holds the class name awed"),
        ({**GOOD, "awe": ["One.", "Two."]}, "expected 1 texts of each kind, got 2"),
        ({**GOOD, "awe": ["  "]}, "it is empty"),
    ],
)
def test_texts_that_fail_a_check_are_not_kept(monkeypatch, capsys, texts, reason):
    with serve(in_turn(Reply(class_answer(texts)))) as server:
        assert ask(monkeypatch, server, "--no-names") == 5
    assert reason in capsys.readouterr().err
    assert reason in server.prompts[1]
    assert not Path("texts.json").exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_at_once_and_is_not_shown(monkeypatch, capsys, status):
    behaviour = in_turn(refused(status, f"Incorrect API key provided: {KEY}."))
    with serve(behaviour) as server:
        assert ask(monkeypatch, server) == 5
    assert len(server.received) == 1
    err = capsys.readouterr().err
    assert f"refused the key ({status}): Incorrect API key provided: (key)." in err
    assert "hint: check OPENAI_API_KEY" in err


def test_an_unknown_model_ends_at_once(monkeypatch, capsys):
    with serve(in_turn(refused(404, "The model `m` does not exist"))) as server:
        assert ask(monkeypatch, server) == 5
    assert len(server.received) == 1
    assert "--model" in capsys.readouterr().err


def test_429_waits_as_long_as_the_server_says(monkeypatch):
    times = []

    def behaviour(request, number):
        import time

        times.append(time.monotonic())
        if number == 0:
            reply = refused(429, "slow down")
            reply.headers["Retry-After"] = "1"
            return reply
        return Reply(class_answer(GOOD))

    with serve(behaviour) as server:
        assert ask(monkeypatch, server) == 0
    assert len(server.received) == 2
    assert 0.9 < times[1] - times[0] < 5


def test_endless_429_says_what_to_lower(monkeypatch, capsys):
    with serve(in_turn(refused(429, "slow down"))) as server:
        assert ask(monkeypatch, server, "--max-retries", "1") == 5
    assert len(server.received) == 2
    err = capsys.readouterr().err
    assert "too many requests (429), tried 2 times" in err
    assert "--rate" in err


def test_an_account_that_is_used_up_says_so(monkeypatch, capsys):
    behaviour = in_turn(refused(429, "You exceeded your quota", code="insufficient_quota"))
    with serve(behaviour) as server:
        assert ask(monkeypatch, server, "--max-retries", "0") == 5
    assert "used up" in capsys.readouterr().err


def test_500_twice_is_survived(monkeypatch):
    replies = (refused(500, "oops"), refused(503, "oops"), Reply(class_answer(GOOD)))
    with serve(in_turn(*replies)) as server:
        assert ask(monkeypatch, server) == 0
    assert written() == GOOD
    assert len(server.received) == 3


def test_endless_500_says_so(monkeypatch, capsys):
    with serve(in_turn(refused(500, "out of memory"))) as server:
        assert ask(monkeypatch, server, "--max-retries", "1") == 5
    assert "failed (500), tried 2 times: out of memory" in capsys.readouterr().err
    assert len(server.received) == 2


def test_a_hang_ends_after_the_time_out(monkeypatch, capsys):
    with serve(in_turn(Reply("late", hang_seconds=1.0))) as server:
        code = ask(monkeypatch, server, "--timeout", "0.2", "--max-retries", "0")
    assert code == 5
    err = capsys.readouterr().err
    assert "no answer within 0.2 s, tried 1 times" in err
    assert "--timeout" in err


def test_a_connection_cut_in_mid_answer_is_tried_again(monkeypatch, capsys):
    cut = Reply(class_answer(GOOD), cut=True)
    with serve(in_turn(cut, Reply(class_answer(GOOD)))) as server:
        assert ask(monkeypatch, server) == 0
    assert written() == GOOD
    assert len(server.received) == 2
    with serve(in_turn(cut)) as server:
        assert ask(monkeypatch, server, "--seed", "2", "--max-retries", "0") == 5
    assert "the connection broke" in capsys.readouterr().err


def test_a_missing_server_is_named_with_its_address(monkeypatch, capsys):
    with serve(in_turn(Reply(""))) as server:
        pass
    assert ask(monkeypatch, server, "--max-retries", "0") == 5
    err = capsys.readouterr().err
    assert "no LLM server answers at 127.0.0.1:" in err
    assert "OPENAI_BASE_URL" in err


def test_a_model_without_sampling_settings_is_hinted_at_and_served(monkeypatch, capsys):
    def behaviour(request, number):
        if "temperature" in request.body or "seed" in request.body:
            return refused(400, "Unsupported parameter: 'temperature'")
        return Reply(class_answer(GOOD))

    with serve(behaviour) as server:
        assert ask(monkeypatch, server) == 5
        err = capsys.readouterr().err
        assert "Unsupported parameter: 'temperature'" in err
        assert "--no-sampling" in err
        assert ask(monkeypatch, server, "--no-sampling") == 0
    assert json.loads(Path("texts.json").read_text())["provenance"]["parameters"] == {}


def test_the_key_reaches_no_file_no_log_and_no_message(monkeypatch, capsys, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    echo = GOOD | {"awe": [f"The brows rise and the lips say {KEY}."]}
    with serve(in_turn(Reply(f"your key is {KEY}"), Reply(class_answer(echo)))) as server:
        assert ask(monkeypatch, server) == 0
    with serve(in_turn(Reply(f"your key is {KEY}"))) as server:
        assert ask(monkeypatch, server, "--seed", "2") == 5
    assert server.received[0].headers["authorization"] == f"Bearer {KEY}"
    out, err = capsys.readouterr()
    assert KEY not in out + err + caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_password_in_the_address_is_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:hunter22@127.0.0.1:9/v1")
    assert run([*ASK, "--max-retries", "0"]) == 5
    err = capsys.readouterr().err
    assert "127.0.0.1:9" in err
    assert "hunter22" not in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_BASE_URL", "localhost:8000/v1"),
        ("OPENAI_BASE_URL", "http://[bad"),
        ("OPENAI_API_KEY", "sk-“quoted”"),
    ],
)
def test_wrong_environment_variables_are_a_usage_error(monkeypatch, capsys, name, value):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv(name, value)
    assert run(ASK) == 2
    err = capsys.readouterr().err
    assert name in err
    assert value not in err


def test_without_a_key_nothing_is_sent_and_the_way_out_is_named(monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert run(ASK) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_a_local_server_needs_no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with serve(in_turn(Reply(class_answer(GOOD)))) as server:
        assert ask(monkeypatch, server) == 0


def test_positive_and_negative_variants_with_definitions_and_language(monkeypatch):
    Path("emotions.txt").write_text('{"awe": "wonder at something vast", "boredom": ""}')
    positive = {"awe": ["Eins.", "Zwei."], "boredom": ["Drei.", "Vier."]}
    negative = {"awe": ["Nicht eins.", "Nicht zwei."], "boredom": ["Nicht drei.", "Nicht vier."]}
    with serve(in_turn(Reply(class_answer(positive, negative)))) as server:
        more = ("--style", "pn", "--variants", "2", "--language", "German")
        assert ask(monkeypatch, server, *more) == 0
    entry = json.loads(Path("texts.json").read_text())["classes"][0]
    assert entry == {"name": "awe", "positive": positive["awe"], "negative": negative["awe"]}
    assert "- awe: wonder at something vast" in server.prompts[0]
    assert "German" in server.prompts[0]


def test_a_named_model_writes_the_seven_classes_too(monkeypatch):
    texts = {
        name: [f"Text number {number}."]
        for number, name in enumerate(
            ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
        )
    }
    with serve(in_turn(Reply(class_answer(texts)))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert run(["describe", "--classes", "7", "--model", "m", "--out", "texts.json"]) == 0
    assert written() == texts
