import os
from pathlib import Path

import pytest

from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.jsonl import append_row, read_rows
from dfercli.artifacts.tables import user_csv
from dfercli.data.layout import numbered_lines
from dfercli.descriptions.label_lists import read_label_list
from dfercli.descriptions.prompt_files import read_template
from dfercli.documents import MAX_DEPTH, MAX_DOCUMENT_BYTES, parse_json, parse_toml
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.evaluation.group_file import read_groups
from dfercli.overrides import read_toml

HOSTILE_JSON = {
    "deep": (b"[" * 10_000 + b"]" * 10_000, "nested deeper than 64 levels"),
    "deep-objects": (b'{"a":' * 100 + b"1" + b"}" * 100, "nested deeper than 64 levels"),
    "duplicate": (b'{"clip_id": "a", "clip_id": "../../x"}', "'clip_id' comes twice"),
    "nan": (b'{"war": NaN}', "NaN is not a number"),
    "infinity": (b"[-Infinity]", "-Infinity is not a number"),
    "beyond-all-bounds": (b'{"war": [1e400]}', "1e400 is too large"),
    "surrogate": (b'{"a": "\\ud800"}', "half of a surrogate pair"),
    "surrogate-name": (b'{"\\uDfff": 1}', "half of a surrogate pair"),
    "digits": (b"[" + b"9" * 10_000 + b"]", "digit"),
    "latin-1": ('{"a": "\xe9"}'.encode("latin-1"), "not UTF-8 (at byte 7)"),
    "cut": (b'{"a": ', "Expecting value"),
    "empty": (b"", "Expecting value"),
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_hostile_json_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, reason = HOSTILE_JSON[name]
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        read_json(path)
    assert "model.json" in caught.value.message
    assert reason in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    if content:
        path = tmp_path / "clips.jsonl"
        path.write_bytes(b'{"fine": 1}\n' + content + b"\n")
        with pytest.raises(ArtifactError, match=r"clips.jsonl, line 2: ") as caught:
            list(read_rows(path))
        assert reason in caught.value.message


def test_honest_documents_are_read() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(deepest) is not None
    assert parse_json(b'\xef\xbb\xbf{"a": "[[[\\ud83d\\ude00"}') == {"a": "[[[\U0001f600"}
    brackets = "[" * 1000
    assert parse_json(f'["{brackets}"]') == [brackets]
    assert parse_toml("\ufeffa = 1") == {"a": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"a = " + b"[" * 5000 + b"]" * 5000,
        b".".join([b"a"] * 1000) + b" = 1",
        b"a = 1\na = 2",
        b"a = '\xff'",
        b"a = = 2",
    ],
)
def test_hostile_toml_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"not valid TOML: .*sweep.toml: "):
        read_toml(path)


def test_no_more_is_read_than_a_document_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(ArtifactError, match="larger than 16 MiB"):
        read_json(path)
    with pytest.raises(ConfigError, match="larger than 16 MiB"):
        read_toml(path)
    with pytest.raises(ArtifactError, match="a line is longer than 16 MiB"):
        list(read_rows(path))
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="larger than 1024 MiB"):
        list(read_rows(path))


def test_nobody_waits_for_a_pipe_that_lies_in_place_of_an_artefact(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(ArtifactError, match="not a regular file"):
        read_json(tmp_path / "model.json")
    with pytest.raises(ArtifactError, match="not a regular file"):
        list(read_rows(tmp_path / "model.json"))
    with pytest.raises(ArtifactError, match="a folder"):
        read_json(tmp_path)


def test_a_torn_end_is_told_from_a_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_row(path, {"a": 1})
    with path.open("ab") as file:
        file.write(b'{"a": "\xc3')  # a kill in the middle of a letter
    assert list(read_rows(path, allow_torn_end=True)) == [{"a": 1}]
    with pytest.raises(ArtifactError, match="line 2"):
        list(read_rows(path))
    with path.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ArtifactError, match="line 2"):
        list(read_rows(path, allow_torn_end=True))


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda path: numbered_lines(path), DataError),
        (lambda path: read_groups(path), DataError),
        (lambda path: read_label_list(str(path)), DataError),
        (lambda path: read_template("unused", path), ConfigError),
        (lambda path: user_rows(path), DataError),
    ],
)
@pytest.mark.parametrize(
    ("content", "reason"), [(b"subject,sex\na\0b,f\n", "zero byte in line 2"), (None, "larger")]
)
def test_texts_of_users_are_bounded_and_hold_no_zero_byte(tmp_path, read, error, content, reason):
    path = tmp_path / "text"
    if content is None:
        with path.open("wb") as file:
            file.truncate(MAX_DOCUMENT_BYTES + 1)
    else:
        path.write_bytes(content)
    with pytest.raises(error, match=reason):
        read(path)


def user_rows(path):
    with user_csv(path) as rows:
        return list(rows)
