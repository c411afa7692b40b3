from pathlib import Path

import pytest

from dfercli.cli.app import run
from dfercli.config import DescribeConfig
from dfercli.descriptions.captions import CaptionPlan, sample_positions
from dfercli.descriptions.checks import text_problems, tidy
from dfercli.descriptions.class_writer import class_prompt
from dfercli.descriptions.label_lists import LabelList
from dfercli.descriptions.leaks import LeakGuard, path_pattern, word_pattern
from dfercli.descriptions.prompt_files import prompts_folder, render
from dfercli.errors import ConfigError
from dfercli.labels import ELEVEN


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def test_a_missing_variable_is_named_with_those_there_are():
    with pytest.raises(
        ConfigError, match=r"mine\.txt: no value for the variable \$label"
    ) as caught:
        render("Say $label.", "mine.txt", classes="awe", variants="1")
    assert caught.value.hint == "it may use $classes, $variants"


def test_a_malformed_placeholder_is_an_error():
    with pytest.raises(ConfigError, match=r"mine\.txt"):
        render("It costs $5.", "mine.txt")
    assert render("It costs $$5.", "mine.txt") == "It costs $5."


def test_every_shipped_template_renders_without_a_placeholder_left():
    plan = CaptionPlan(DescribeConfig(), "m", "m", ELEVEN)
    rendered = [
        class_prompt(LabelList(ELEVEN), DescribeConfig(style=style, no_names=no_names))
        for style in ("description", "pn")
        for no_names in (False, True)
    ]
    rendered += [plan.prompt(8), plan.refine_prompt("The brows rise.")]
    for prompt in rendered:
        assert "$" not in prompt
        assert "JSON" in prompt


def test_caption_prompts_name_no_class():
    guard = LeakGuard(word_pattern(ELEVEN), path_pattern(()))
    plan = CaptionPlan(DescribeConfig(), "m", "m", ELEVEN)
    assert guard.find(plan.prompt(8)) == ()
    assert guard.find(plan.refine_prompt("The brows rise.")) == ()
    assert guard.find((prompts_folder() / "caption_again.txt").read_text()) == ()


def test_the_users_own_template_is_used(capsys):
    Path("emotions.txt").write_text("awe\n")
    Path("mine.txt").write_text("MINE: $classes in $language")
    ask = ["describe", "--classes", "emotions.txt", "--prompt", "mine.txt", "--dry-run"]
    assert run(ask) == 0
    out = capsys.readouterr().out
    assert "MINE: - awe in English" in out
    assert "requests: at most 1" in out
    Path("mine.txt").write_text("$classes $oops")
    assert run(ask) == 2
    assert "mine.txt: no value for the variable $oops" in capsys.readouterr().err
    Path("mine.txt").unlink()
    assert run(ask) == 2
    assert "cannot read the prompt template mine.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" The brows\nrise ", "The brows rise."),
        ('"The brows rise."', "The brows rise."),
        ("“The brows rise”", "The brows rise."),
        ("眉毛抬起。", "眉毛抬起。"),
        ("", ""),
    ],
)
def test_texts_are_tidied_to_one_sentence_on_one_line(text, shown):
    assert tidy(text) == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("...", "empty"),
        ("# Brows", "plain text"),
        ("<end_of_text>", "plain text"),
        ("Brows 😀 up.", "plain text"),
        ("See http://example.org now.", "plain text"),
        ("one two three four", "4 CLIP tokens, 3 are allowed"),
    ],
)
def test_texts_that_may_not_be_kept(text, reason):
    problems = text_problems(text, limit=3, count=lambda text: len(text.split()))
    assert any(reason in problem for problem in problems)


def test_good_text_in_any_language_passes():
    for text in ("Brows up, one side (left).", "Die Brauen heben sich.", "眉毛抬起。"):
        assert text_problems(text, limit=9, count=lambda text: len(text.split())) == []


def test_frames_are_sampled_evenly_with_both_ends():
    assert sample_positions(1, 8) == (0,)
    assert sample_positions(5, 8) == (0, 1, 2, 3, 4)
    assert sample_positions(100, 4) == (0, 33, 66, 99)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--variants", "0"], "variants is at least 1, got 0"),
        (["--rate", "0"], "rate is above 0, got 0"),
        (["--timeout", "-1", "--concurrency", "0"], "concurrency is at least 1, got 0; timeout"),
        (["--images", "film"], "'--images': 'film' is not one of 'sheet', 'separate'"),
        (["--style", "name", "--variants", "2"], "style name has one fixed text per class"),
        (["--context-tokens", "70"], "context-tokens is at most"),
    ],
)
def test_settings_out_of_range_are_usage_errors(arguments, words, capsys):
    assert run(["describe", "--classes", "7", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_settings_come_from_the_command_line_before_the_file(capsys):
    Path("settings.toml").write_text('[describe]\nlanguage = "German"\nvariants = 3\n')
    Path("emotions.txt").write_text("awe\n")
    ask = ["describe", "--classes", "emotions.txt", "--dry-run", "--config", "settings.toml"]
    assert run([*ask, "--variants", "2"]) == 0
    out = capsys.readouterr().out
    assert "in German" in out
    assert "Texts per class: 2." in out
    Path("settings.toml").write_text("[describe]\nvariant = 3\n")
    assert run(ask) == 2
    assert "unknown setting variant" in capsys.readouterr().err


def test_diff_shows_the_classes_that_differ(capsys):
    assert run(["describe", "--classes", "7", "--out", "a.json"]) == 0
    assert run(["describe", "--classes", "11", "--out", "b.json"]) == 0
    Path("b.json").write_text(Path("b.json").read_text().replace("The brows sink", "Brows sink"))
    capsys.readouterr()
    assert run(["describe", "--diff", "a.json", "b.json"]) == 0
    out = capsys.readouterr().out
    assert "disappointment" in out
    assert "(absent)" in out
    assert "happiness" not in out
    assert run(["describe", "--diff", "a.json", "a.json"]) == 0
    assert "the texts are the same" in capsys.readouterr().out


def test_show_reads_a_descriptions_file(capsys):
    assert run(["describe", "--classes", "7", "--style", "pn", "--out", "a.json"]) == 0
    capsys.readouterr()
    assert run(["describe", "a.json", "--show"]) == 0
    out = capsys.readouterr().out
    assert "happiness (negative)" in out
    assert "A person with an expression of no happiness" in out
