import pytest

from dfercli.descriptions.answers import AnswerForm, parse_answer


def read_number(value):
    if not isinstance(value, dict) or not isinstance(value.get("n"), int):
        raise ValueError("no number")
    return value["n"]


FORM = AnswerForm("number", {"type": "object"}, read_number)


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 3}',
        ' \n{"n": 3}\n',
        '```json\n{"n": 3}\n```',
        '```\n{"n": 3}```',
        'Result: {"n": 3}.',
        'First [1, 2] and {"x": 1}, then {"n": 3}',
        'An {unclosed brace, then {"n": 3}',
        '<think>{"n": 4}</think>{"n": 3}',
        '```json\n{"n": "wrong"}\n```\n{"n": 3}',
    ],
)
def test_json_is_found_wherever_it_is(text):
    assert parse_answer(text, FORM, str)[1] == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("no", "no JSON"),
        ('{"n": 3', "no JSON"),
        ('{"n": "3"}', "no number"),
        ("[1]", "no number"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_answer(text, FORM, str)


def test_many_open_brackets_are_read_in_reasonable_time():
    with pytest.raises(ValueError, match="no JSON"):
        parse_answer("[" * 900 + "x", FORM, str)
