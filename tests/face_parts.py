"""Face stores with landmarks, parsing maps and captions, for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from stores import bright_and_dark_store

from dfercli.artifacts.captions import CaptionRow, append_caption
from dfercli.artifacts.face_parts import write_landmarks, write_maps
from dfercli.artifacts.face_store import read_clips
from dfercli.faces import parsing, stream_maker


def face_points(size: int = 32, shift: float = 0.0) -> np.ndarray:
    """68 points of a plain face, (68, 2) in pixels of a picture of `size`."""
    angle = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.4 * np.cos(angle), 0.4 + 0.5 * np.sin(angle)], 1)
    brows = np.stack([np.r_[np.linspace(0.2, 0.42, 5), np.linspace(0.58, 0.8, 5)], [0.25] * 10], 1)
    bridge = np.stack([[0.5] * 4, np.linspace(0.35, 0.55, 4)], 1)
    base = np.stack([np.linspace(0.42, 0.58, 5), [0.6] * 5], 1)

    def ring(x: float, y: float, width: float, height: float, count: int) -> np.ndarray:
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False) + np.pi
        return np.stack([x + width * np.cos(turn), y + height * np.sin(turn)], 1)

    parts = [jaw, brows, bridge, base, ring(0.32, 0.36, 0.07, 0.04, 6)]
    parts += [ring(0.68, 0.36, 0.07, 0.04, 6), ring(0.5, 0.76, 0.15, 0.07, 12)]
    parts += [ring(0.5, 0.76, 0.1, 0.03, 8)]
    return (np.concatenate(parts) * size + shift).astype(np.float32)


def write_caption(store: Path, clip_id: str, caption: str) -> None:
    append_caption(store, CaptionRow(clip_id, caption, (0,), "test", "test", "0", 0, (), "2025"))


def store_with_parts(
    folder: Path, *, without: Sequence[str] = (), clips_per_class: int = 4, frames: int = 4
) -> Path:
    """Bright and dark clips with all streams; clips named in `without` have none."""
    bright_and_dark_store(folder, clips_per_class, frames)
    for clip in read_clips(folder):
        if clip.clip_id in without:
            continue
        write_landmarks(folder, clip.clip_id, np.stack([face_points()] * clip.num_frames))
        regions = np.zeros((clip.num_frames, 32, 32), np.uint8)
        regions[:, 8:24, 8:24] = 1 if clip.label == "happiness" else 8
        names = [f"{number:06d}" for number in range(clip.num_frames)]
        write_maps(folder, "parsing", clip.clip_id, zip(names, regions, strict=True))
        moved = "up" if clip.label == "happiness" else "down"
        write_caption(folder, clip.clip_id, f"The lip corners are pulled {moved}.")
    return folder


class Parser:
    """A parsing network with nothing to load."""

    def __init__(self, model, device):
        pass

    def parse(self, crops):
        return [np.ones(crop.shape[:2], np.uint8) for crop in crops]


def offline_networks(monkeypatch, module, name: str, stand_in: type) -> None:
    """Replace SegFormer and the landmark finder (`name` of `module`) by stand-ins."""
    monkeypatch.setattr(module, name, stand_in)
    monkeypatch.setattr(parsing, "SegformerParser", Parser)
    monkeypatch.setattr(stream_maker, "fetch", lambda file: file.path)
    monkeypatch.setattr(stream_maker, "fetch_parsing_model", lambda model: None)
