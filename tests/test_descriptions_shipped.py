import json

import pytest

from dfercli.descriptions.texts import (
    load_texts,
    read_texts,
    shipped_texts,
    write_texts,
    zero_shot_templates,
)
from dfercli.descriptions.tokens import text_limit, token_counter
from dfercli.errors import ArtifactError, ConfigError
from dfercli.labels import ALIASES, ELEVEN, SEVEN


@pytest.fixture(scope="module")
def count():
    return token_counter()


def test_shipped_descriptions_take_at_most_60_clip_tokens(count):
    texts = shipped_texts(ELEVEN, "description")
    lengths = {label: count(text[0]) for label, text in zip(ELEVEN, texts.positive, strict=True)}
    assert max(lengths.values()) <= 60, lengths


def test_the_counter_agrees_with_open_clips_tokenizer(count):
    from open_clip import get_tokenizer

    text = shipped_texts(SEVEN).positive[0][0]
    ids = get_tokenizer("ViT-B-32")([text])[0]
    assert int((ids != 0).sum()) == count(text) + 2  # start and end token
    assert text_limit(8) == 67


@pytest.mark.parametrize("style", ["description", "name", "context"])
def test_shipped_class_texts_end_with_one_full_stop_and_differ(style):
    texts = [variants[0] for variants in shipped_texts(ELEVEN, style).positive]
    assert all(text.endswith(".") and not text.endswith("..") for text in texts)
    assert len(set(texts)) == len(ELEVEN)


def test_shipped_descriptions_name_no_class():
    words = {*ELEVEN, *ALIASES}
    for text in shipped_texts(ELEVEN).positive:
        assert not words & set(text[0].lower().replace(",", " ").replace(".", " ").split())


def test_shipped_texts_follow_the_published_forms():
    assert shipped_texts(SEVEN, "name").positive[0] == ("happiness.",)
    assert shipped_texts(SEVEN, "context").positive[0] == ("an expression of happiness.",)
    pairs = shipped_texts(SEVEN, "pn")
    assert pairs.positive[0] == ("A person with an expression of happiness",)
    assert pairs.negative[0] == ("A person with an expression of no happiness",)
    assert pairs.provenance == {"source": "shipped", "author": "written for dfer"}


@pytest.mark.parametrize("style", ["name", "context", "pn"])
def test_styles_without_written_texts_work_for_any_label(style):
    texts = shipped_texts(("awe", "joy"), style)
    assert "awe" in texts.positive[0][0]
    assert len(texts.positive) == 2


def test_a_description_of_an_unknown_class_is_refused_with_the_ways_out():
    with pytest.raises(ConfigError, match="awe") as caught:
        shipped_texts(("happiness", "awe"))
    assert "--model" in caught.value.hint
    assert "--text-type name" in caught.value.hint


def test_texts_survive_writing_and_reading(tmp_path):
    for style in ("description", "pn"):
        texts = shipped_texts(ELEVEN, style)
        write_texts(tmp_path / "texts.json", texts)
        assert read_texts(tmp_path / "texts.json") == texts
        assert load_texts(tmp_path / "texts.json", ELEVEN) == texts


def test_load_texts_follows_the_order_of_the_label_set(tmp_path):
    write_texts(tmp_path / "texts.json", shipped_texts(ELEVEN))
    wanted = ("fear", "happiness")
    texts = load_texts(tmp_path / "texts.json", wanted)
    assert texts.label_set == wanted
    assert texts.positive == shipped_texts(wanted).positive


def test_load_texts_names_a_class_that_is_missing(tmp_path):
    write_texts(tmp_path / "texts.json", shipped_texts(SEVEN))
    with pytest.raises(ConfigError, match="contempt"):
        load_texts(tmp_path / "texts.json", ELEVEN)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"schema": "other/1"}',
        '{"schema": "dfer.descriptions/1"}',
        '{"schema": "dfer.descriptions/1", "classes": []}',
        '{"schema": "dfer.descriptions/1", "classes": [{"name": "a", "positive": [""]}]}',
        '{"schema": "dfer.descriptions/1", "classes": [{"name": "a", "positive": "x"}]}',
        '{"schema": "dfer.descriptions/1", "classes": [{"name": "a", "positive": ["x"]},'
        ' {"name": "b", "positive": ["x", "y"]}]}',
        '{"schema": "dfer.descriptions/1", "classes": [{"name": "a", "positive": ["x"]},'
        ' {"name": "a", "positive": ["y"]}]}',
    ],
)
def test_a_broken_descriptions_file_is_refused(tmp_path, content):
    path = tmp_path / "texts.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=r"texts\.json"):
        read_texts(path)


def test_zero_shot_templates_come_in_sets_of_one_five_and_ten():
    sizes = {name: len(set(zero_shot_templates(name))) for name in ("name", "five", "ten")}
    assert sizes == {"name": 1, "five": 5, "ten": 10}
    assert all(text.count("{name}") == 1 for text in zero_shot_templates("ten"))
    assert zero_shot_templates("photo") == ("a photo of a face with an expression of {name}.",)
    with pytest.raises(ConfigError, match="twelve"):
        zero_shot_templates("twelve")


def test_descriptions_file_is_json_with_a_schema(tmp_path):
    write_texts(tmp_path / "texts.json", shipped_texts(SEVEN))
    content = json.loads((tmp_path / "texts.json").read_text())
    assert content["schema"] == "dfer.descriptions/1"
    assert [entry["name"] for entry in content["classes"]] == list(SEVEN)
