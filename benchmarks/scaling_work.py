"""The work that `scaling.py` measures; each piece is prepared for a size, then done.

A `prepare` function makes the inputs (once for all sizes, in `folder`), does the smallest version
of the work, which pays for imports and caches, and returns the work itself.
"""

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.artifacts.evaluation import Evaluation
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.cli.app import run as dfer
from dfercli.config import ModelConfig, OptimConfig
from dfercli.data.folds import read_fold
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.evaluation.mistakes import worst_mistakes
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.metrics.rates import evaluate
from dfercli.models.clip_backbone import build_clip, clip_architecture
from dfercli.models.dfer_clip import DferClip
from dfercli.models.optimizer import build_optimizer
from dfercli.report.plots import plot_confusion

Work = Callable[[], object]
Prepare = Callable[[int, Path], Work]

FRAMES_PER_CLIP = 16
SMALLEST = 20  # clips to warm up with
TINY = ("--clip", "tiny/random", "--set", "model.num_frames=2", "--accelerator", "cpu")
TEXT = "a face with raised cheeks, lip corners pulled up and wrinkles around the eyes"
FPS, SECONDS = 25, 10
DFER = str(Path(sys.executable).with_name("dfer"))


def succeed(*arguments: object) -> None:
    """Run a dfer command in this process; show its output only if it fails."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = dfer([str(argument) for argument in arguments])
    assert code == 0, (code, arguments, said.getvalue())


def run_whole(*arguments: object) -> None:
    """Run a dfer command in its own process, start-up included."""
    subprocess.run([DFER, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def store_of(count: int, folder: Path) -> Path:
    """A face store of `count` clips; all of their frames are links to a few pictures."""
    store = folder / f"store-{count}"
    if (store / "dataset.json").exists():
        return store
    pictures = []
    for number in range(FRAMES_PER_CLIP):
        path = folder / f"picture-{number}.jpg"
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(path), noise)
        pictures.append(path.read_bytes())
    rows, own = [], []
    for number in range(count):
        clip_id = f"clip-{number:05d}"
        frames = store / "frames" / clip_id
        frames.mkdir(parents=True)
        for index, picture in enumerate(pictures):
            target = frames / f"{index:06d}.jpg"
            if number % 10_000 == 0:  # file systems allow only so many links to one file
                target.write_bytes(picture)
                own = [*own, target][-FRAMES_PER_CLIP:]
            else:
                os.link(own[index], target)
        label, subject = SEVEN[number % 7], f"subject-{number // 5}"
        rows.append(
            ClipRow(
                *(clip_id, f"../{clip_id}.mp4", 0, label, subject, FRAMES_PER_CLIP),
                *(25.0, 0.0, FRAMES_PER_CLIP / 25, "haar"),
            ).to_row()
        )
    write_rows(store / "clips.jsonl", rows)
    dataset = {"schema": STORE_SCHEMA, "label_set": list(SEVEN), "settings": {}, "versions": {}}
    write_json(store / "dataset.json", dataset)
    return store


def checkpoint_of(folder: Path) -> Path:
    """A tiny model with random weights, for faces at two frames per second."""
    checkpoint = folder / "checkpoint"
    if not (checkpoint / "model.json").exists():
        model = new_model(ModelConfig(clip="tiny/random", num_frames=2), SEVEN, seed=1)
        card = dataclasses.replace(model.card, crop={"fps": 2.0})
        save_checkpoint(checkpoint, model.module.state_dict(), card.to_json())
    return checkpoint


def reading_lists(size: int, folder: Path) -> Work:
    """The rows of a store, checked for presence on disk."""
    read_fold(str(store_of(SMALLEST, folder)))
    store = store_of(size, folder)
    return lambda: read_fold(str(store))


def data_check(size: int, folder: Path) -> Work:
    """`dfer data check`."""
    succeed("data", "check", store_of(SMALLEST, folder), "--quiet")
    store = store_of(size, folder)
    return lambda: succeed("data", "check", store, "--quiet")


def evaluation(size: int, folder: Path) -> Work:
    """`dfer eval` with a tiny model."""

    def work(count: int) -> None:
        out = folder / f"evaluation-{count}"
        options = ("--device", "cpu", "--workers", 1, "--out", out, "--quiet")
        succeed("eval", checkpoint_of(folder), store_of(count, folder), *options)

    work(SMALLEST)
    store_of(size, folder)
    return lambda: work(size)


def training_epoch(size: int, folder: Path) -> Work:
    """One epoch of `dfer train` with a tiny model, held-out clips and checkpoint included."""

    def work(count: int) -> None:
        name = f"run-{count}-{os.getpid()}-{len(list(folder.iterdir()))}"
        options = ("--epochs", 1, "--batch-size", 16, "--workers", 1, "--quiet")
        succeed("train", store_of(count, folder), *TINY, *options, "--out", folder, "--name", name)

    work(4 * SMALLEST)
    store_of(size, folder)
    return lambda: work(size)


@cache
def model_with(classes: int, frames: int, *, whole: bool) -> DferClip:
    """DFER-CLIP with the text tower of ViT-B/32 and its image encoder, or a tiny one."""
    torch.manual_seed(0)
    architecture = clip_architecture("ViT-B-32-quickgelu")
    if not whole:
        tiny = clip_architecture("tiny")["vision_cfg"]
        architecture = {**architecture, "vision_cfg": tiny}
    config = ModelConfig(clip="ViT-B-32-quickgelu/random", num_frames=frames)
    return DferClip(build_clip(architecture), [TEXT] * classes, config)


def forward_pass(model: DferClip, frames: int) -> Work:
    """Clips and classes, the class texts encoded again."""
    batch = torch.zeros(1, frames, 3, model.image_size, model.image_size, dtype=torch.uint8)
    model.eval()

    def work() -> None:
        model._text_cache._kept = None
        with torch.no_grad():
            model(batch)

    work()
    return work


def training_step(model: DferClip, frames: int) -> Work:
    """Forward, backward and the optimiser."""
    optimizer = build_optimizer(model, OptimConfig())
    batch = torch.zeros(1, frames, 3, model.image_size, model.image_size, dtype=torch.uint8)
    model.train()

    def work() -> None:
        optimizer.zero_grad(set_to_none=True)
        model.loss(model(batch), torch.zeros(1, dtype=torch.int64)).backward()
        optimizer.step()

    work()
    return work


def metrics(classes: int, folder: Path) -> Work:
    """All metrics of 10,000 clips with their intervals."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), 10_000)
    targets = rng.integers(classes, size=10_000)
    names = [f"class {number}" for number in range(classes)]
    evaluate(probabilities[:SMALLEST], targets[:SMALLEST], names)
    return lambda: evaluate(probabilities, targets, names)


def _measured(classes: int) -> Evaluation:
    rng = np.random.default_rng(0)
    names = [f"class {number}" for number in range(classes)]
    probabilities = rng.dirichlet(np.ones(classes), 1000)
    return evaluate(probabilities, rng.integers(classes, size=1000), names)


def report_page(classes: int, folder: Path) -> Work:
    """The page of `dfer eval`, which holds the confusion matrix as a table."""
    from dfercli.report.evaluation_page import write_evaluation_page

    card = new_model(ModelConfig(clip="tiny/random", num_frames=2), SEVEN, seed=1).card
    mistakes = worst_mistakes([], np.zeros((0, 7)), SEVEN, num_frames=2)

    def work(found: Evaluation) -> None:
        write_evaluation_page(
            folder / f"{os.getpid()}.html",
            found,
            benchmark=None,
            measured_on="made-up clips",
            checkpoint="none",
            selected_on="nothing",
            class_texts=[TEXT] * len(found.label_set),
            mistakes=mistakes,
            card=card,
        )

    work(_measured(2))
    found = _measured(classes)
    return lambda: work(found)


def confusion_picture(classes: int, folder: Path) -> Work:
    """The confusion matrix of `dfer eval` as a picture."""
    plot_confusion(_measured(2), folder / f"{os.getpid()}.png", "made-up clips")
    found = _measured(classes)
    return lambda: plot_confusion(found, folder / f"{os.getpid()}.png", "made-up clips")


def video_of(seconds: int, folder: Path) -> Path:
    """A drawn face at 320 x 240; a long video repeats the packets of a short one."""
    from long_video_memory import looped

    from dfercli.video.write import write_video

    short, long = folder / "videos" / f"{SECONDS}.mp4", folder / "videos" / f"{seconds}.mp4"
    short.parent.mkdir(exist_ok=True)
    if not short.exists():
        rng = np.random.default_rng(5)
        clip = render_clip(random_identity(rng), "happiness", rng, num_frames=28)
        wide = [cv2.copyMakeBorder(f, 0, 0, 40, 40, cv2.BORDER_REPLICATE) for f in clip.frames]
        there_and_back = [*wide, *wide[::-1]]
        frames = [there_and_back[n % len(there_and_back)] for n in range(SECONDS * FPS)]
        write_video(short, frames, FPS)
    if not long.exists():
        looped(short, long, seconds // SECONDS)
    return long


def preprocess(seconds: int, folder: Path) -> Work:
    """`dfer preprocess --fps 2` with the Haar detector."""

    def work(length: int) -> None:
        out = folder / f"faces-{length}-{os.getpid()}"
        options = ("--fps", 2, "--detector", "haar", "--workers", 0, "--quiet", "--overwrite")
        succeed("preprocess", video_of(length, folder), "--out", out, *options)

    work(SECONDS)
    video_of(seconds, folder)
    return lambda: work(seconds)


def predict(seconds: int, folder: Path) -> Work:
    """`dfer predict` at two frames per second with a tiny model and the Haar detector."""

    def work(length: int) -> None:
        out = folder / f"timeline-{length}-{os.getpid()}.csv"
        options = ("--detector", "haar", "--workers", 0, "--device", "cpu", "--quiet", "--out", out)
        succeed(
            "predict", video_of(length, folder), "--checkpoint", checkpoint_of(folder), *options
        )

    work(SECONDS)
    video_of(seconds, folder)
    return lambda: work(seconds)


def preprocess_in(workers: int, folder: Path) -> Work:
    """`dfer preprocess --workers` on eight videos of a minute, as a whole."""
    for number in range(8):
        if not (link := folder / "many" / f"{number}.mp4").exists():
            link.parent.mkdir(exist_ok=True)
            os.link(video_of(60, folder), link)
    out = folder / f"many-{workers}-{os.getpid()}"
    options = ("--fps", 2, "--detector", "haar", "--workers", workers, "--quiet", "--overwrite")
    return lambda: run_whole("preprocess", folder / "many", "--out", out, *options)


def loading_in(workers: int, folder: Path) -> Work:
    """Batches of 10,000 clips, read by this many processes."""
    fold = read_fold(str(store_of(10_000, folder)))
    dataset = ClipDataset(fold.train, fold.label_set, num_frames=4, image_size=48)
    batches = evaluation_batches(len(dataset), 16)
    return lambda: sum(
        len(batch.clips) for batch in batch_loader(dataset, batches, workers=workers)
    )


def training_on(devices: int, folder: Path) -> Work:
    """An epoch of `dfer train --devices` on 2,000 clips with a tiny model, as a whole."""
    store, name = store_of(2000, folder), f"devices-{devices}-{os.getpid()}"
    options = ("--epochs", 1, "--batch-size", 16, "--workers", 0, "--select", "last", "--quiet")
    return lambda: run_whole(
        *("train", store, *TINY, *options, "--devices", devices, "--out", folder, "--name", name)
    )


def of_classes(work: Callable[[DferClip, int], Work]) -> Prepare:
    """A pass of a model with this many classes; the image encoder is tiny."""
    return lambda classes, folder: work(model_with(classes, 16, whole=False), 16)


def of_frames(work: Callable[[DferClip, int], Work]) -> Prepare:
    """A pass of DFER-CLIP on ViT-B/32 with one clip of this many frames."""
    return lambda frames, folder: work(model_with(7, frames, whole=True), frames)
