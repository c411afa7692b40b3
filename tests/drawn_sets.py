"""Miniatures of open data sets: drawn faces under the real names and in the real folders."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dfercli.data.crema_d import CREMA_D
from dfercli.data.ravdess import RAVDESS
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.labels import SEVEN
from dfercli.video.write import write_video

FRAME_SIZE = 160
FPS = 10.0


def draw_ravdess(root: Path, actors: Iterable[int], num_frames: int = 8) -> list[Path]:
    """Draw one take of each emotion of each actor: the first statement, strongly acted."""
    paths = []
    for actor in actors:
        for emotion in range(1, 9):
            intensity = 1 if emotion == 1 else 2
            name = f"01-01-{emotion:02d}-{intensity:02d}-01-01-{actor:02d}"
            path = root / f"Actor_{actor:02d}" / f"{name}.mp4"
            take = RAVDESS.read_name(name)
            assert take is not None
            _draw(path, actor, take.emotion, num_frames)
            paths.append(path)
    return paths


def draw_crema_d(root: Path, actors: Iterable[int], num_frames: int = 8) -> list[Path]:
    """Draw one clip of each emotion of each actor, as FLV, and write the set's two tables."""
    paths = []
    votes = ['"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel"']
    people = ['"ActorID","Age","Sex","Race","Ethnicity"']
    for actor in actors:
        sex = "Male" if actor % 2 else "Female"
        people.append(f'{actor},{20 + actor % 50},"{sex}","Asian","Not Hispanic"')
        for word, level in (
            *(("ANG", "LO"), ("ANG", "HI"), ("DIS", "MD"), ("FEA", "MD")),
            *(("HAP", "MD"), ("SAD", "MD"), ("NEU", "XX")),
        ):
            name = f"{actor}_IEO_{word}_{level}"
            path = root / "VideoFlash" / f"{name}.flv"
            take = CREMA_D.read_name(name)
            assert take is not None
            _draw(path, actor, take.emotion, num_frames)
            paths.append(path)
            vote = "A:N" if level == "LO" else word[0]  # weakly acted takes are ties
            votes.append(f'"{len(votes)}","{name}","{word[0]}","60","{vote}","70"')
    (root / "processedResults").mkdir(parents=True, exist_ok=True)
    (root / "processedResults" / "summaryTable.csv").write_text("\n".join(votes) + "\n")
    (root / "VideoDemographics.csv").write_text("\n".join(people) + "\n")
    return paths


def _draw(path: Path, actor: int, emotion: str, num_frames: int) -> None:
    identity = random_identity(np.random.default_rng(actor))
    shown = emotion if emotion in SEVEN else "neutral"
    rng = np.random.default_rng([actor, SEVEN.index(shown)])
    clip = render_clip(identity, shown, rng, num_frames=num_frames, fps=FPS, size=FRAME_SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".flv":
        _write_flash(path, clip.frames)
    else:
        write_video(path, clip.frames, FPS, crf=23)


def _write_flash(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write Flash video (Sorenson's H.263 in FLV), as CREMA-D has it."""
    with av.open(str(path), "w", format="flv") as file:
        stream = file.add_stream("flv1", rate=Fraction(FPS))
        stream.width = stream.height = FRAME_SIZE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 1_000_000
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
