"""`kill -9` at any moment: nothing half-written is read, and the run ends as if never killed."""

import multiprocessing
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from stores import bright_and_dark_store
from trainings import last_weights, small_config

from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import TrainConfig
from dfercli.inference.restore import restore_model
from dfercli.progress import LogProgress
from dfercli.training import run as train

KILLS = 10
LONGEST_SECONDS = 1.2


def begin_or_resume(config: TrainConfig) -> None:
    if (config.out / "run" / "fold-1" / "config.json").is_file():
        train.resume(config.out / "run", LogProgress())
    else:
        train.run(config, LogProgress())


def killed(config: TrainConfig, after_seconds: float) -> bool:
    """Train in another process and kill it; return whether it was still running."""
    # Forked from a server that has imported everything and done nothing yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_killed"])
    process = context.Process(target=begin_or_resume, args=(config,))
    process.start()
    process.join(after_seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_a_run_killed_at_ten_random_moments_ends_with_the_same_weights(tmp_path: Path) -> None:
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=5, frames=4)
    config = small_config(store, tmp_path / "killed", checkpoint_every=1)
    config = replace(config, optim=replace(config.optim, epochs=20))
    expected = train.run(replace(config, out=tmp_path / "whole"), LogProgress()).run

    run = tmp_path / "killed" / "run"
    folder = FoldFolder(run / "fold-1")

    moments = np.random.default_rng(0).uniform(0, LONGEST_SECONDS, KILLS)
    hits = 0
    for moment in moments:
        hits += killed(config, moment)
        if folder.last.exists():
            restore_model(folder.last)  # whole, whenever the kill came
        if folder.best.exists():
            restore_model(folder.best)
    assert hits >= KILLS - 2, "the run ended before it could be killed often enough"
    begin_or_resume(config)

    weights = last_weights(run)
    for name, tensor in last_weights(expected).items():
        assert torch.equal(weights[name], tensor), name
    expected_folder = FoldFolder(expected / "fold-1")
    assert list(read_rows(folder.metrics)) == list(read_rows(expected_folder.metrics))
    for name in ("predictions.jsonl", "confusion.csv"):
        paths = (fold.evaluation("faces") / name for fold in (folder, expected_folder))
        first, second = (path.read_bytes() for path in paths)
        assert first == second
    names = {path.name for path in folder.checkpoints.iterdir()}
    assert names == {path.name for path in expected_folder.checkpoints.iterdir()}
