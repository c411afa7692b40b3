"""Processes that Ctrl-C does not reach."""

import multiprocessing

import pytest
import torch
from in_workers import holds_back_ctrl_c, tell, tell_the_pool
from torch.utils.data import DataLoader, Dataset

from dfercli.data.loading import init_reader, silent_without_reader, start_reading
from dfercli.preprocessing.worker_pool import Finished, WorkerPool
from dfercli.processes import block_signals


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_holds_ctrl_c_back_from_its_first_moment_and_its_parent_does_not(
    method: str,
) -> None:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    with block_signals():
        process = context.Process(target=tell, args=(theirs,))  # type: ignore[attr-defined]
        process.start()
    assert not holds_back_ctrl_c()
    assert ours.recv()
    process.join()


class Masks(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(holds_back_ctrl_c())


def test_processes_that_read_leave_ctrl_c_to_the_training() -> None:
    loader = DataLoader(Masks(), num_workers=1, worker_init_fn=init_reader)
    assert [bool(mask) for mask in start_reading(loader)] == [True, True]


def test_processes_of_a_pool_leave_ctrl_c_to_the_command() -> None:
    with WorkerPool(tell_the_pool, None, workers=1, time_limit=60) as pool:
        results = [news.result for news in pool.run([1]) if isinstance(news, Finished)]
    assert results == [True]


def test_a_thread_is_silent_only_about_a_reader_that_hung_up(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for error in (EOFError(), ConnectionResetError(), BrokenPipeError()):
        silent_without_reader(type(error), error, None)
    assert capfd.readouterr().err == ""
    silent_without_reader(ValueError, ValueError("something else"), None)
    assert "ValueError: something else" in capfd.readouterr().err
