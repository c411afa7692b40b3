"""The table of models by name: every entry is complete, and a wrong one is named."""

import re

import pytest

from dfercli.errors import ArtifactError
from dfercli.registry import expand, named_model, named_models, read_registry, similar_names

ENTRY = """
[family.all]
kind = "clip"
classes = "any"
clip = "tiny/random"
clip_hub = "a/b"
templates = "five"
selected_on = "nothing"
licence_code = "MIT"
licence_weights = "MIT"
licence_data = "none"
research_only = false
page = "https://example.org"
citation = "none"
most_bytes = 1000
results = []
[family.part]
family = "all"
citation = "of the part"
[[model]]
family = "part"
name = "one"
place = "open_clip:tiny/random"
"""


def test_the_shipped_table_holds_the_published_facts():
    names = [model.name for model in named_models()]
    assert len(names) == 17
    assert [name for name in names if name.startswith("dfer-clip")] == [
        *(f"dfer-clip-dfew-{fold}" for fold in range(1, 6)),
        "dfer-clip-ferv39k",
        *(f"dfer-clip-mafw-{fold}" for fold in range(1, 6)),
    ]
    drives = [model.drive_id for model in named_models() if model.kind == "dfer-clip"]
    assert len(set(drives)) == 11
    assert all(re.fullmatch(r"1[\w-]{32}", drive) for drive in drives)
    for model in named_models():
        assert model.results, model.name
        assert model.hand_page.startswith("https://")
        assert model.is_zero_shot == (model.label_set is None)
    ferv39k = named_model("dfer-clip-ferv39k")
    assert str(ferv39k.results[0]) == (
        "UAR 41.27 %, WAR 51.65 % on FERV39k (official test list, best-on-test)"
    )
    assert named_model("exp-clip-l14").results[0].war == 47.09


def test_a_name_may_stand_for_its_folds():
    assert expand("dfer-clip-mafw") == tuple(f"dfer-clip-mafw-{fold}" for fold in range(1, 6))
    assert expand("dfer-clip-ferv39k") == ("dfer-clip-ferv39k",)
    assert expand("clip-b32") == ("clip-b32",)
    assert "exp-clip-b32" in similar_names("expclip-b32")


def test_the_nearest_value_to_a_model_wins(tmp_path):
    path = tmp_path / "models.toml"
    path.write_text(ENTRY)
    (model,) = read_registry(path)
    assert (model.citation, model.licence_code) == ("of the part", "MIT")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('place = "open_clip:tiny/random"', 'place = "file:///etc/passwd"', "place: expected text"),
        ('name = "one"', 'name = "../one"', "name: expected text"),
        ('name = "one"', "", "missing name"),
        ("most_bytes = 1000", 'most_bytes = "many"', "most_bytes: expected a whole number"),
        ('family = "part"', 'family = "none"', "no such family"),
        ('family = "all"', 'family = "part"', "no such family, or one of itself"),
        ('clip = "tiny/random"', "", "clip, clip_hub and templates go with a zero-shot model"),
        (
            "results = []",
            "results = [{ dataset='d', uar=101, war=1, protocol='p' }]",
            "uar",
        ),
        ("[[model]]", "[[model]", "cannot read"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, old, new, message):
    path = tmp_path / "models.toml"
    path.write_text(ENTRY.replace(old, new))
    with pytest.raises(ArtifactError, match=message):
        read_registry(path)


def test_a_repeated_name_is_refused(tmp_path):
    path = tmp_path / "models.toml"
    path.write_text(ENTRY + ENTRY[ENTRY.index("[[model]]") :])
    with pytest.raises(ArtifactError, match="model one: the name appears twice"):
        read_registry(path)
