import pytest
from miniature_datasets import FERV_WORDS, make_dfew, make_ferv39k, make_store, write_frames

from dfercli.data.folds import read_fold, split_warning
from dfercli.data.lists import LABEL_ORDERS
from dfercli.errors import ConfigError, DataError
from dfercli.labels import ELEVEN, SEVEN, canonical_label

FAR = "/data/someone/datasets"


def write_list(path, rows):
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


@pytest.fixture
def dfew(tmp_path):
    return make_dfew(tmp_path / "DFEW")


def numbered(rows="{path} 18 {label}", *, folder="Clip/clip_224x224", classes=7):
    return [
        rows.format(path=f"{FAR}/DFEW/{folder}/{number:05d}", label=(number - 1) % classes)
        for number in range(1, 15)
    ]


@pytest.mark.parametrize(
    "form", ["{path} 18 {label}", "{path} {label}", "{path} /far/audio/a.wav {label}"]
)
def test_each_of_the_three_forms_is_read(form, dfew, tmp_path):
    path = write_list(tmp_path / "list.txt", numbered(form))
    fold = read_fold(str(path), root=dfew, label_order="dfer-clip")
    assert [clip.label for clip in fold.train] == [SEVEN[n % 7] for n in range(14)]
    assert fold.train[2].location == dfew / "Clip/clip_224x224/00003"
    assert fold.train[2].clip_id == "00003"
    assert fold.train[2].listed_frames == (18 if form.startswith("{path} 18") else None)


def test_the_three_index_orders_differ_and_hold_the_same_classes():
    for size, names in ((7, SEVEN), (11, ELEVEN)):
        for orders in LABEL_ORDERS.values():
            assert set(orders[size]) == set(names)
    assert len({orders[11] for orders in LABEL_ORDERS.values()}) == 3


@pytest.mark.parametrize(
    ("order", "second"), [("dfer-clip", "sadness"), ("mae-dfer", "disgust"), ("s2d", "anxiety")]
)
def test_eleven_classes_are_named_by_the_chosen_order(order, second, tmp_path):
    for number in range(1, 15):
        write_frames(tmp_path / f"data/faces/{number:05d}", count=1)
    path = write_list(tmp_path / "l.txt", numbered(folder="data/faces", classes=11))
    fold = read_fold(str(path), root=tmp_path, label_order=order)
    assert fold.train[1].label == second
    assert len(fold.label_set) == 11


def test_indices_without_an_order_are_refused_as_ambiguous(dfew, tmp_path):
    path = write_list(tmp_path / "list.txt", numbered())
    with pytest.raises(DataError, match="three orders of the same classes are in use") as caught:
        read_fold(str(path), root=dfew)
    assert "s2d: 0 is anger, 1 is disgust" in caught.value.message
    assert "--label-order" in caught.value.hint


def test_indices_that_fit_neither_seven_nor_eleven_classes_are_refused(dfew, tmp_path):
    path = write_list(tmp_path / "list.txt", [f"{FAR}/00001 18 1", f"{FAR}/00002 18 8"])
    with pytest.raises(DataError, match="labels 1 to 8 fit neither 7 nor 11 classes"):
        read_fold(str(path), root=dfew, label_order="s2d")


def test_label_order_may_be_a_file_of_class_names(dfew, tmp_path):
    order = write_list(tmp_path / "order.txt", ["Angry", "bored", *SEVEN[:3], "disgust", "fear"])
    path = write_list(tmp_path / "list.txt", numbered())
    fold = read_fold(str(path), root=dfew, label_order=str(order))
    assert [clip.label for clip in fold.train[:3]] == ["anger", "bored", "happiness"]


def test_unknown_label_order_is_a_usage_error(dfew, tmp_path):
    path = write_list(tmp_path / "list.txt", numbered())
    with pytest.raises(ConfigError, match="unknown label order mae: expected dfer-clip, mae-dfer"):
        read_fold(str(path), root=dfew, label_order="mae")


def ferv_rows(order):
    return [
        f"{FAR}/2_ClipsforFaceCrop/Action/{word}/0001 18 {order.index(canonical_label(word))}"
        for word in FERV_WORDS
    ]


def test_folders_named_after_classes_make_indices_unambiguous(tmp_path):
    root = make_ferv39k(tmp_path / "f")
    path = write_list(tmp_path / "list.txt", ferv_rows(sorted(SEVEN)))
    fold = read_fold(str(path), root=root)
    assert [clip.label for clip in fold.train] == [canonical_label(word) for word in FERV_WORDS]
    assert fold.label_set == SEVEN


def test_a_folder_above_all_clips_that_is_named_like_a_class_says_nothing(tmp_path):
    root = make_dfew(tmp_path / "happy" / "DFEW")
    rows = [f"{root}/Clip/clip_224x224/{n:05d} 18 {n - 1}" for n in range(1, 8)]
    path = write_list(tmp_path / "list.txt", rows)
    with pytest.raises(DataError, match="three orders"):
        read_fold(str(path))
    fold = read_fold(str(path), label_order="dfer-clip")
    assert [clip.label for clip in fold.train] == list(SEVEN)


def test_unknown_words_are_named(tmp_path):
    path = write_list(tmp_path / "list.txt", ["Action/Joy/0001 Joy", "Action/Sad/0001 Sad"])
    with pytest.raises(DataError, match="unknown labels Joy"):
        read_fold(str(path))


def test_an_order_that_contradicts_the_folders_is_refused(tmp_path):
    root = make_ferv39k(tmp_path / "f")
    path = write_list(tmp_path / "list.txt", ferv_rows(sorted(SEVEN)))
    with pytest.raises(DataError, match="is anger, but its folder says happiness"):
        read_fold(str(path), root=root, label_order="dfer-clip")
    assert read_fold(str(path), root=root, label_order="s2d").train[0].label == "happiness"


def test_word_labels_need_no_order(tmp_path):
    root = make_ferv39k(tmp_path / "f")
    path = write_list(
        tmp_path / "train_Action.csv", ["Action/Sad/0001 Sad", "Action/Fear/0001 Fear"]
    )
    fold = read_fold(str(path), root=root)
    assert [clip.label for clip in fold.train] == ["sadness", "fear"]


def test_a_list_inside_a_copy_needs_no_root(tmp_path):
    root = make_ferv39k(tmp_path / "f")
    (root / "4_setups/22_scenes").mkdir()
    path = write_list(root / "4_setups/22_scenes/train_Action.csv", ["Action/Sad/0001 Sad"])
    expected = root / "2_ClipsforFaceCrop/Action/Sad/0001"
    assert read_fold(str(path)).train[0].location == expected


def test_frames_of_another_folder_name_are_found_below_the_known_ones(dfew, tmp_path):
    path = write_list(tmp_path / "list.txt", numbered(folder="DFEW_Frame_Face"))
    fold = read_fold(str(path), root=dfew, label_order="dfer-clip")
    assert fold.train[0].location == dfew / "Clip/clip_224x224/00001"


def test_a_path_that_exists_as_written_is_taken(dfew, tmp_path):
    rows = [f"{dfew}/Clip/clip_224x224/{n:05d} 18 {n - 1}" for n in range(1, 8)]
    path = write_list(tmp_path / "mine.txt", rows)
    fold = read_fold(str(path), label_order="dfer-clip")
    assert fold.train[6].location == dfew / "Clip/clip_224x224/00007"


def test_train_and_test_lists_of_one_name_belong_together(dfew, tmp_path):
    train = write_list(tmp_path / "DFEW_set_1_train.txt", numbered()[:11])
    test = write_list(tmp_path / "DFEW_set_1_test.txt", numbered()[11:])
    for path in (train, test):
        fold = read_fold(str(path), root=dfew, label_order="dfer-clip")
        assert (len(fold.train), len(fold.test)) == (11, 3)
        assert split_warning(fold) is not None


def test_a_line_of_another_form_is_named(dfew, tmp_path):
    path = write_list(tmp_path / "list.txt", [*numbered(), "00015 3"])
    with pytest.raises(DataError, match=r"list\.txt, line 15: expected <path> <number of frames>"):
        read_fold(str(path), root=dfew, label_order="dfer-clip")


def test_face_store_is_all_for_training(tmp_path):
    fold = read_fold(str(make_store(tmp_path)))
    assert (len(fold.train), fold.test, fold.label_set) == (18, (), SEVEN)
    assert fold.train[0].listed_frames == 18
    assert split_warning(fold) is None


def test_unlabelled_clips_of_a_face_store_are_refused_by_name(tmp_path):
    store = make_store(tmp_path, labelled=False)
    with pytest.raises(DataError, match="18 of 18 clips have no label: s0-0, s0-1"):
        read_fold(str(store))


def test_folds_by_subject_cover_each_clip_once_and_leak_no_subject(tmp_path):
    store = make_store(tmp_path, subjects=7)
    folds = [read_fold(str(store), folds=3, group="subject", fold=n) for n in (1, 2, 3)]
    tested = [clip.clip_id for fold in folds for clip in fold.test]
    assert sorted(tested) == sorted(clip.clip_id for clip in folds[0].train + folds[0].test)
    for fold in folds:
        assert not {c.subject for c in fold.train} & {c.subject for c in fold.test}
        assert len({c.subject for c in fold.test}) in (2, 3)


def test_folds_by_subject_are_the_same_every_time(tmp_path):
    store = make_store(tmp_path)
    first, again = (read_fold(str(store), folds=3, group="subject", fold=2) for _ in range(2))
    assert first == again


def test_folds_without_grouping_by_subject_are_refused(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(ConfigError, match="--folds 3 needs --group subject"):
        read_fold(str(store), folds=3)


def test_more_folds_than_subjects_are_refused(tmp_path):
    store = make_store(tmp_path, subjects=2)
    with pytest.raises(DataError, match="cannot split 2 subjects into 5 folds"):
        read_fold(str(store), folds=5, group="subject")


def test_folds_of_data_with_published_ones_are_refused(dfew):
    with pytest.raises(ConfigError, match="dfew has its own lists"):
        read_fold("dfew", root=dfew, folds=3, group="subject")


@pytest.mark.parametrize("key", ["Action/Sad/\0", "../../Sad/0001", "/Sad/0001", "n" * 5000])
def test_a_name_that_is_no_clip_of_ferv39k_is_refused_with_its_line(tmp_path, key):
    root = make_ferv39k(tmp_path / "f")
    path = root / "4_setups/All_scenes/train_All.csv"
    path.write_text(f"{path.read_text()}\n{key} Sad\n")
    with pytest.raises(DataError, match=r"line \d+"):
        read_fold("ferv39k", root=root)


def test_a_clip_with_a_name_longer_than_any_file_is_missing(tmp_path):
    root = make_ferv39k(tmp_path / "f")
    rows = ["Action/Sad/0001 Sad", f"Action/{'n' * 5000}/0001 Sad"]
    with pytest.raises(DataError, match="1 of 2 clips"):
        read_fold(str(write_list(tmp_path / "list.txt", rows)), root=root)


def test_a_list_of_absolute_and_relative_paths_is_refused(tmp_path):
    path = write_list(tmp_path / "list.txt", ["/data/Action/Sad/0001 Sad", "Action/Sad/0002 Sad"])
    with pytest.raises(DataError, match="some of its paths are absolute and some relative"):
        read_fold(str(path))
