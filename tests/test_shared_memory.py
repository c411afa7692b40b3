"""Training and encoding work even if /dev/shm is too small for the batches of the readers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stores import bright_and_dark_store
from torch.utils.data import Dataset

from dfercli.data import shared_memory
from dfercli.data.features import items_in_order
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches, read_ahead
from dfercli.data.store_folds import read_store_clips
from dfercli.errors import DataError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    store = bright_and_dark_store(tmp_path_factory.mktemp("store"), clips_per_class=4)
    _, clips = read_store_clips(store)
    return ClipDataset(clips, ("happiness", "sadness"), num_frames=4, image_size=32)


@pytest.mark.parametrize("free", [0, 4 * 32 * 32 * 3 * 4, 1 << 40])
def test_batches_come_whole_however_small_shared_memory_is(data, monkeypatch, free):
    keys = evaluation_batches(len(data), 2)
    wanted = list(batch_loader(data, keys, workers=0))
    monkeypatch.setattr(shared_memory, "free_shared_bytes", lambda: free)
    notes = []
    batches = list(batch_loader(data, keys, workers=2, note=notes.append))
    assert len(batches) == len(wanted) == 4
    for batch, own in zip(batches, wanted, strict=True):
        assert batch.frames.dtype == torch.uint8
        assert torch.equal(batch.frames, own.frames)
        assert torch.equal(batch.labels, own.labels)
        assert batch.frames.is_shared() == (free > 1 << 30)
    if free > 1 << 30:
        assert notes == []
    else:
        (note,) = notes
        for word in ("shared memory", "/dev/shm", "MB", "--shm-size", "--workers 0"):
            assert word in note


class Odd(Dataset):
    """A view, an empty tensor, other types, an error."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 3:
            return DataError("the last one")
        return [torch.arange(10.0)[2:8:3], torch.zeros(0, 3), torch.tensor([True]), index][index]


def test_views_empty_tensors_and_errors_arrive_unchanged(monkeypatch):
    monkeypatch.setattr(shared_memory, "free_shared_bytes", lambda: 0)
    notes = []
    items = items_in_order(Odd(), 1, notes.append)
    assert torch.equal(next(items), torch.tensor([2.0, 5.0]))
    assert next(items).shape == (0, 3)
    assert next(items).tolist() == [True]
    with pytest.raises(DataError, match="the last one"):
        next(items)
    assert len(notes) == 1


def test_memory_that_another_process_takes_does_not_end_the_work(data, monkeypatch):
    def full(storage):
        raise RuntimeError("unable to write to file </torch_1>: No space left on device")

    monkeypatch.setattr(shared_memory, "reduce_storage", full)
    notes = []
    batches = list(batch_loader(data, evaluation_batches(8, 2), workers=1, note=notes.append))
    assert len(batches) == 4
    assert len(notes) == 1


def test_without_readers_nothing_is_shared(monkeypatch):
    monkeypatch.setattr(shared_memory, "free_shared_bytes", lambda: 0)
    notes = []
    next(read_ahead(Odd(), workers=0, note=notes.append, batch_size=None))
    assert notes == []


LOADS = """
import sys
from pathlib import Path
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.data.store_folds import read_store_clips
if __name__ == "__main__":
    _, clips = read_store_clips(Path(sys.argv[1]))
    data = ClipDataset(clips, ("happiness", "sadness"), num_frames=4, image_size=32)
    loader = batch_loader(data, evaluation_batches(len(data), 2), workers=1, note=print)
    print(sum(len(batch.labels) for batch in loader))
"""


def test_a_temporary_folder_with_a_long_name_costs_only_a_copy(tmp_path):
    store = bright_and_dark_store(tmp_path / "store", clips_per_class=2)
    long = tmp_path / ("t" * 100)
    long.mkdir()
    (tmp_path / "loads.py").write_text(LOADS)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "loads.py"), str(store)],
        env={**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    told, count = done.stdout.splitlines()
    assert count == "4"
    assert "set TMPDIR to a shorter one" in told
    assert done.stderr == ""
