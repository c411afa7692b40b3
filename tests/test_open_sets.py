"""RAVDESS and CREMA-D: names of clips, expected clips, folds, labels, one face store."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from drawn_sets import draw_crema_d, draw_ravdess

from dfercli.artifacts.face_store import read_clips, read_dataset
from dfercli.config import CheckConfig, PreprocessConfig
from dfercli.data.clips import has_one_class
from dfercli.data.crema_d import CREMA_D, LEFT_OUT, read_demographics, read_face_votes
from dfercli.data.folds import num_folds, read_fold
from dfercli.data.open_sets import RAW_SETS
from dfercli.data.ravdess import RAVDESS
from dfercli.data.raw_sets import Choice, find_takes
from dfercli.data.targets import soft_targets
from dfercli.descriptions.texts import shipped_texts
from dfercli.errors import ConfigError, DataError
from dfercli.labels import SEVEN
from dfercli.preprocessing import check_data
from dfercli.preprocessing import run as preprocess
from dfercli.progress import SilentProgress

REAL_TABLES = Path(__file__).parents[1] / "../shared/data/crema-d"


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ravdess")
    draw_ravdess(root, [1, 2, 5])
    return root


@pytest.fixture(scope="module")
def crema_d(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("crema-d")
    draw_crema_d(root, [1001, 1020])
    return root


def find_faces(name: str, root: Path, out: Path, **settings) -> preprocess.PreprocessResult:
    config = PreprocessConfig(
        sources=(name,), root=root, out=out, detector="haar", size=64, workers=0, **settings
    )
    return preprocess.run(config, SilentProgress())


def test_names_of_ravdess_tell_who_shows_what():
    take = RAVDESS.read_name("02-01-06-02-01-02-12")
    assert take is not None
    assert (take.subject, take.emotion, take.rank) == ("actor-12", "fear", 2)
    assert take.groups == {"sex": "female", "intensity": "strong"}
    assert take.key == RAVDESS.read_name("01-01-06-02-01-02-12").key
    assert RAVDESS.read_name("01-02-06-02-01-02-12").left_out == "songs"
    for name in ("03-01-06-02-01-02-12", "01-01-09-01-01-01-01", "01-01-06-01-01-01-25", "x"):
        assert RAVDESS.read_name(name) is None


def test_names_of_crema_d_tell_who_shows_what():
    take = CREMA_D.read_name("1001_IEO_HAP_LO")
    assert (take.subject, take.emotion, dict(take.groups)) == (
        "1001",
        "happiness",
        {"level": "low"},
    )
    assert CREMA_D.read_name("1064_IEO_DIS_MD").left_out
    for name in ("1092_IEO_HAP_LO", "1001_XYZ_HAP_LO", "1001_IEO_CAL_LO", "1001_IEO_HAP"):
        assert CREMA_D.read_name(name) is None


def test_ravdess_has_1440_spoken_takes_60_of_each_actor():
    takes = RAVDESS.expected()
    assert len({take.key for take in takes}) == len(takes) == 1440
    assert set(Counter(take.subject for take in takes).values()) == {60}
    assert Counter(take.emotion for take in takes) == {
        "neutral": 96,
        **dict.fromkeys(("calm", *(name for name in SEVEN if name != "neutral")), 192),
    }


def test_crema_d_has_7442_clips_as_published():
    takes = CREMA_D.expected()
    assert len({take.key for take in takes}) == len(takes) == 7442
    assert Counter(take.emotion for take in takes) == {
        "neutral": 1087,
        **dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness"), 1271),
    }
    levels = Counter(take.groups["level"] for take in takes)
    assert levels == {"low": 455, "medium": 455, "high": 455, "unspecified": 6077}


@pytest.mark.parametrize("raw_set", RAW_SETS.values(), ids=lambda raw_set: raw_set.name)
def test_each_actor_is_tested_in_one_fold(raw_set):
    tested = [subject for fold in raw_set.folds for subject in fold]
    assert sorted(tested) == sorted({take.subject for take in raw_set.expected()})
    assert num_folds(raw_set.name) == len(raw_set.folds)


def test_folds_are_the_usual_ones():
    assert [len(fold) for fold in RAVDESS.folds] == [4] * 6
    assert [len(fold) for fold in CREMA_D.folds] == [18, 18, 18, 18, 19]


@pytest.mark.media
def test_the_real_tables_of_crema_d_are_read_whole():
    votes = read_face_votes(REAL_TABLES)
    takes = CREMA_D.expected()
    assert set(votes) == {take.key for take in takes}
    ties = [clip for clip, seen in votes.items() if len(seen) > 1]
    used = [take for take in takes if take.left_out is None]
    labels = CREMA_D.label(used, REAL_TABLES, Choice("face-votes"))
    in_use = [clip for clip in ties if clip not in LEFT_OUT]
    assert len(ties) == 470
    assert list(labels.by_key.values()).count(None) == len(in_use)
    assert f"{len(in_use)} ties" in labels.how
    people = read_demographics(REAL_TABLES)
    assert Counter(person["sex"] for person in people.values()) == {"male": 48, "female": 43}
    assert set(people) == {take.subject for take in takes}


def test_one_file_of_each_take_is_used(tmp_path, ravdess):
    actor = tmp_path / "Actor_01"
    shutil.copytree(ravdess / "Actor_01", actor)
    first = sorted(actor.iterdir())[0]
    silent = first.with_name(f"02{first.name[2:]}")
    shutil.copy(first, silent)
    shutil.copy(first, first.with_name("01-02-03-01-01-01-01.mp4"))
    shutil.copy(first, first.with_name("holiday.mp4"))
    found = find_takes(RAVDESS, tmp_path)
    assert silent in found.doubles
    assert first in [path for _, path in found.takes]
    assert list(found.left_out) == ["songs"]
    assert [path.name for path in found.strangers] == ["holiday.mp4"]


def test_ravdess_becomes_a_face_store_with_labels_subjects_and_groups(tmp_path, ravdess):
    result = find_faces("ravdess", ravdess, tmp_path / "faces")
    assert not result.failures
    clips = read_clips(tmp_path / "faces")
    assert Counter(clip.label for clip in clips) == dict.fromkeys(SEVEN, 3)
    assert {clip.subject for clip in clips} == {"actor-01", "actor-02", "actor-05"}
    assert {clip.groups["sex"] for clip in clips if clip.subject == "actor-02"} == {"female"}
    dataset = read_dataset(tmp_path / "faces")
    assert dataset["label_set"] == list(SEVEN)
    assert dataset["raw_set"] == {"name": "ravdess", "labelling": "acted emotions, calm left out"}
    fold = read_fold("ravdess", root=tmp_path / "faces", fold=1)
    assert {clip.subject for clip in fold.test} == {"actor-01", "actor-02"}
    assert {clip.subject for clip in fold.train} == {"actor-05"}
    assert not fold.official
    assert fold.labelling == "acted emotions, calm left out"


def test_calm_is_a_choice_and_the_last_choice_counts(tmp_path, ravdess):
    out = tmp_path / "faces"
    find_faces("ravdess", ravdess, out, calm="own")
    assert read_dataset(out)["label_set"] == [*SEVEN, "calm"]
    assert Counter(clip.label for clip in read_clips(out))["calm"] == 3
    find_faces("ravdess", ravdess, out, calm="neutral")
    assert Counter(clip.label for clip in read_clips(out))["neutral"] == 6
    find_faces("ravdess", ravdess, out)
    assert Counter(clip.label for clip in read_clips(out))[None] == 3
    assert all(clip.label is not None for clip in read_fold(str(out)).train)
    assert len(read_fold(str(out)).train) == 21


def test_calm_has_a_text():
    assert shipped_texts((*SEVEN, "calm")).positive[-1][0]


def test_crema_d_is_labelled_as_acted_or_as_seen(tmp_path, crema_d):
    out = tmp_path / "faces"
    find_faces("crema-d", crema_d, out)
    dataset = read_dataset(out)
    assert len(dataset["label_set"]) == 6
    assert Counter(clip.label for clip in read_clips(out))["anger"] == 4
    find_faces("crema-d", crema_d, out, labels=Path("face-votes"))
    seen = Counter(clip.label for clip in read_clips(out))
    assert (seen["anger"], seen[None]) == (2, 2)
    groups = [clip.groups for clip in read_clips(out) if clip.subject == "1020"]
    assert {(g["sex"], g["age"], g["race"]) for g in groups} == {("female", "30 to 49", "asian")}
    fold = read_fold("crema-d", root=out, fold=1)
    assert fold.labelling.endswith("2 ties left out")
    assert {clip.subject for clip in fold.test} == {"1001"}


def test_tied_votes_are_trained_on_with_equal_shares_and_never_tested_on(tmp_path, crema_d):
    out = tmp_path / "faces"
    find_faces("crema-d", crema_d, out, labels=Path("face-votes"), ties="soft")
    tied = [clip for clip in read_clips(out) if clip.soft_label]
    assert len(tied) == 2
    assert all(clip.label is None and set(clip.soft_label.values()) == {0.5} for clip in tied)
    fold = read_fold("crema-d", root=out, fold=1)
    assert fold.labelling.endswith("2 ties trained on with equal shares, not tested on")
    there = {clip.clip_id for clip in (*fold.train, *fold.test)}
    assert {clip.clip_id for clip in tied} <= there
    targets = soft_targets(fold.train, fold.label_set)
    num_tied = sum(not has_one_class(clip) for clip in fold.train)
    assert num_tied
    assert (targets == 0.5).sum() == 2 * num_tied
    # The last choice counts.
    find_faces("crema-d", crema_d, out, labels=Path("face-votes"))
    assert not any(clip.soft_label for clip in read_clips(out))


@pytest.mark.media
def test_soft_ties_of_the_real_tables():
    takes = [take for take in CREMA_D.expected() if take.left_out is None]
    labels = CREMA_D.label(takes, REAL_TABLES, Choice("face-votes", ties="soft"))
    assert {key for key, label in labels.by_key.items() if label is None} == set(labels.soft)
    assert {len(shares) for shares in labels.soft.values()} == {2, 3, 4, 5}
    assert all(sum(shares.values()) == pytest.approx(1) for shares in labels.soft.values())


def test_pointers_of_git_lfs_are_recognised(tmp_path):
    folder = tmp_path / "VideoFlash"
    folder.mkdir()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "1001_IEO_HAP_LO.flv").write_text(pointer)
    with pytest.raises(DataError, match="1 of 1 videos are git LFS pointers") as told:
        find_faces("crema-d", tmp_path, tmp_path / "faces")
    assert "lfs pull" in told.value.hint


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ravdess", {"labels": Path("face-votes")}, "acted labels only"),
        ("crema-d", {"labels": Path("voices")}, "acted or face-votes, got voices"),
        ("crema-d", {"calm": "own"}, "no calm"),
        ("ravdess", {"classes": ("7",)}, "own classes"),
        ("ravdess", {"ties": "soft"}, "no votes"),
        ("crema-d", {"ties": "soft"}, "add --labels face-votes"),
    ],
)
def test_choices_that_a_set_does_not_have_are_refused(
    name, settings, message, tmp_path, ravdess, crema_d
):
    root = ravdess if name == "ravdess" else crema_d
    with pytest.raises(ConfigError, match=message):
        find_faces(name, root, tmp_path / "faces", **settings)
    assert not (tmp_path / "faces").exists()


def test_raw_videos_need_preprocess_first(ravdess):
    with pytest.raises(DataError, match="holds no faces") as told:
        read_fold("ravdess", root=ravdess)
    assert f"dfer preprocess ravdess --root {ravdess}" in told.value.hint


def test_faces_of_another_data_set_are_refused(tmp_path, crema_d):
    find_faces("crema-d", crema_d, tmp_path / "faces")
    with pytest.raises(DataError, match="holds crema-d, expected the faces of ravdess"):
        read_fold("ravdess", root=tmp_path / "faces")


def test_a_fold_whose_actors_are_missing_says_how_to_split(tmp_path, ravdess):
    find_faces("ravdess", ravdess, tmp_path / "faces")
    with pytest.raises(DataError, match="no clip to test on in fold 6") as told:
        read_fold("ravdess", root=tmp_path / "faces", fold=6)
    assert "--folds 3 --group subject" in told.value.hint


def test_further_columns_of_a_table_are_groups(tmp_path, ravdess):
    videos = sorted((ravdess / "Actor_01").iterdir())[:1]
    table = tmp_path / "labels.csv"
    table.write_text(f"source,label,subject,light\n{videos[0].name},neutral,a,dim\n")
    config = PreprocessConfig(
        sources=(str(videos[0]),), labels=table, out=tmp_path / "faces", detector="haar", workers=0
    )
    preprocess.run(config, SilentProgress())
    (clip,) = read_clips(tmp_path / "faces")
    assert clip.groups == {"light": "dim"}
    row = json.loads((tmp_path / "faces" / "clips.jsonl").read_text())
    assert row["groups"] == {"light": "dim"}


def test_planted_faults_in_a_copy_are_named_file_by_file(tmp_path, ravdess):
    root = tmp_path / "copy"
    shutil.copytree(ravdess, root)
    videos = sorted((root / "Actor_02").iterdir())
    videos[0].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    videos[1].write_bytes(b"")
    content = videos[2].read_bytes()
    videos[2].write_bytes(content[: len(content) // 3])
    videos[3].unlink()
    config = CheckConfig(dataset="ravdess", root=root, deep=True)
    report = check_data.run(config, SilentProgress())
    by_kind = {finding.kind: finding for finding in report.findings}
    assert by_kind["pointers"].names == (videos[0].name,)
    assert by_kind["empty"].names == (videos[1].name,)
    assert by_kind["unreadable"].names == (videos[2].name,)
    assert videos[3].stem[3:] in by_kind["missing"].names
    assert by_kind["missing"].count == 3 * 60 - 24 + 1
    assert by_kind["actors"].count == 21
    assert not by_kind["actors"].is_fault
    assert not report.is_clean
    assert report.published_counts["neutral"] == 96
    assert report.groups["actor"] == {"actor-01": 8, "actor-02": 7, "actor-05": 8}
    assert report.groups["sex"] == {"male": 16, "female": 7}


def test_a_deliberate_part_is_clean(ravdess):
    config = CheckConfig(dataset="ravdess", root=ravdess, subset=True, deep=True)
    report = check_data.run(config, SilentProgress())
    assert report.is_clean
    assert report.pictures_with_face == report.pictures_seen == 24
    kinds = {finding.kind: finding.is_fault for finding in report.findings}
    assert kinds == {"missing": False, "actors": False}


def test_missing_tables_are_named(tmp_path, crema_d):
    shutil.copytree(crema_d / "VideoFlash", tmp_path / "VideoFlash")
    report = check_data.run(
        CheckConfig(dataset="crema-d", root=tmp_path, subset=True), SilentProgress()
    )
    (tables,) = (finding for finding in report.findings if finding.kind == "tables")
    assert len(tables.names) == 2
    assert set(report.groups["level"]) == {"low", "medium", "high", "unspecified"}


def test_one_actor_alone_cannot_be_split(tmp_path, ravdess):
    root = tmp_path / "one"
    shutil.copytree(ravdess / "Actor_01", root / "Actor_01")
    find_faces("ravdess", root, tmp_path / "faces")
    with pytest.raises(DataError, match="no clip to train on") as told:
        read_fold("ravdess", root=tmp_path / "faces")
    assert "more people" in told.value.hint
    with pytest.raises(DataError, match="one subject"):
        read_fold(str(tmp_path / "faces"), folds=2, group="subject")
