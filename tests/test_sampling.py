"""Frame sampling, clip order and the validation split: pure functions, as published."""

import numpy as np
import pytest

from dfercli.data.loading import TrainingBatches, evaluation_batches
from dfercli.data.sampling import clip_rng, epoch_order, sample_test, sample_train, split_validation


def test_test_sampling_takes_the_middle_of_each_segment() -> None:
    assert sample_test(32, 16).tolist() == list(range(1, 32, 2))
    # n / T = 1.25: int(0.625 + 1.25 * i)
    expected = [0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16, 18, 19]
    assert sample_test(20, 16).tolist() == expected
    assert sample_test(100, 4).tolist() == [12, 37, 62, 87]


def test_a_short_clip_gives_all_its_frames_then_repeats_the_last() -> None:
    assert sample_test(5, 8).tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert sample_test(1, 3).tolist() == [0, 0, 0]
    assert sample_test(4, 4).tolist() == [0, 1, 2, 3]
    rng = np.random.default_rng(0)
    assert sample_train(5, 8, rng).tolist() == [0, 1, 2, 3, 4, 4, 4, 4]


def test_training_sampling_draws_one_frame_of_each_segment() -> None:
    draws = np.array([sample_train(40, 16, np.random.default_rng(seed)) for seed in range(200)])
    starts = 2 * np.arange(16)  # 40 // 16 = 2: the last 8 frames are never drawn, as published
    assert ((draws == starts) | (draws == starts + 1)).all()
    assert (draws.min(axis=0) == starts).all()
    assert (draws.max(axis=0) == starts + 1).all()


def test_training_sampling_of_as_many_frames_as_wanted_takes_each_once() -> None:
    assert sample_train(16, 16, np.random.default_rng(3)).tolist() == list(range(16))


def test_draws_depend_only_on_seed_epoch_and_clip() -> None:
    def draw(*key: int) -> list[int]:
        return sample_train(160, 16, clip_rng(*key)).tolist()

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({tuple(draw(*key)) for key in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]}) == 4


def test_each_epoch_has_its_own_order_of_all_clips() -> None:
    first, second = epoch_order(50, 1, 0).tolist(), epoch_order(50, 1, 1).tolist()
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first == epoch_order(50, 1, 0).tolist()


def test_batches_begun_in_the_middle_go_on_as_the_whole_would() -> None:
    whole = list(TrainingBatches(11, 4, 3, seed=5))
    assert len(whole) == 3 * 2  # the last incomplete batch of an epoch is dropped
    assert list(TrainingBatches(11, 4, 3, seed=5, start=(1, 1))) == whole[3:]


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_of_one_process(world_size: int) -> None:
    whole = list(TrainingBatches(10, 4, 2, seed=5))
    shares = [
        list(TrainingBatches(10, 4, 2, seed=5, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(key for part in parts for key in part)


@pytest.mark.parametrize(("num_clips", "world_size"), [(7, 2), (8, 2), (1, 3), (5, 3)])
def test_evaluation_covers_each_clip_and_meets_as_often_everywhere(
    num_clips: int, world_size: int
) -> None:
    shares = [
        evaluation_batches(num_clips, 2, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    clips = {index for share in shares for batch in share for _, index in batch}
    assert clips == set(range(num_clips))


def test_validation_never_splits_a_subject_and_holds_every_class() -> None:
    groups = [f"s{number // 4}" for number in range(40)]
    labels = [("anger", "fear")[number // 4 % 2] for number in range(40)]
    train, held_out = split_validation(groups, labels, 0.2, seed=1)
    assert sorted(train + held_out) == list(range(40))
    assert not {groups[i] for i in train} & {groups[i] for i in held_out}
    assert {labels[i] for i in held_out} == {"anger", "fear"}
    assert len(held_out) == 8
    assert split_validation(groups, labels, 0.2, seed=1) == (train, held_out)


def test_a_single_group_is_not_held_out() -> None:
    assert split_validation(["s"] * 3, ["a", "b", "c"], 0.5, seed=1) == ([0, 1, 2], [])
