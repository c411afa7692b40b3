"""The worth of each stream of FineCLIPER on drawn faces, compared with DFER-CLIP.

    python benchmarks/finecliper_drawn_faces.py work/ > finecliper.md

Training and test clips show different people. Landmarks and regions are the renderer's own, and a
caption is a scripted description of the action units that never names a class. The backbone is a
tiny vision transformer that has seen neither these people nor a class name. First its image tower
learns the intensity of each action unit from pictures of other people (frames, a few landmark and
parsing images); then its text tower learns sentences about them with CLIP's loss and the image
tower locked (as in LiT). FineCLIPER keeps that CLIP frozen, DFER-CLIP fine-tunes its image
encoder. These are toys: the numbers compare streams with each other, not with published results.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip import CLIP

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.captions import CaptionRow, append_caption
from dfercli.artifacts.face_parts import REGIONS, write_landmarks, write_maps
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.config import EvalConfig, TrainConfig
from dfercli.data.streams import colour_parsing, draw_landmarks
from dfercli.drawn_faces import raster
from dfercli.drawn_faces.action_units import ACTION_UNITS
from dfercli.drawn_faces.captions import describe_changes
from dfercli.drawn_faces.clip import DrawnClip, render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.evaluation import run as evaluate
from dfercli.labels import SEVEN
from dfercli.layers import layered, options
from dfercli.models.clip_backbone import build_clip, clip_architecture
from dfercli.models.clip_text import encode_token_embeddings, text_parameters, tokenize_captions
from dfercli.models.normalization import PixelNormalization
from dfercli.progress import LogProgress
from dfercli.training import run as train

SIZE = 48
RENDERED = 128
CLIP_FRAMES = 10
BATCH = 64
FIRST_PERSON = {"pretrain": 100_000, "train": 200_000, "test": 300_000}
STREAMS = ("frames", "landmarks", "parsing", "captions")
REGION_OF = np.array([REGIONS.index(name) for name in raster.REGIONS], np.uint8)


def drawn_clips(part: str, people: int) -> Iterator[tuple[str, str, DrawnClip]]:
    """Each person with each expression: subject, clip id, clip."""
    for person in range(people):
        rng = np.random.default_rng(FIRST_PERSON[part] + person)
        identity = random_identity(rng)
        for label in SEVEN:
            clip = render_clip(
                identity,
                label,
                rng,
                num_frames=CLIP_FRAMES,
                fps=5.0,
                size=RENDERED,
                with_regions=True,
            )
            yield f"{part}-{person}", f"{part}-{person}-{label}", clip


def crop(clip: DrawnClip) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Cut the face out: frames (T, S, S, 3), landmarks in their pixels, regions (T, S, S)."""
    assert clip.regions is not None
    points = clip.landmarks_px.reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    side = 1.15 * float((high - low).max())
    left, top = (low + high - side) / 2
    scale = SIZE / side
    matrix = np.float32([[scale, 0, -left * scale], [0, scale, -top * scale]])

    def cut(image: NDArray[np.uint8], how: int) -> NDArray[np.uint8]:
        return cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=how).astype(np.uint8)

    frames = np.stack([cut(frame, cv2.INTER_AREA) for frame in clip.frames])
    regions = np.stack([cut(REGION_OF[frame], cv2.INTER_NEAREST) for frame in clip.regions])
    return frames, ((clip.landmarks_px - [left, top]) * scale).astype(np.float32), regions


def write_store(folder: Path, part: str, people: int) -> Path:
    """Write a face store of drawn clips with landmarks, parsing maps and captions."""
    if (folder / "dataset.json").is_file():
        return folder
    rows = []
    for subject, clip_id, clip in drawn_clips(part, people):
        frames, points, regions = crop(clip)
        names = [f"{number:06d}" for number in range(len(frames))]
        (folder / "frames" / clip_id).mkdir(parents=True, exist_ok=True)
        for name, frame in zip(names, frames, strict=True):
            path = folder / "frames" / clip_id / f"{name}.jpg"
            cv2.imwrite(str(path), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        write_landmarks(folder, clip_id, points)
        write_maps(folder, "parsing", clip_id, zip(names, regions, strict=True))
        caption = describe_changes(clip.action_units)
        append_caption(
            folder,
            CaptionRow(clip_id, caption, (), "describe_changes", "none", "0", 0, (), "drawn"),
        )
        end = len(frames) / clip.fps
        rows.append(
            ClipRow(
                clip_id,
                f"{clip_id}.mp4",
                0,
                clip.label,
                subject,
                len(frames),
                clip.fps,
                0.0,
                end,
                "drawn",
            ).to_row()
        )
    write_rows(folder / "clips.jsonl", rows)
    settings = {"schema": STORE_SCHEMA, "label_set": list(SEVEN), "settings": {"drawn": True}}
    write_json(folder / "dataset.json", settings)
    return folder


@dataclass(frozen=True)
class Pictures:
    """Single pictures of the pretraining people.

    Attributes:
        images: (N, 3, S, S) uint8.
        action_units: (N, 16) float32.
        sentences: A text for each that says what moves.
    """

    images: torch.Tensor
    action_units: torch.Tensor
    sentences: list[str]


def pretraining_pictures(people: int) -> Pictures:
    """Five frames of each clip, and one landmark and one parsing image."""
    images, units, sentences = [], [], []
    for _, _, clip in drawn_clips("pretrain", people):
        frames, points, regions = crop(clip)
        for index in range(1, CLIP_FRAMES, 2):
            views = [frames[index]]
            if index == CLIP_FRAMES // 2:
                views.append(draw_landmarks(points[index], SIZE, SIZE))
                views.append(colour_parsing(regions[index]))
            now = clip.action_units[index]
            from_rest = np.stack([np.zeros_like(now), now])
            images += [view.transpose(2, 0, 1) for view in views]
            units += [now] * len(views)
            sentences += [describe_changes(from_rest)] * len(views)
    return Pictures(
        torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(units)).float(), sentences
    )


def pretrain_clip(path: Path, people: int, epochs: int) -> Path:
    """Train the tiny CLIP, image tower first, and save it as a file that open_clip reads."""
    if path.is_file():
        return path
    torch.manual_seed(0)
    pictures = pretraining_pictures(people)
    model = build_clip(clip_architecture("tiny-vit"))
    train_image_tower(model, pictures, epochs)
    train_text_tower(model, pictures)
    torch.save(model.state_dict(), path)
    return path


def train_image_tower(model: CLIP, pictures: Pictures, epochs: int) -> None:
    """Learn the intensities of the action units from moved, mirrored, noisy pictures."""
    normalize, head = PixelNormalization("clip"), torch.nn.Linear(64, len(ACTION_UNITS))
    weights = [*model.visual.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.05)
    batches = len(pictures.images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * batches)
    for _ in range(epochs):
        total = 0.0
        for step, rows in enumerate(torch.randperm(len(pictures.images)).split(BATCH)[:batches]):
            seen = pictures.images[rows].roll(torch.randint(-3, 4, (2,)).tolist(), dims=(-2, -1))
            seen = normalize(seen.flip(-1) if step % 2 else seen)
            seen = seen * (1 + 0.2 * torch.randn(len(rows), 1, 1, 1))
            seen = seen + 0.2 * torch.randn(len(rows), 3, 1, 1)
            features = F.normalize(model.encode_image(seen), dim=1)
            loss = F.mse_loss(head(8 * features), pictures.action_units[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        progress(f"image tower: error {total / batches:.4f}")


def train_text_tower(model: CLIP, pictures: Pictures, steps: int = 600) -> None:
    """Learn which sentence belongs to which picture, the image tower locked."""
    normalize = PixelNormalization("clip")
    with torch.no_grad():
        features = torch.cat(
            [
                F.normalize(model.encode_image(normalize(p)), dim=1)
                for p in pictures.images.split(256)
            ]
        )
    distinct = {text: number for number, text in enumerate(dict.fromkeys(pictures.sentences))}
    tokens = tokenize_captions(list(distinct), model.context_length)
    which = torch.tensor([distinct[text] for text in pictures.sentences])
    weights = [*text_parameters(model), model.logit_scale]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(features), (BATCH,))
        text = which[rows]
        embeddings, eot = model.token_embedding(tokens[text]), tokens[text].argmax(dim=-1)
        sentences = F.normalize(encode_token_embeddings(model, embeddings, eot), dim=1)
        logits = model.logit_scale.exp() * features[rows] @ sentences.T
        same = (text[:, None] == text[None]).float()
        target = same / same.sum(dim=1, keepdim=True)
        loss = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            progress(f"text tower: loss {loss.item():.3f}")


def progress(line: str) -> None:
    """Print the state of the work."""
    print(line, file=sys.stderr, flush=True)


def settings(
    method: str, streams: tuple[str, ...], seed: int, work: Path, epochs: int
) -> TrainConfig:
    """The training of one method."""
    common = {"optimizer": "adamw", "schedule": "cosine", "warmup_epochs": 1.0, "batch_size": 16}
    rates = {"lr_image": 3e-4, "lr_temporal": 1e-3, "lr_context": 1e-3}
    own: dict[str, Any] = {}
    if method == "finecliper":
        rates = {"lr_adapter": 5e-3}
        own = {"finecliper": {"streams": streams, "drop_path": 0.1}}
    asked = {
        "dataset": str(work / "train"),
        "out": work / "runs",
        "name": f"{method}-{'+'.join(streams)}-seed-{seed}",
        "accelerator": "cpu",
        "select": "last",
        "seed": seed,
        "data": {"test": str(work / "test"), "workers": 0},
        "augment": {"crop_scale": 0.7, "brightness": 0.2},
        "model": {
            "method": method,
            "clip": "tiny-vit/local",
            "clip_weights": str(work / "clip.pt"),
            "num_frames": 4,
            "normalization": "clip",
            **own,
        },
        "optim": {**common, **rates, "epochs": epochs, "weight_decay": 0.05},
    }
    return layered(TrainConfig(), [options(asked)])


def war_of(config: TrainConfig) -> float:
    """Train, or read the result of an earlier run; WAR on the test people in per cent."""
    run = config.out / str(config.name)
    result = train.resume(run, LogProgress()) if run.exists() else train.run(config, LogProgress())
    evaluation = result.folds[0].evaluation
    assert evaluation is not None
    return 100 * evaluation.war


def war_with(run: Path, work: Path, streams: tuple[str, ...]) -> float:
    """WAR in per cent of a trained model that looks at these streams only."""
    config = EvalConfig(
        checkpoint=run, dataset=str(work / "test"), streams=streams, workers=0, batch_size=32
    )
    return 100 * evaluate.run(config, LogProgress())[0].evaluation.war


def row(name: str, values: list[float]) -> str:
    """A line of a Markdown table."""
    deviation = f"{statistics.stdev(values):.1f}" if len(values) > 1 else "-"
    shown = ", ".join(f"{value:.1f}" for value in values)
    return f"| {name} | {statistics.mean(values):.1f} | {deviation} | {shown} |"


def main() -> None:
    """Draw, pretrain, train every combination, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--pretrain-people", type=int, default=200)
    parser.add_argument("--pretrain-epochs", type=int, default=12)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--test-people", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--alone", action="store_true", help="also each stream without frames")
    given = parser.parse_args()
    work = given.work
    work.mkdir(parents=True, exist_ok=True)
    write_store(work / "train", "train", given.people)
    write_store(work / "test", "test", given.test_people)
    pretrain_clip(work / "clip.pt", given.pretrain_people, given.pretrain_epochs)

    print(
        f"\nWAR (%) on {7 * given.test_people} clips of {given.test_people} people not trained on"
    )
    print("\n| method | mean | deviation | seeds |\n|---|---|---|---|")
    combinations = [("dfer-clip", ("frames",))]
    combinations += [("finecliper", STREAMS[: count + 1]) for count in range(4)]
    if given.alone:
        combinations += [("finecliper", (stream,)) for stream in STREAMS[1:]]
    for method, streams in combinations:
        values = [
            war_of(settings(method, streams, seed, work, given.epochs)) for seed in given.seeds
        ]
        print(row(f"{method}: {' + '.join(streams)}", values), flush=True)

    print("\nAll four streams in training, some of them removed at test time")
    print("\n| looks at | mean | deviation | seeds |\n|---|---|---|---|")
    parts = [STREAMS, *(tuple(s for s in STREAMS if s != gone) for gone in STREAMS), ("frames",)]
    for part in parts:
        runs = [
            work / "runs" / str(settings("finecliper", STREAMS, seed, work, given.epochs).name)
            for seed in given.seeds
        ]
        print(row(" + ".join(part), [war_with(run, work, part) for run in runs]), flush=True)


if __name__ == "__main__":
    main()
