"""Drawn people on a stage: videos in which every face of every frame is known.

`dfercli.drawn_faces` paints a face; it is cut out along its outline and put in its place.
Nearer things hide things behind them, and the visible part of each face is counted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfercli.drawn_faces.drawing import draw_face
from dfercli.drawn_faces.geometry import Pose
from dfercli.drawn_faces.identity import random_identity
from dfercli.drawn_faces.scene import Scene, random_scene
from dfercli.video.write import write_video

SCALE = 0.2  # of a sprite's side: half the width of a face
HEAD = 0.36  # of a sprite's height: from the top to the head; the chest is below
FACE_UNITS = 2.4  # the height of a face, in halves of its width
LARGEST_SPRITE_PX = 420  # larger faces are enlarged, which does not show
FOREHEAD = 0.3  # of the height of the landmarks: the forehead above them


@dataclass(frozen=True)
class Place:
    """Where a face is: its middle and its longer side in pixels, and its turn in radians."""

    x: float
    y: float
    face_px: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Actor:
    """Somebody in a play.

    Attributes:
        person: The same number is the same person.
        place: The position at a time in seconds; None while away.
        depth: The nearest actor is drawn last.
        shot: Somebody in two shots is two tracks, as a cut begins new ones.
        is_mirrored: Whether the face is mirrored.
        is_still: Whether it is a picture on the wall, which never moves.
    """

    person: int
    place: Callable[[float], Place | None]
    depth: Callable[[float], float] = lambda t: 0.0
    shot: int = 0
    is_mirrored: bool = False
    is_still: bool = False


@dataclass(frozen=True)
class Board:
    """Something that hides faces: left, top, right, bottom at a time, or None."""

    place: Callable[[float], tuple[float, float, float, float] | None]
    depth: Callable[[float], float] = lambda t: 10.0


@dataclass(frozen=True)
class Play:
    """One video to draw.

    Attributes:
        name: Of the video.
        seed: Decides people and backgrounds.
        width: In pixels.
        height: In pixels.
        fps: Frames per second.
        seconds: Length.
        actors: The people in it.
        boards: The things that hide them.
        cuts_seconds: When the background changes.
    """

    name: str
    seed: int
    width: int
    height: int
    fps: float
    seconds: float
    actors: tuple[Actor, ...]
    boards: tuple[Board, ...] = ()
    cuts_seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrueFace:
    """A face in a frame: whose it is, its box, and its visible share (0 to 1)."""

    identity: tuple[int, int]
    box_xyxy_px: tuple[float, float, float, float]
    visible: float


class Stage:
    """Draws a play frame by frame.

    Args:
        play: The play to draw.
    """

    def __init__(self, play: Play) -> None:
        self._play = play
        side = max(play.width, play.height)
        self._backdrops = [
            random_scene(np.random.default_rng([play.seed, 100 + shot]), side).background
            for shot in range(len(play.cuts_seconds) + 1)
        ]
        people = {actor.person for actor in play.actors}
        self._identities = {
            person: random_identity(np.random.default_rng([play.seed, person])) for person in people
        }
        self._talk = np.random.default_rng(play.seed).uniform(0.5, 2.0, (max(people) + 1, 3))
        self._rng = np.random.default_rng([play.seed, 7])
        self._noise = self._rng.normal(0, 2, (play.height + 64, play.width + 64, 1))

    def frames(self) -> Iterator[tuple[np.ndarray, list[TrueFace]]]:
        """Each frame (H, W, 3) uint8 RGB with the faces in it."""
        for number in range(round(self._play.seconds * self._play.fps)):
            yield self._frame(number / self._play.fps)

    def _frame(self, t: float) -> tuple[np.ndarray, list[TrueFace]]:
        play = self._play
        shot = sum(t >= cut for cut in play.cuts_seconds)
        image = self._backdrops[shot][: play.height, : play.width].copy()
        owner = np.full(image.shape[:2], -1, np.int16)
        things = sorted((*play.actors, *play.boards), key=lambda thing: thing.depth(t))
        faces: list[tuple[int, Actor, np.ndarray, int]] = []
        for thing in things:
            place = thing.place(t)
            if place is None:
                continue
            if isinstance(thing, Board):
                left, top, right, bottom = (round(value) for value in place)
                region = (slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right)))
                image[region] = (92, 84, 76)
                owner[region] = -1
                continue
            mark = len(faces)
            box, whole = self._paint(image, owner, thing, place, t, mark)
            faces.append((mark, thing, box, whole))
        down, right = self._rng.integers(0, 64, 2)
        noise = self._noise[down : down + play.height, right : right + play.width]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
        return image, [
            TrueFace(
                (actor.person, actor.shot),
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                float((owner == mark).sum()) / max(1, whole),
            )
            for mark, actor, box, whole in faces
        ]

    def _paint(
        self, image: np.ndarray, owner: np.ndarray, actor: Actor, place: Place, t: float, mark: int
    ) -> tuple[np.ndarray, int]:
        """Draw an actor into the picture; return the face's box and its pixels if unhidden."""
        unit_px = place.face_px / FACE_UNITS
        wanted_px = unit_px / SCALE
        side = min(LARGEST_SPRITE_PX, max(24, round(wanted_px)))
        pose = Pose((0.5, HEAD), SCALE, place.roll, place.yaw, place.pitch)
        drawn = draw_face(
            self._identities[actor.person],
            {} if actor.is_still else self._muscles(actor.person, t),
            pose,
            _plain_scene(side),
            side,
            with_regions=True,
        )
        zoom = wanted_px / side
        picture, points = drawn.image, drawn.landmarks_px
        assert drawn.regions is not None
        mask = (drawn.regions > 0).astype(np.float32)
        if actor.is_mirrored:
            picture, mask = picture[:, ::-1].copy(), mask[:, ::-1].copy()
            points = points * [-1, 1] + [side - 1, 0]
        shift = np.array([place.x, place.y]) - zoom * side * np.array([0.5, HEAD])
        low = np.clip(np.floor(shift), 0, owner.shape[::-1]).astype(int)
        high = np.clip(np.ceil(shift + zoom * side), 0, owner.shape[::-1]).astype(int)
        outline = points * zoom + shift
        box = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
        box[1] -= FOREHEAD * (box[3] - box[1])
        hull = cv2.convexHull(outline.astype(np.float32))
        if (high > low).all():
            part = (slice(low[1], high[1]), slice(low[0], high[0]))
            size = (int(high[0] - low[0]), int(high[1] - low[1]))
            transform = np.column_stack([np.eye(2) * zoom, shift - low])
            soft = cv2.warpAffine(mask, transform, size)[..., None]
            put = cv2.warpAffine(picture, transform, size, borderMode=cv2.BORDER_REPLICATE)
            image[part] = (soft * put + (1 - soft) * image[part]).astype(np.uint8)
            owner[part][soft[..., 0] > 0.5] = -1
            face = np.zeros((size[1], size[0]), np.uint8)
            cv2.fillConvexPoly(face, (hull - low).round().astype(np.int32), 1)
            owner[part][face > 0] = mark
        return box, round(cv2.contourArea(hull))

    def _muscles(self, person: int, t: float) -> dict[int, float]:
        """A face that talks and smiles now and then."""
        speeds = self._talk[person]
        return {
            26: float(0.5 + 0.5 * np.sin(2 * np.pi * 1.5 * speeds[0] * t)),
            12: float(max(0.0, np.sin(2 * np.pi * 0.3 * speeds[1] * t))),
            1: float(max(0.0, np.sin(2 * np.pi * 0.4 * speeds[2] * t))),
        }


def _plain_scene(side: int) -> Scene:
    margin = side + 32
    return Scene(
        background=np.zeros((side, side, 3), np.uint8),
        light=np.full((side, side, 3), 128, np.uint8),
        noise=np.zeros((margin, margin, 3), np.int16),
        side_light=0.3,
    )


def write_play(play: Play, path: Path) -> list[list[TrueFace]]:
    """Write a play as an MP4 file; returns the faces of each frame."""
    truth: list[list[TrueFace]] = []

    def images() -> Iterator[np.ndarray]:
        for image, faces in Stage(play).frames():
            truth.append(faces)
            yield image

    write_video(path, images(), play.fps, crf=23)
    return truth
