"""How batches get to the device that works on them."""

from contextlib import nullcontext

import pytest
import torch
from stores import bright_and_dark_store
from trainings import last_weights, small_config

from dfercli.artifacts.jsonl import read_rows
from dfercli.data.augmentation import AugmentDraw
from dfercli.data.batches import Batch, prefetch_to_device
from dfercli.data.device_augmentation import RawClips
from dfercli.progress import LogProgress
from dfercli.training import fit, step
from dfercli.training import run as train


def raw_batches(count: int) -> list[Batch]:
    shape, draw = torch.Size([2, 8, 8, 3]), AugmentDraw(1.0, 0.0, (1, 2, 6, 5), True)
    return [
        Batch(
            RawClips(
                torch.randint(0, 256, (2 * shape.numel(),), dtype=torch.uint8),
                (shape, shape),
                (draw, draw),
                4,
            ),
            torch.tensor([number, number]),
            torch.tensor([0, 1]),
            {"captions": (torch.ones(2, 3, dtype=torch.int64), torch.tensor([True, False]))},
        )
        for number in range(count)
    ]


def test_a_batch_on_a_device_has_its_raw_clips_augmented():
    (batch,) = raw_batches(1)
    moved = batch.to(torch.device("cpu"))
    assert isinstance(moved.frames, torch.Tensor)
    assert moved.frames.shape == (2, 2, 3, 4, 4)
    assert torch.equal(moved.frames, batch.inputs(torch.device("cpu"))["frames"])
    assert torch.equal(moved.inputs(torch.device("cpu"))["frames"], moved.frames)
    assert [tensor.shape for tensor in moved.tensors()] == [(2, 2, 3, 4, 4), (2,), (2, 3), (2,)]


def test_on_a_cpu_batches_pass_unchanged():
    batches = raw_batches(3)
    assert list(prefetch_to_device(iter(batches), torch.device("cpu"))) == batches


class FakeStream:
    """Records what a CUDA stream is asked to do."""

    def __init__(self, name, calls):
        self.name, self.calls, self.events = name, calls, 0

    def wait_stream(self, other):
        self.calls.append(f"{self.name} waits for {other.name}")

    def record_event(self):
        self.events += 1
        return FakeEvent(f"step {self.events}", self.calls)


class FakeEvent:
    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def synchronize(self):
        self.calls.append(f"host waits for {self.name}")


def test_on_cuda_a_batch_is_moved_while_the_step_before_runs(monkeypatch):
    calls = []
    working, copying = FakeStream("working", calls), FakeStream("copying", calls)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device, priority: copying)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: working)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    move = Batch.to
    held = []

    def to(batch, device):
        calls.append(f"move {int(batch.labels[0])}")
        return move(batch, torch.device("cpu"))

    monkeypatch.setattr(Batch, "to", to)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda tensor, stream: held.append(stream.name)
    )
    for batch in prefetch_to_device(iter(raw_batches(4)), torch.device("cuda")):
        assert len(held) == 4 * (int(batch.labels[0]) + 1)  # frames, labels, captions, mask
        calls.append(f"work on {int(batch.labels[0])}")
    wait = "working waits for copying"
    assert calls == [
        *("move 0", wait, "work on 0", "move 1", wait, "work on 1"),
        *("host waits for step 1", "move 2", wait, "work on 2"),
        *("host waits for step 2", "move 3", wait, "work on 3"),
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_every_batch_arrives_whole():
    batches, device = [batch.pin_memory() for batch in raw_batches(50)], torch.device("cuda")
    busy = torch.rand(2048, 2048, device=device)
    arrived = []
    for batch in prefetch_to_device(iter(batches), device):
        busy = (busy @ busy).softmax(-1)  # the device is behind the host
        arrived.append(batch.frames.clone())
    for frames, batch in zip(arrived, batches, strict=True):
        assert torch.equal(frames, batch.to(device).frames)


def test_losses_that_are_read_every_few_steps_add_up_to_the_same(tmp_path, monkeypatch):
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=6)
    for name, every in (("each", 1), ("third", 3)):
        monkeypatch.setattr(fit, "sync_every", lambda device, every=every: every)
        config = small_config(store, tmp_path / name, checkpoint_every=2)
        train.run(config, LogProgress())
    each, third = (tmp_path / name / "run" for name in ("each", "third"))
    rows = [list(read_rows(run / "fold-1" / "metrics.jsonl")) for run in (each, third)]
    assert rows[0] == rows[1]
    weights = last_weights(third)
    for key, weight in last_weights(each).items():
        assert torch.equal(weights[key], weight)


def test_a_gpu_is_not_waited_for_in_each_step():
    assert step.sync_every(torch.device("cuda", 0)) > 1
    assert step.sync_every(torch.device("cpu")) == 1
