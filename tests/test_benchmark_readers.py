import shutil

import pytest
from miniature_datasets import (
    dfew_rows,
    mafw_rows,
    make_dfew,
    make_ferv39k,
    make_mafw,
    write_frames,
)

from dfercli.data.folds import num_folds, read_fold, split_warning
from dfercli.data.frames import list_frames
from dfercli.data.published_sizes import TOTALS, PublishedTotals
from dfercli.errors import ConfigError, DataError
from dfercli.labels import ELEVEN, SEVEN


@pytest.fixture(scope="module")
def dfew(tmp_path_factory):
    return make_dfew(tmp_path_factory.mktemp("dfew"))


@pytest.fixture(scope="module")
def ferv39k(tmp_path_factory):
    return make_ferv39k(tmp_path_factory.mktemp("ferv39k"))


@pytest.fixture(scope="module")
def mafw(tmp_path_factory):
    return make_mafw(tmp_path_factory.mktemp("mafw"))


def labels(clips):
    return {clip.clip_id: clip.label for clip in clips}


def test_published_totals_add_up():
    for totals in TOTALS.values():
        assert sum(totals.label_counts.values()) == totals.num_clips
        assert {train + test for train, test in totals.fold_sizes} == {totals.num_clips}


def test_dfew_labels_count_from_one_and_names_are_unpadded(dfew):
    for number in range(1, 6):
        fold = read_fold("dfew", root=dfew, fold=number)
        expected = {f"{clip:05d}": SEVEN[label] for clip, label in dfew_rows("test", number)}
        assert labels(fold.test) == expected
        assert len(fold.train) == 11


def test_dfew_repackaged_lists_count_labels_from_zero_under_the_same_header(dfew, tmp_path):
    root = make_dfew(tmp_path, repackaged=True)
    for number in (1, 4):
        published = read_fold("dfew", root=dfew, fold=number)
        repackaged = read_fold("dfew", root=root, fold=number)
        assert labels(repackaged.train) == labels(published.train)
        assert labels(repackaged.test) == labels(published.test)


@pytest.mark.parametrize(
    "frames",
    [
        "Clip/clip_224x224",
        "Clip/clip_224x224_16f",
        "Clip/original",
        "jpg_224",
        "DFEW-part2/Clip/clip_224x224",
        "DFEW-part2/jpg_224",
    ],
)
def test_dfew_frames_are_found_in_every_layout(frames, tmp_path):
    fold = read_fold("dfew", root=make_dfew(tmp_path, frames=frames), fold=2)
    assert fold.frame_source == frames
    assert fold.test[0].location == tmp_path / frames / "00003"


def test_dfew_face_crops_are_preferred_to_whole_frames(tmp_path):
    root = make_dfew(tmp_path, frames="Clip/original")
    shutil.copytree(root / "Clip/original", root / "Clip/clip_224x224")
    assert read_fold("dfew", root=root).frame_source == "Clip/clip_224x224"
    assert read_fold("dfew", root=root, frames="Clip/original").frame_source == "Clip/original"


def test_dfew_unpadded_clip_folders_are_found(tmp_path):
    root = make_dfew(tmp_path)
    (root / "Clip/clip_224x224/00003").rename(root / "Clip/clip_224x224/3")
    assert read_fold("dfew", root=root, fold=2).test[0].location.name == "3"


def test_dfew_videos_are_taken_where_only_videos_exist(tmp_path):
    root = make_dfew(tmp_path)
    folder = root / "Clip/clip_224x224"
    for clip in folder.iterdir():
        shutil.rmtree(clip)
    folder.rename(root / "Clip/clip_224x224_avi")
    for number in range(1, 15):
        (root / f"Clip/clip_224x224_avi/{number}.avi").write_bytes(b"RIFF")
    fold = read_fold("dfew", root=root, fold=1)
    assert fold.test[0].location == root / "Clip/clip_224x224_avi/1.avi"


def test_dfew_labels_that_are_neither_form_are_refused(tmp_path):
    root = make_dfew(tmp_path)
    path = root / "EmoLabel_DataSplit/train(single-labeled)/set_1.csv"
    path.write_text(path.read_text() + "15,0\n")
    with pytest.raises(DataError, match="labels 0 to 7, expected 1 to 7"):
        read_fold("dfew", root=root, fold=1)


def test_dfew_broken_row_is_named(tmp_path):
    root = make_dfew(tmp_path)
    path = root / "EmoLabel_DataSplit/test(single-labeled)/set_1.csv"
    path.write_text("video_name,label\n1,happy\n")
    with pytest.raises(DataError, match=r"set_1\.csv, line 2: expected two numbers, got '1,happy'"):
        read_fold("dfew", root=root, fold=1)


def test_frames_are_jpg_or_png_padded_or_not_and_in_natural_order(tmp_path):
    root = make_dfew(tmp_path, suffix="png", pad=0, count=12)
    clip = read_fold("dfew", root=root).train[0]
    assert [path.name for path in list_frames(clip.location)] == [f"{n}.png" for n in range(1, 13)]


def test_ferv39k_rows_are_separated_by_a_space_and_labels_are_words(ferv39k):
    fold = read_fold("ferv39k", root=ferv39k)
    assert labels(fold.train)["Action/Angry/0001"] == "anger"
    assert fold.label_set == SEVEN


def test_ferv39k_has_no_header_so_the_first_row_is_a_clip(ferv39k):
    fold = read_fold("ferv39k", root=ferv39k)
    assert fold.train[0].clip_id == "Action/Happy/0001"
    assert (len(fold.train), len(fold.test)) == (14, 14)


def test_ferv39k_clips_are_named_by_their_whole_path_because_numbers_repeat(ferv39k):
    fold = read_fold("ferv39k", root=ferv39k)
    assert len({clip.location for clip in fold.train}) == 14
    assert {clip.location.name for clip in fold.train} == {"0001"}


def test_ferv39k_scene_with_a_space_in_its_name_is_read(ferv39k):
    assert "Daily Life/Fear/0002" in labels(read_fold("ferv39k", root=ferv39k).test)


def test_ferv39k_whole_scenes_are_taken_where_there_are_no_face_crops(tmp_path):
    root = make_ferv39k(tmp_path, frames="3_ClipsforScenImages")
    assert read_fold("ferv39k", root=root).frame_source == "3_ClipsforScenImages"


def test_ferv39k_has_one_fold(ferv39k):
    assert num_folds("ferv39k") == 1
    with pytest.raises(ConfigError, match="ferv39k has 1 fold, got --fold 2"):
        read_fold("ferv39k", root=ferv39k, fold=2)


def test_ferv39k_unknown_word_is_named_with_its_line(tmp_path):
    root = make_ferv39k(tmp_path)
    path = root / "4_setups/All_scenes/test_All.csv"
    path.write_text(path.read_text() + "Action/Joy/0001 Joy\n")
    with pytest.raises(DataError, match=r"test_All\.csv, line 15: .*'Action/Joy/0001 Joy'"):
        read_fold("ferv39k", root=root)


def test_mafw_lists_without_captions_have_crlf_and_no_header(mafw):
    fold = read_fold("mafw", root=mafw, fold=3)
    expected = {file[:5]: name for file, name in mafw_rows("test", 3, ELEVEN)}
    assert labels(fold.test) == expected
    assert fold.label_set == ELEVEN


def test_mafw_lists_with_captions_are_gbk_with_tabs_and_know_no_neutral(mafw):
    fold = read_fold("mafw", root=mafw, fold=3, captions=True)
    expected = {f[:5]: name for f, name in mafw_rows("test", 3, ELEVEN) if name != "neutral"}
    assert labels(fold.test) == expected
    assert fold.label_set == tuple(name for name in ELEVEN if name != "neutral")


def test_mafw_compound_labels_are_joined_and_all_folds_share_one_order(mafw):
    folds = [read_fold("mafw", root=mafw, fold=n, classes="compound") for n in range(1, 6)]
    assert {fold.label_set for fold in folds} == {
        (*ELEVEN, "sadness_helplessness", "anger_disgust")
    }
    assert "anger_disgust" in {clip.label for fold in folds for clip in fold.test}


def test_mafw_compound_lists_with_captions_lack_neutral(mafw):
    fold = read_fold("mafw", root=mafw, classes="compound", captions=True)
    assert len(fold.label_set) == 12
    assert "neutral" not in fold.label_set


def test_mafw_compound_rows_in_the_single_lists_are_refused(tmp_path):
    root = make_mafw(tmp_path)
    path = root / "Train & Test Set/single/no_caption/set_1/test.txt"
    path.write_text("00001.mp4 anger_disgust\n")
    with pytest.raises(DataError, match="single-class lists hold compound labels: anger_disgust"):
        read_fold("mafw", root=root)


def test_mafw_face_crops_are_preferred_then_frames_then_videos(tmp_path):
    root = make_mafw(tmp_path, frames=None)
    (root / "data/clips").mkdir(parents=True)
    for number in range(1, 23):
        (root / f"data/clips/{number:05d}.mp4").write_bytes(b"video")
    assert read_fold("mafw", root=root).test[0].location.suffix == ".mp4"
    for number in range(1, 23):
        write_frames(root / f"data/frames/{number:05d}", suffix="png")
    assert read_fold("mafw", root=root).frame_source == "data/frames"
    for number in range(1, 23):
        write_frames(root / f"data/faces/{number:05d}", suffix="png")
    assert read_fold("mafw", root=root).frame_source == "data/faces"


def test_root_comes_from_the_option_then_the_environment_then_data(dfew, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DFER_DATA", raising=False)
    with pytest.raises(DataError, match="no copy of dfew: no folder data/dfew"):
        read_fold("dfew")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/DFEW").symlink_to(dfew)
    assert read_fold("dfew").test[0].location.is_relative_to("data")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/dfew").symlink_to(dfew)
    monkeypatch.setenv("DFER_DATA", str(tmp_path / "elsewhere"))
    assert read_fold("dfew").test[0].location.is_relative_to(tmp_path / "elsewhere")
    assert read_fold("dfew", root=dfew).test[0].location.is_relative_to(dfew)


def test_missing_clips_are_refused_and_the_first_one_named(tmp_path):
    root = make_dfew(tmp_path)
    shutil.rmtree(root / "Clip/clip_224x224/00004")
    with pytest.raises(DataError, match="1 of 14 clips are not on disk, the first is 00004"):
        read_fold("dfew", root=root, fold=1)
    assert len(read_fold("dfew", root=root, fold=1, allow_missing=True).train) == 11


def test_lists_of_another_size_are_not_the_official_split(dfew, mafw):
    fold = read_fold("dfew", root=dfew, fold=3)
    assert not fold.official
    assert split_warning(fold) == (
        "dfew fold 3 is not the official split: 11 training and 3 test clips, "
        "published 9357 and 2340"
    )


def test_lists_of_the_published_size_are_the_official_split(dfew, monkeypatch):
    totals = PublishedTotals(14, dict.fromkeys(SEVEN, 2), ((11, 3),) * 5, 0)
    monkeypatch.setitem(TOTALS, "dfew", totals)
    fold = read_fold("dfew", root=dfew, fold=3)
    assert fold.official
    assert split_warning(fold) is None


def test_unknown_data_set_lists_what_is_known():
    with pytest.raises(DataError, match="no such data set: dfer39k"):
        read_fold("dfer39k")
