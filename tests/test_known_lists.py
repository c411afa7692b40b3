"""Lists of other repositories that are known by their counts."""

import os
from collections import Counter
from pathlib import Path

import pytest
from miniature_datasets import write_frames

from dfercli.cli.app import run as dfer
from dfercli.config import CheckConfig
from dfercli.data.folds import num_folds, read_fold, split_warning
from dfercli.data.list_folders import lists_in
from dfercli.data.lists import LABEL_ORDERS
from dfercli.data.published_sizes import TOTALS
from dfercli.errors import DataError
from dfercli.preprocessing import check_data
from dfercli.progress import LogProgress


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for number in range(3):
        write_frames(tmp_path / "clips" / str(number), count=1)
    return tmp_path


def write_lists(
    folder: Path, name: str, fold: int, order: str, *, names="set_{fold}_{part}.txt", skip=0
) -> Path:
    """The training and test list of a benchmark with the published number of clips per class."""
    totals = TOTALS[name]
    classes = LABEL_ORDERS[order][len(totals.label_counts)]
    labels = [
        classes.index(own) for own, number in totals.label_counts.items() for _ in range(number)
    ]
    num_test = totals.fold_sizes[fold - 1][1]
    step = len(labels) / num_test
    tested = {int(place * step) for place in range(num_test)}
    for part in ("train", "test"):
        rows = [
            f"/far/clips/{number % 3} 16 {label}"
            for number, label in enumerate(labels[skip:])
            if (number in tested) == (part == "test")
        ]
        path = folder / names.format(fold=fold, part=part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n")
    return folder / names.format(fold=fold, part="train")


@pytest.mark.parametrize(
    ("name", "fold", "order"),
    [
        ("dfew", 2, "dfer-clip"),
        ("dfew", 4, "s2d"),
        ("mafw", 5, "mae-dfer"),
        ("ferv39k", 1, "dfer-clip"),
    ],
)
def test_counts_name_the_benchmark_the_fold_and_the_order(clips, name, fold, order):
    path = write_lists(clips, name, fold, order)
    found = read_fold(str(path), root=clips)
    assert (found.benchmark, found.published_fold, found.official) == (name, fold, True)
    counts = Counter(clip.label for clip in (*found.train, *found.test))
    assert counts == TOTALS[name].label_counts
    assert found.labelling == f"by its counts {name} fold {fold}, labels in the order of {order}"
    assert split_warning(found) is None


def test_an_order_that_contradicts_the_counts_is_refused_with_both_tables(clips):
    path = write_lists(clips, "dfew", 1, "dfer-clip")
    with pytest.raises(DataError) as caught:
        read_fold(str(path), root=clips, label_order="s2d")
    message = caught.value.message
    assert "anger 2445" in message  # the counts that the order gives
    assert "sadness 145" in message
    assert "happiness 2445" in message  # the published counts
    assert "disgust 145" in message
    assert "--label-order" in caught.value.hint


def test_an_order_is_checked_where_only_one_list_is_there(clips):
    path = write_lists(clips, "dfew", 1, "dfer-clip")
    path.with_name("set_1_test.txt").unlink()
    with pytest.raises(DataError, match=r"anger 19\d\d.*dfew has happiness 2445"):
        read_fold(str(path), root=clips, label_order="s2d")
    found = read_fold(str(path), root=clips, label_order="dfer-clip")
    assert (found.benchmark, found.published_fold, found.official) == ("dfew", None, False)
    with pytest.raises(DataError, match="three orders"):
        read_fold(str(path), root=clips)


def test_lists_that_lack_a_clip_are_nearly_the_benchmark(clips):
    path = write_lists(clips, "mafw", 1, "s2d", skip=1)
    found = read_fold(str(path), root=clips)
    assert (found.benchmark, found.official) == ("mafw", False)
    assert "nearly" in found.labelling


def test_a_folder_of_five_lists_is_five_folds(clips):
    for fold in range(1, 6):
        write_lists(clips / "lists", "dfew", fold, "dfer-clip")
    dataset = str(clips / "lists")
    assert num_folds(dataset) == 5
    found = read_fold(dataset, root=clips, fold=5)
    assert (found.dataset, found.fold, found.published_fold) == (dataset, 5, 5)
    assert (len(found.train), len(found.test)) == TOTALS["dfew"].fold_sizes[4]


def test_folders_of_folds_are_read_in_the_order_of_their_numbers(clips):
    for fold in (2, 3, 1):
        folder = clips / "lists" / f"set_{fold}_of_3"
        folder.mkdir(parents=True)
        for part in ("train", "test"):
            (folder / f"{part}.txt").write_text(f"/far/clips/{fold % 3} 16 happy\n")
    assert [path.parent.name[4] for path in lists_in(clips / "lists")] == ["1", "2", "3"]
    found = read_fold(str(clips / "lists"), root=clips, fold=2)
    assert [clip.clip_id for clip in found.test] == ["2"]
    (clips / "lists" / "set_3_of_3" / "test.txt").unlink()
    with pytest.raises(DataError, match="has no test list, unlike the others"):
        num_folds(str(clips / "lists"))


def test_lists_of_two_benchmarks_in_one_folder_are_refused(clips, capsys):
    write_lists(clips / "lists", "dfew", 1, "dfer-clip")
    write_lists(clips / "lists", "mafw", 2, "dfer-clip")
    assert dfer(["data", "check", str(clips / "lists"), "--root", str(clips)]) == 3
    assert "lists of 2 benchmarks: set_1_train.txt (dfew)" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "num_short"), [("dfew", 14), ("ferv39k", 4070)])
def test_published_short_clips_are_notes(tmp_path: Path, name: str, num_short: int):
    """DFEW has 14 short clips, FERV39k 4,070; the published lists count them as 16, too."""
    for count in (9, 16):
        write_frames(tmp_path / f"{count} frames", count=count)
    (tmp_path / "clips").mkdir()
    totals = TOTALS[name]
    num_test = totals.fold_sizes[0][1]
    rows = {"train": [], "test": []}
    labels = [
        index
        for index, own in enumerate(LABEL_ORDERS["dfer-clip"][7])
        for _ in range(totals.label_counts[own])
    ]
    for number, label in enumerate(labels):
        part = "test" if number % 4 == 0 and len(rows["test"]) < num_test else "train"
        rows[part].append(f"/far/clips/{number:05d} 16 {label}")
        frames = "9 frames" if number < num_short else "16 frames"
        os.symlink(tmp_path / frames, tmp_path / "clips" / f"{number:05d}")
    for part, lines in rows.items():
        (tmp_path / f"x_{part}.txt").write_text("\n".join(lines) + "\n")
    config = CheckConfig(dataset=str(tmp_path / "x_train.txt"), root=tmp_path, pictures=0)
    report = check_data.run(config, LogProgress())
    assert report.num_clips == totals.num_clips
    assert report.is_clean
    assert {finding.kind for finding in report.findings} == {"benchmark", "short", "count"}
    assert report.published_counts == totals.label_counts
    short = next(finding for finding in report.findings if finding.kind == "short")
    assert short.count == num_short
