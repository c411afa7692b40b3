import json
from pathlib import Path

import pytest

from dfercli.cli.app import run
from dfercli.labels import ELEVEN, SEVEN


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("number", "label_set"), [("7", SEVEN), ("11", ELEVEN)])
def test_describe_prints_and_writes_the_shipped_texts(number, label_set, capsys):
    assert run(["describe", "--classes", number]) == 0
    out, err = capsys.readouterr()
    content = json.loads(Path(f"descriptions-{number}.json").read_text())
    assert [entry["name"] for entry in content["classes"]] == list(label_set)
    assert content["provenance"] == {"source": "shipped", "author": "written for dfer"}
    for entry in content["classes"]:
        assert f"{entry['name']}: {entry['positive'][0]}" in out
    assert f"descriptions-{number}.json" in err


def test_json_prints_what_is_written(capsys):
    assert run(["describe", "--classes", "7", "--style", "pn", "--out", "pn.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path("pn.json").read_text())


def test_show_prints_a_table_with_token_counts_and_writes_nothing(capsys):
    assert run(["describe", "--classes", "7", "--style", "context", "--show"]) == 0
    out = capsys.readouterr().out
    assert "an expression of happiness." in out
    assert "CLIP tokens" in out
    assert list(Path().iterdir()) == []


def test_a_file_with_other_texts_is_kept_unless_overwritten(capsys):
    Path("descriptions-7.json").write_text("{}")
    assert run(["describe", "--classes", "7"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert Path("descriptions-7.json").read_text() == "{}"
    assert run(["describe", "--classes", "7", "--overwrite"]) == 0
    assert run(["describe", "--classes", "7"]) == 0  # the same texts again


def test_unknown_classes_without_a_key_say_what_to_do(capsys):
    Path("emotions.txt").write_text("awe\nboredom  # as in lectures\n")
    assert run(["describe", "--classes", "emotions.txt"]) == 2
    err = capsys.readouterr().err
    assert err.count("error:") == 1
    assert "hint:" in err
    assert "OPENAI_API_KEY" in err


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("", 3, "holds no class"),
        ("awe\nAwe\n", 3, "twice"),
        ("".join(f"x{n}\n" for n in range(50_000)) * 2, 3, "twice: x0, x1, x10, x100, x1000\n"),
        ("awe\n---\n", 3, "not a class name"),
        ("awe: wonder\n", 3, "definitions go into a JSON file"),
        ("[1, 2]", 3, "got 1"),
        ("{broken", 3, "not valid JSON"),
    ],
)
def test_a_broken_list_of_classes_is_named(content, code, words, capsys):
    Path("emotions.txt").write_text(content)
    assert run(["describe", "--classes", "emotions.txt", "--style", "name"]) == code
    assert words in capsys.readouterr().err


def test_a_list_file_of_names_works_without_any_model():
    Path("emotions.json").write_text('{"awe": "wonder at something vast", "joy": ""}')
    assert run(["describe", "--classes", "emotions.json", "--style", "name"]) == 0
    content = json.loads(Path("descriptions-emotions-name.json").read_text())
    assert [entry["positive"] for entry in content["classes"]] == [["awe."], ["joy."]]


def test_usage_errors_are_one_line(capsys):
    for arguments in (["--classes", "12"], ["--classes", "7", "--style", "poem"], []):
        assert run(["describe", *arguments]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_an_interrupted_run_says_so_and_exits_with_130(monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("dfercli.descriptions.run.describe_classes", interrupted)
    assert run(["describe", "--classes", "7"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
