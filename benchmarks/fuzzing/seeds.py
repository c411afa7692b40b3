"""The files to mutate: one small artefact of each kind, made by dfer's own commands at run time."""

import contextlib
import io
import os
import shutil
from pathlib import Path

import numpy as np

from fuzzing import media
from fuzzing.answers import classes_answer, json_reply, serving

PEOPLE = 2
LABELS = ("happiness", "sadness")
CLIP = "tiny/random"
PREPROCESS = ("--detector", "haar", "--workers", "0", "--size", "48", "--quiet")
TRAIN = (
    *("--clip", CLIP, "--accelerator", "cpu", "--workers", "0", "--epochs", "1", "--quiet"),
    *("--batch-size", "2", "--select", "last", "--set", "model.num_frames=2"),
    *("--set", "model.context_tokens=2", "--allow-leak"),
)
SWEEP = """dataset = "{faces}"
out = "{out}"
select = "last"
accelerator = "cpu"

[data]
test = "{faces}"
workers = 0
allow_leak = true

[model]
clip = "tiny/random"
num_frames = 2
text_type = "name"

[optim]
epochs = 1
batch_size = 2

[grid]
seed = [1]
"model.context_tokens" = [1]
"""
SETTINGS = """[predict]
window = 1.0
stride = 0.5
top = 2
batch_size = 4
faces = "all"
min_face = 40
start = 0.0
workers = 0
device = "cpu"
region = [0, 0, 160, 160]
html = "page.html"

[preprocess]
size = 48
margin = 0.25
fps = 5.0
jpeg_quality = 90
detector = "haar"
smooth = 2
workers = 0
classes = ["happiness", "sadness"]

[train]
seed = 1

[train.model]
method = "mean-pooling"

[train.optim]
lr_image = 0.001
"""


def make_seeds(folder: Path, *, quick: bool = False) -> None:
    """Make all seeds.

    Args:
        folder: An empty folder.
        quick: Leave out seeds that take long and that only long commands read.

    Raises:
        RuntimeError: a command failed; the message holds its output.
    """
    media.write_media(folder / "media")
    _write_videos(folder / "videos")
    faces, checkpoint = folder / "faces", folder / "runs" / "first"
    _dfer("preprocess", folder / "videos", "--out", faces, *PREPROCESS)
    _add_parts(faces)
    _dfer("train", faces, "--test", faces, "--out", folder / "runs", "--name", "first", *TRAIN)
    last = checkpoint / "fold-1" / "checkpoints" / "last"
    shutil.copytree(last.resolve(), folder / "checkpoint")
    _write_published(folder / "published.pth")
    _dfer(
        *("export", checkpoint, "--format", "torchscript", "--quiet"),
        *("--out", folder / "model.torchscript"),
    )
    _write_texts(folder)
    _write_journal(folder)
    _write_lists(folder)
    _write_llm_cache(folder)
    if quick:
        return
    frozen = ("--freeze-image", "--cache-features", "--features-in", folder / "features")
    _dfer("train", faces, "--test", faces, "--out", folder / "frozen", *TRAIN, *frozen)
    _dfer("export", checkpoint, "--out", folder / "model.onnx", "--quiet")


def _dfer(*arguments: object, quietly: tuple[int, ...] = (0,)) -> None:
    from dfercli.cli.app import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    if code not in quietly:
        raise RuntimeError(f"dfer {' '.join(map(str, arguments))}: {code}: {err.getvalue()}")


def _write_published(path: Path) -> None:
    """A checkpoint of a small CLIP as the published code writes it."""
    import torch

    from dfercli.config import ModelConfig
    from dfercli.labels import SEVEN
    from dfercli.models.clip_backbone import build_clip
    from dfercli.models.dfer_clip import DferClip
    from dfercli.models.published_checkpoint import published_weights

    vision = {"image_size": 64, "patch_size": 32, "width": 64, "head_width": 64, "layers": 1}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    clip = build_clip({"embed_dim": 32, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text})
    texts = [f"{label}, it's seen in the brows." for label in SEVEN]
    model = DferClip(clip, texts, ModelConfig(num_frames=4, context_tokens=3))
    content = {"epoch": 3, "state_dict": published_weights(model, texts), "recorder": None}
    torch.save({**content, "best_acc": torch.tensor(0.5)}, path)


def _write_videos(folder: Path) -> None:
    """Four short videos: two people, two expressions; the folder name is the label."""
    frames = media.face_frames()
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for person in range(PEOPLE):
            shade = 60 * (label == "sadness") + 10 * person
            darker = [np.clip(frame.astype(int) - shade, 0, 255) for frame in frames]
            path = folder / label / f"p{person}.mp4"
            media.encode(path, [f.astype(np.uint8) for f in darker], "libx264", "yuv420p")


def _add_parts(faces: Path) -> None:
    """Landmarks, parsing maps and captions for each clip, as if networks had made them."""
    from dfercli.artifacts.captions import CaptionRow, append_caption
    from dfercli.artifacts.face_parts import write_landmarks, write_maps
    from dfercli.artifacts.face_store import frame_paths, read_clips
    from dfercli.artifacts.parts_record import record_parts

    record_parts(faces, {"landmarks": "by hand", "parsing": "by hand"})
    for clip in read_clips(faces):
        count = clip.num_frames
        points = np.random.default_rng(0).uniform(5, 43, (count, 68, 2)).astype(np.float32)
        write_landmarks(faces, clip.clip_id, points)
        names = [path.stem for path in frame_paths(faces, clip)]
        maps = zip(names, np.ones((count, 48, 48), np.uint8), strict=True)
        write_maps(faces, "parsing", clip.clip_id, maps)
        row = CaptionRow(clip.clip_id, "The lips part.", (0,), "m", "m", "0", 0, (), "2025")
        append_caption(faces, row)


def _write_texts(folder: Path) -> None:
    """Descriptions, templates, label lists and settings."""
    from dfercli.descriptions.prompt_files import read_prompt_file

    texts = folder / "texts"
    texts.mkdir()
    _dfer("describe", "--classes", "7", "--out", texts / "texts.json", "--quiet")
    _dfer("describe", "--classes", "7", "--style", "pn", "--out", texts / "pn.json", "--quiet")
    (texts / "template.txt").write_text(read_prompt_file("class_texts.txt"))
    (texts / "classes.txt").write_text("awe\nboredom\n")
    (texts / "classes.json").write_text('{"awe": "wonder at the vast", "joy": ""}')
    rows = [f"{label}/p{n}.mp4,{label},s{n}" for label in LABELS for n in range(PEOPLE)]
    (texts / "labels.csv").write_text("\n".join(["source,label,subject", *rows]) + "\n")
    (texts / "settings.toml").write_text(SETTINGS.replace("{faces}", str(folder / "faces")))
    (texts / "sweep.toml").write_text(SWEEP.replace("{faces}", str(folder / "faces")))
    recipe = Path(__file__).parents[2] / "dfercli" / "recipes" / "demo.toml"
    shutil.copy(recipe, texts / "recipe.toml")


def journal_command(folder: Path) -> tuple[str, ...]:
    """A prediction that is to be stopped; its table is `x.csv` in the working folder."""
    return (
        *("predict", str(folder / "faces"), "--checkpoint", str(folder / "checkpoint")),
        *("--workers", "0", "--device", "cpu", "--out", "x.csv", "--quiet"),
    )


def _write_journal(folder: Path) -> None:
    """The work folder of a prediction that was stopped before its table was written."""
    from dfercli.prediction.journal import Journal

    (folder / "stopped").mkdir()
    remove = Journal.remove
    Journal.remove = lambda self: None  # type: ignore[method-assign]
    try:
        os.chdir(folder / "stopped")
        _dfer(*journal_command(folder))
    finally:
        Journal.remove = remove  # type: ignore[method-assign]
    (folder / "stopped" / "x.csv").unlink()


def _write_lists(folder: Path) -> None:
    """The tests' miniature copies of the benchmarks, and our own list."""
    from miniature_datasets import make_dfew, make_ferv39k, make_mafw

    make_dfew(folder / "dfew", count=3)
    make_ferv39k(folder / "ferv39k")
    make_mafw(folder / "mafw")
    from dfercli.artifacts.face_store import read_clips

    rows = [
        f"frames/{clip.clip_id} {clip.num_frames} {LABELS.index(str(clip.label))}"
        for clip in read_clips(folder / "faces")
    ]
    own = folder / "list"
    own.mkdir()
    shutil.copytree(folder / "faces" / "frames", own / "frames")
    (own / "train.txt").write_text("\n".join(rows) + "\n")
    (own / "order.txt").write_text("happiness\nsadness\n")


def _write_llm_cache(folder: Path) -> None:
    """Cached answers of an LLM."""
    with serving(lambda number: json_reply(classes_answer())) as url:
        os.environ.update(OPENAI_BASE_URL=url, OPENAI_API_KEY="k")
        try:
            _dfer(
                *("describe", "--classes", folder / "texts" / "classes.txt", "--model", "m"),
                *("--cache", folder / "llm", "--out", folder / "texts" / "own.json", "--quiet"),
            )
        finally:
            del os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
