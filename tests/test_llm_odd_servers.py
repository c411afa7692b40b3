"""One odd answer of an LLM server is one clip's failure, and no server holds up the command."""

import gzip
import itertools
import json
import time

import pytest
from llm_server import Reply, caption_answer, class_answer, completion, refused, serve
from raw_server import drip, endless
from test_captions import SHORT, make_store

from dfercli.artifacts.captions import read_captions
from dfercli.cli.app import run
from dfercli.descriptions import run as describing

KEY = "sk-secret-0123456789abcdef"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
GOOD = class_answer({"awe": ["The brows rise."], "joy": ["The lip corners rise."]})


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "emotions.txt").write_text("awe\njoy\n")


def describe(monkeypatch, server, *more):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return run(["describe", *more, "--model", "m", "--concurrency", "1"])


def ask(monkeypatch, server, *more):
    return describe(monkeypatch, server, "--classes", "emotions.txt", "--out", "t.json", *more)


def whole(**changes):
    """The body of a good answer, with these values changed."""
    return {**json.loads(completion(caption_answer(SHORT))), **changes}


def body_of(text):
    """A body whose message holds `text` as JSON writes it."""
    return completion("(here)").replace(b'"(here)"', text)


DEEP = 10_000
USAGE = {"prompt_tokens": -1, "completion_tokens": True, "total_tokens": 10**30}
FINE_BODIES = {
    "a byte order mark": b"\xef\xbb\xbf" + completion(caption_answer(SHORT)),
    "odd counts of tokens": json.dumps(whole(usage=USAGE)).encode(),
    "no count of tokens": json.dumps(whole(usage=[1])).encode(),
    "two choices": json.dumps(whole(choices=whole()["choices"] * 2)).encode(),
    # The first caption need not be plain: a second pass shortens it, and that text is checked.
    "escapes": completion(caption_answer("\x1b[2J\x07 The brows \u2028 rise.")),
    "markup": completion(caption_answer("<script>alert(1)</script> brows")),
    "no id and no model": json.dumps({"choices": whole()["choices"]}).encode(),
}
ODD_BODIES = {
    "a lone surrogate in the text": body_of(b'"{\\"caption\\": \\"The brow \\ud800 rises.\\"}"'),
    "a lone surrogate in the JSON of the text": completion('{"caption": "\\ud800 The brows."}'),
    "a lone surrogate beside": json.dumps(whole(id="\ud800")).encode(),
    "a surrogate in UTF-8": completion("x").replace(b'"x"', b'"\xed\xa0\x80"'),
    "deep text": completion("[" * DEEP + "]" * DEEP),
    "deep and open": completion("[" * DEEP),
    "deep tables": completion('{"a":' * DEEP + "1" + "}" * DEEP),
    "a deep body": b"[" * DEEP + b"]" * DEEP,
    "a deep count": json.dumps(whole()).encode()[:-1] + b',"x":' + b"[" * 500 + b"]" * 500 + b"}",
    "too large": completion('{"caption": 1e400}'),
    "beyond all bounds beside": completion('{"caption": "The brows rise.", "x": -1e400}'),
    "beyond all bounds in the body": json.dumps(whole(created=0)).encode()[:-1] + b',"x":1e400}',
    "no number": completion('{"caption": NaN}'),
    "a number of 6,000 digits": completion('{"caption": ' + "1" * 6000 + "}"),
    "a name twice": completion('{"caption": "The brows rise.", "caption": "They sink."}'),
    "a caption that is a list": completion('{"caption": ["The brows rise."]}'),
    "a caption that is null": completion('{"caption": null}'),
    "a caption in a list": completion('[{"caption": "The brows rise."}]'),
    "a caption of a million letters": completion(caption_answer("brows " * 170_000)),
    "a caption without letters": completion(caption_answer("... 123 ...")),
    "brackets without end": completion("{[" * 50_000),
    "fences without end": completion("```" * 50_000),
    "thoughts without end": completion("<think>" * 50_000),
    "a text that is a number": json.dumps(whole(choices=[{"message": {"content": 5}}])).encode(),
    "a text that is a list": json.dumps(
        whole(choices=[{"message": {"content": [{"type": "text", "text": SHORT}]}}])
    ).encode(),
    "a message that is a text": json.dumps(whole(choices=[{"message": "x"}])).encode(),
    "choices in a table": json.dumps(whole(choices={"0": {}})).encode(),
    "choices that are null": json.dumps(whole(choices=None)).encode(),
    "a choice that is a number": json.dumps(whole(choices=[7])).encode(),
    "a list": b"[]",
    "a number": b"3",
    "a text": b'"hello"',
    "null": b"null",
    "nothing": b"",
    "no JSON": b"<html><title>hello</title></html>",
    "no UTF-8": b'{"choices": "\xff\xfe"}',
    "UTF-16": completion(caption_answer(SHORT)).decode().encode("utf-16"),
    "a gzip file": gzip.compress(completion(caption_answer(SHORT))),
    "zeros": b"\0" * 5000,
    "an error with status 200": b'{"error": {"message": "\\u001b[31mdown", "code": []}}',
    "an error that is a text": b'{"error": "no"}',
    "a deep error": b'{"error":' * 60 + b"1" + b"}" * 60,
    "a body of 5 MB": completion(caption_answer("x" * 5_000_000)),
}


def by_clip(replies):
    """The reply to each clip in the order of clips; requests to refine get a good answer."""
    seen: dict[str, int] = {}

    def behaviour(request, number):
        if not request.images:
            return Reply(caption_answer(SHORT))
        place = seen.setdefault("".join(request.images), len(seen))
        return replies[place]

    return behaviour


def test_one_odd_answer_is_one_failure(tmp_path, monkeypatch, capsys):
    fine = [Reply(raw=body) for body in FINE_BODIES.values()]
    odd = [Reply(raw=body) for body in ODD_BODIES.values()]
    make_store(tmp_path / "faces", clips=len(fine) + len(odd) + 1)
    replies = [*fine, *odd, Reply(caption_answer(SHORT))]
    with serve(by_clip(replies)) as server:
        assert describe(monkeypatch, server, "faces", "--max-retries", "0", "--json") == 3
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    names = [*FINE_BODIES, *ODD_BODIES, "the last one"]
    failed = {names[int(clip[-3:])] for clip in said["failed"]}
    assert failed == set(ODD_BODIES)
    assert len(read_captions(tmp_path / "faces")) == len(fine) + 1
    assert "Traceback" not in captured.err
    assert "\x1b" not in captured.out + captured.err
    notes = [line for line in captured.err.splitlines() if line.startswith("no caption for")]
    assert len(notes) == len(odd)
    assert max(map(len, notes)) < 500
    # Each clip took at most one question, one repair and one refinement.
    assert len(server.received) <= 3 * len(replies)


def test_odd_answers_about_classes_end_in_one_line(monkeypatch, capsys):
    for name, body in list(ODD_BODIES.items())[::4]:
        with serve(lambda request, number, body=body: Reply(raw=body)) as server:
            code = ask(monkeypatch, server, "--max-retries", "0", "--refresh")
        said = capsys.readouterr().err.splitlines()
        assert code == 5, name
        assert len([line for line in said if line.startswith("error: ")]) == 1, (name, said)
        assert not [line for line in said if "Traceback" in line], name


def then(begin, parts):
    yield begin
    yield from parts


HELD = {
    "silence": lambda: drip(b""),
    "headers that drip": lambda: then(HEAD[:20], drip(b"x", 0.05)),
    "a body that drips": lambda: then(HEAD, drip(b" ", 0.05)),
    "chunks that drip": lambda: then(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", drip(b"1\r\n \r\n", 0.05)
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_the_total_time_of_a_request_is_bounded(monkeypatch, capsys, name):
    with serve(lambda request, number: Reply(wire=HELD[name]())) as server:
        begun = time.monotonic()
        assert ask(monkeypatch, server, "--timeout", "0.3", "--max-retries", "1") == 5
        assert time.monotonic() - begun < 10
    assert len(server.received) <= 2  # a busy machine may be late to read a request
    assert "no answer within 0.3 s, tried 2 times" in capsys.readouterr().err


def test_an_endless_body_is_abandoned_after_4_mb(monkeypatch, capsys):
    sent = itertools.count()

    def parts():
        for part in endless(HEAD, b" " * 65536):
            next(sent)
            yield part

    with serve(lambda request, number: Reply(wire=parts())) as server:
        assert ask(monkeypatch, server, "--max-retries", "0") == 5
    assert next(sent) * 65536 < 20_000_000
    assert "its answer has more than 4 MB" in capsys.readouterr().err


def test_a_bomb_is_not_unpacked(monkeypatch, capsys):
    bomb = gzip.compress(b" " * 50_000_000)
    packed = Reply(raw=bomb, headers={"Content-Encoding": "gzip"})
    with serve(lambda request, number: packed) as server:
        assert ask(monkeypatch, server, "--max-retries", "0") == 5
    assert "packed" in capsys.readouterr().err


def test_the_wait_requested_by_a_server_is_bounded(monkeypatch):
    late = refused(429, "slow down")
    late.headers["Retry-After"] = "86400"
    with serve(lambda request, number: late) as server:
        begun = time.monotonic()
        assert ask(monkeypatch, server, "--max-retries", "3") == 5
        assert time.monotonic() - begun < 10


KEY_HINT, SAMPLING_HINT = "OPENAI_API_KEY", "--no-sampling"
JSON_REFUSALS = [
    (400, "Authentication Error, Invalid proxy server token passed", KEY_HINT),
    (400, "API key not valid. Please pass a valid API key.", KEY_HINT),
    (400, "No api key passed in.", KEY_HINT),
    (400, "invalid token", KEY_HINT),
    (422, "Unauthorized", KEY_HINT),
    (400, "bad request", KEY_HINT),
    (403, "forbidden", KEY_HINT),
    (401, "who are you", KEY_HINT),
    (400, "Unsupported value: 'temperature' does not support 0 with this model.", SAMPLING_HINT),
    (422, "extra inputs are not permitted: seed", SAMPLING_HINT),
]


@pytest.mark.parametrize(("status", "message", "hint"), JSON_REFUSALS)
def test_the_hint_fits_the_refusal(monkeypatch, capsys, status, message, hint):
    with serve(lambda request, number: refused(status, message)) as server:
        assert ask(monkeypatch, server, "--max-retries", "0") == 5
    said = capsys.readouterr().err
    shown = said[said.index("hint:") :]
    assert hint in shown
    assert {KEY_HINT: SAMPLING_HINT, SAMPLING_HINT: KEY_HINT}[hint] not in shown
    assert message in said


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_error_page_of_a_proxy_is_one_line(monkeypatch, capsys, status):
    page = b"<html><head><title>No</title></head><body>\x1b[31m<h1>Go away</h1></body></html>"
    with serve(lambda request, number: Reply(raw=page, status=status)) as server:
        assert ask(monkeypatch, server, "--max-retries", "0") == 5
    said = capsys.readouterr().err
    assert f"({status}): No [31m Go away" in said
    assert "OPENAI_API_KEY" in said[said.index("hint:") :]
    assert SAMPLING_HINT not in said


def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(monkeypatch, capsys):
    with serve(lambda request, number: Reply(GOOD)) as elsewhere:
        there = Reply(status=307, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with serve(lambda request, number: there) as server:
            assert ask(monkeypatch, server, "--max-retries", "0") == 5
        assert elsewhere.received == []
    assert "redirects to http://127.0.0.1" in capsys.readouterr().err


def test_a_key_that_a_server_repeats_is_kept_nowhere(tmp_path, monkeypatch, capsys):
    odd = completion(f'{{"caption": "The brows {KEY} rise.", "{KEY}": "{KEY}"}}')
    sneaky = completion(
        '{"caption": "The brows rise.", "note": "\\\\u0073k-secret-0123456789abcdef"}'
    )
    make_store(tmp_path / "faces", clips=3)
    replies = [Reply(raw=odd), Reply(raw=sneaky), refused(400, f"{KEY} is wrong")]
    with serve(by_clip(replies)) as server:
        assert describe(monkeypatch, server, "faces", "--max-retries", "0") in (3, 5)
    captured = capsys.readouterr()
    assert KEY not in captured.out + captured.err
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_a_login_in_the_address_is_sent_and_shown_nowhere(monkeypatch, capsys):
    with serve(lambda request, number: refused(400, "no: user and pa:ss")) as server:
        url = server.url.replace("http://", "http://user:pa%3Ass@")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        arguments = ["describe", "--classes", "emotions.txt", "--model", "m"]
        assert run([*arguments, "--max-retries", "0"]) == 5
    assert server.received[0].headers["authorization"].startswith("Basic ")
    said = capsys.readouterr().err
    assert "pa:ss" not in said
    assert "pa%3Ass" not in said


def test_a_flaky_refusal_of_a_key_costs_one_clip(tmp_path, monkeypatch):
    make_store(tmp_path / "faces", clips=5)
    good = Reply(caption_answer(SHORT))
    with serve(by_clip([good, refused(401, "not now"), good, good, good])) as server:
        assert describe(monkeypatch, server, "faces", "--max-retries", "0") == 3
    assert len(read_captions(tmp_path / "faces")) == 4


def test_a_refused_key_ends_after_three(tmp_path, monkeypatch, capsys):
    make_store(tmp_path / "faces", clips=9)
    with serve(lambda request, number: refused(401, "bad key")) as server:
        assert describe(monkeypatch, server, "faces", "--max-retries", "0") == 5
    assert len(server.received) <= describing.UNUSABLE_AFTER + 3  # some begin meanwhile
    assert "refused the key" in capsys.readouterr().err


def test_an_unusable_proxy_is_refused_before_anything_is_sent(monkeypatch, capsys):
    monkeypatch.setenv("HTTP_PROXY", "gopher://nowhere")
    with serve(lambda request, number: Reply(GOOD)) as server:
        assert ask(monkeypatch, server) == 2
    assert server.received == []
    assert "HTTP_PROXY" in capsys.readouterr().err
