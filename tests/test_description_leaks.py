import pytest

from dfercli.descriptions.leaks import LeakGuard, name_pattern, path_pattern, word_pattern
from dfercli.labels import ELEVEN

GUARD = LeakGuard(word_pattern((*ELEVEN, "awe", "happily surprised", "calmness", "高兴")),
                  path_pattern(["happy/a_01.mp4", "a_01.mp4"]))  # fmt: skip


@pytest.mark.parametrize(
    "word",
    [
        *ELEVEN,
        "Happy", "happily", "happier", "unhappy", "joyful", "JOYOUS", "cheerful", "delight",
        "sad", "sadly", "sadder", "saddened", "sorrowful", "grieving",
        "neutrally", "expressionless", "angry", "angrily", "angered", "furious", "raging",
        "enraged", "irritated", "annoying", "surprised", "surprisingly", "astonished",
        "amazement", "startled",
        "stunned", "disgusted", "disgusting", "repulsed", "fearful", "fears", "afraid", "scared",
        "frightened", "terrified", "horrified", "panicky", "contemptuous", "scornful", "disdainful",
        "anxious", "anxiously", "nervously", "worried", "worrying", "helpless", "helplessly",
        "powerless", "disappointed", "disappointing", "dismayed", "discouraged", "awed", "awesome",
        "calm", "calmly", "calmer", "a_01.mp4", "很高兴的脸", "hap\u200bpy",
        "\uff48\uff41\uff50\uff50\uff59",
    ],
)  # fmt: skip
def test_labels_inflections_synonyms_and_paths_are_found_and_masked(word):
    text = f"A face, {word}, with raised brows."
    assert GUARD.find(text)
    masked, number = GUARD.mask(text)
    assert number == 1
    assert "..." in masked
    assert not GUARD.find(masked)


def test_neutral_words_of_facial_actions_pass():
    text = (
        "The brows lower and draw together, the eyelids tighten, and the gaze drops. The nose "
        "wrinkles as the upper lip rises; the mouth opens wide, the teeth show, the jaw drops and "
        "the chin is pushed up. The cheeks lift in a smile, the lip corners are stretched, and the "
        "head tilts, turns away and nods. A scar, a saddle, a rag, a stage, an angle, a madam, "
        "a pleat, a joint, a screen, a made-up face and a content page are no feelings."
    )
    assert GUARD.find(text) == ()
    assert GUARD.mask(text) == (text, 0)


def test_a_class_name_is_told_from_its_synonyms():
    import re

    name = re.compile(name_pattern("happiness"), re.IGNORECASE)
    assert name.search("a happy face")
    assert not name.search("a joyful face")


def test_an_empty_label_set_finds_nothing():
    guard = LeakGuard(word_pattern(()), path_pattern(()))
    assert guard.find("A happy face.") == ()
