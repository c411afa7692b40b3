"""What each stream of FineCLIPER is worth, on drawn faces; DFER-CLIP beside it.

    python benchmarks/finecliper_drawn_faces.py work/ > finecliper.md

Training and test clips show different people. Landmarks and regions are the renderer's own, and a
caption is a scripted description of the action units that never names a class. The backbone is a
tiny vision transformer: first it is trained as CLIP is, on single pictures of yet other people
(frames, landmark images, parsing images) with sentences on their action units, without class
labels; then it is saved for open_clip. FineCLIPER keeps it frozen, DFER-CLIP fine-tunes
its image encoder. These are toys: the numbers compare streams, not published results.
"""

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.captions import CaptionRow, append_caption
from dfercli.artifacts.face_parts import REGIONS, write_landmarks, write_parsing
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.config import AugmentConfig, DataConfig, EvalConfig, TrainConfig
from dfercli.data.streams import colour_parsing, draw_landmarks
from dfercli.drawn_faces import raster
from dfercli.drawn_faces.action_units import ACTION_UNITS
from dfercli.drawn_faces.captions import describe_changes
from dfercli.drawn_faces.clip import DrawnClip, render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.labels import SEVEN
from dfercli.models.clip_backbone import build_clip, clip_architecture, tokenize_captions
from dfercli.models.normalization import PixelNormalization
from dfercli.overrides import override
from dfercli.progress import LogProgress
from dfercli.recipes import read_recipe
from dfercli.stages import evaluate, train

SIZE = 48
RENDERED = 128
CLIP_FRAMES = 10
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
            yield f"person-{person}", f"person-{person}-{label}", clip


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
        write_parsing(folder, clip_id, names, regions)
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


def pictures_and_sentences(people: int) -> tuple[torch.Tensor, list[str]]:
    """Single pictures (N, 3, S, S) uint8 of the pretraining people, and what each shows."""
    images, sentences = [], []
    for _, _, clip in drawn_clips("pretrain", people):
        frames, points, regions = crop(clip)
        for index in range(2, CLIP_FRAMES, 3):
            from_rest = np.stack([np.zeros(len(ACTION_UNITS)), clip.action_units[index]])
            sentence = describe_changes(from_rest.astype(np.float32))
            views = (
                frames[index],
                draw_landmarks(points[index], SIZE, SIZE),
                colour_parsing(regions[index]),
            )
            images += [view.transpose(2, 0, 1) for view in views]
            sentences += [sentence] * len(views)
    return torch.from_numpy(np.stack(images)), sentences


def pretrain_clip(path: Path, people: int, epochs: int) -> Path:
    """Train the tiny CLIP on pictures and sentences, by CLIP's own loss, and save it."""
    if path.is_file():
        return path
    torch.manual_seed(0)
    images, sentences = pictures_and_sentences(people)
    model = build_clip(clip_architecture("tiny-vit"))
    normalize = PixelNormalization("clip")
    distinct = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
    tokens = tokenize_captions(list(distinct), 77)
    tokens = F.pad(tokens, (0, 77 - tokens.shape[1]))
    which = torch.tensor([distinct[text] for text in sentences])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    batch = 128
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    step = 0
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images)).split(batch)[: len(images) // batch]:
            pictures = images[rows]
            if step % 2:
                pictures = pictures.flip(-1)
            shift = torch.randint(-5, 6, (2,)).tolist()
            pictures = pictures.roll(shift, dims=(-2, -1))
            seen, text = model.encode_image(normalize(pictures), normalize=True), which[rows]
            logits = (
                model.logit_scale.exp() * seen @ model.encode_text(tokens[text], normalize=True).T
            )
            same = (text[:, None] == text[None]).float()
            target = same / same.sum(dim=1, keepdim=True)
            loss = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            total += loss.item()
        print(f"pretraining: loss {total / (len(images) // batch):.3f}", flush=True)
    torch.save(model.state_dict(), path)
    return path


def settings(
    method: str, streams: tuple[str, ...], seed: int, work: Path, epochs: int
) -> TrainConfig:
    """The training of one method."""
    config = TrainConfig(
        dataset=str(work / "train"),
        out=work / "runs",
        name=f"{method}-{'+'.join(streams)}-seed-{seed}",
        accelerator="cpu",
        select="last",
        data=DataConfig(test=str(work / "test"), workers=0),
        augment=AugmentConfig(crop_scale=0.7, flip=0.5),
    )
    for table in read_recipe(method, "drawn"):
        config = override(config, table, where=method)
    common = {"optimizer": "adamw", "schedule": "cosine", "warmup_epochs": 1.0, "batch_size": 16}
    toy = {
        "seed": seed,
        "augment": {"crop_scale": 0.7, "brightness": 0.2},
        "model": {
            "clip": "tiny-vit/local",
            "clip_weights": str(work / "clip.pt"),
            "num_frames": 4,
            "normalization": "clip",
        },
        "optim": {**common, "epochs": epochs, "weight_decay": 0.05},
    }
    config = override(config, toy, where="toy")
    if method == "finecliper":
        own = replace(config.model.finecliper, streams=streams, drop_path=0.1)
        config = replace(config, model=replace(config.model, finecliper=own))
        return override(config, {"optim": {"lr_adapter": 2e-3}}, where="toy")
    rates = {"lr_image": 3e-4, "lr_temporal": 1e-3, "lr_context": 1e-3}
    return override(config, {"optim": rates}, where="toy")


def war_of(config: TrainConfig) -> float:
    """Train, or read what an earlier run found; WAR on the test people in per cent."""
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
    parser.add_argument("--pretrain-people", type=int, default=150)
    parser.add_argument("--pretrain-epochs", type=int, default=12)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--test-people", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
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
