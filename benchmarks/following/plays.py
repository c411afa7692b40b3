"""The plays: each shows known people in a situation that is hard to follow."""

from collections.abc import Callable

import numpy as np

from following.stage import Actor, Board, Place, Play

WIDTH, HEIGHT = 640, 360


def _sway(t: float, hertz: float, reach: float, phase: float = 0.0) -> float:
    return float(reach * np.sin(2 * np.pi * hertz * t + phase))


def _sits(x: float, y: float, face_px: float, phase: float = 0.0) -> Callable[[float], Place]:
    """A head that moves a little, as people who sit and listen do."""

    def place(t: float) -> Place:
        return Place(
            x + _sway(t, 0.4, 0.08 * face_px, phase),
            y + _sway(t, 0.3, 0.04 * face_px, phase + 1),
            face_px * (1 + _sway(t, 0.2, 0.03, phase)),
            yaw=_sway(t, 0.3, 0.25, phase),
        )

    return place


def _walks(
    start: tuple[float, float],
    end: tuple[float, float],
    seconds: float,
    sizes_px: tuple[float, float],
    bob: float = 0.03,
) -> Callable[[float], Place]:
    """From one place to another in so many seconds, growing or shrinking on the way."""

    def place(t: float) -> Place:
        share = min(1.0, t / seconds)
        size = sizes_px[0] * (sizes_px[1] / sizes_px[0]) ** share
        x = start[0] + share * (end[0] - start[0])
        y = start[1] + share * (end[1] - start[1]) + _sway(t, 1.8, bob * size)
        return Place(x, y, size, yaw=0.4 * float(np.sign(end[0] - start[0])))

    return place


def lively(seed: int, fps: float = 24, pace: float = 1.0) -> Play:
    """One head that turns, nods, comes and goes fast; every frame shows it, and there is no cut."""
    rng = np.random.default_rng([seed, 1])
    phases = rng.uniform(0, 2 * np.pi, 5)

    def place(t: float) -> Place:
        # Bursts with calm between them are hard for a follower that looks only now and then.
        burst = 0.25 + 0.75 * max(0.0, float(np.sin(2 * np.pi * 0.4 * t + phases[4]))) ** 0.5
        turn = _sway(t, 1.7 * pace, 1.0, phases[0]) * burst
        return Place(
            320 + 70 * turn + _sway(t, 1.1 * pace, 20, phases[1]) * burst,
            185 + _sway(t, 2.0 * pace, 22, phases[2]) * burst,
            float(120 * np.exp(_sway(t, 1.5 * pace, 0.3, phases[3]) * burst)),
            yaw=0.95 * turn,
            pitch=_sway(t, 1.7 * pace, 0.35, phases[1]) * burst,
            roll=_sway(t, 1.5 * pace, 0.3, phases[2]) * burst,
        )

    name = "lively" if pace >= 1 else "moving"
    return Play(f"{name}_{fps:g}fps", seed, WIDTH, HEIGHT, fps, 8, (Actor(0, place),))


def turns(seed: int, fps: float = 30) -> Play:
    """Fast looks from side to side."""

    def place(t: float) -> Place:
        look = float(np.clip(3 * np.sin(2 * np.pi * 0.9 * t), -1, 1))
        return Place(320 + 45 * look, 180, 130, yaw=1.05 * look)

    return Play(f"turns_{fps:g}fps", seed, WIDTH, HEIGHT, fps, 5, (Actor(0, place),))


def crosses(seed: int, fps: float = 25, seconds: float = 4.0) -> Play:
    """Two people cross, and one hides the other for a moment."""
    one = _walks((90, 170), (550, 180), seconds, (80, 84))
    other = _walks((550, 180), (90, 175), seconds, (88, 86))
    actors = (Actor(0, one), Actor(1, other, depth=lambda t: 1.0))
    return Play(f"crosses_{fps:g}fps", seed, WIDTH, HEIGHT, fps, seconds, actors)


def swaps_size(seed: int, fps: float = 25, seconds: float = 4.0) -> Play:
    """Two faces cross and swap size: one comes closer, the other moves away."""
    one = _walks((140, 190), (500, 170), seconds, (60, 130))
    other = _walks((500, 170), (140, 190), seconds, (130, 60))
    depth = seconds / 2
    actors = (
        Actor(0, one, depth=lambda t: float(t >= depth)),
        Actor(1, other, depth=lambda t: float(t < depth)),
    )
    return Play(f"swaps_size_{fps:g}fps", seed, WIDTH, HEIGHT, fps, seconds, actors)


def turns_back(seed: int, fps: float = 25) -> Play:
    """Two people meet, one hides the other, and both go back to where they came from."""

    def place(start: float, end: float, size: float) -> Callable[[float], Place]:
        def at(t: float) -> Place:
            share = float(np.sin(np.pi * min(1.0, t / 4)) ** 2)
            return Place(start + share * (end - start), 180, size, yaw=0.2)

        return at

    actors = (
        Actor(0, place(150, 330, 90)),
        Actor(1, place(500, 325, 96), depth=lambda t: 1.0),
    )
    return Play("turns_back", seed, WIDTH, HEIGHT, fps, 4, actors)


def hides(seed: int, hidden: float, fps: float = 25) -> Play:
    """A board passes in front of a face and hides it for some seconds."""
    face = _sits(320, 180, 100)

    def board(t: float) -> tuple[float, float, float, float] | None:
        # As wide as the face and drawn at once, so the face is hidden for exactly that long.
        here = 1.5 <= t < 1.5 + hidden
        return (240, 60, 400, 330) if here else None

    seconds = 3.5 + hidden
    boards = (Board(board),)
    return Play(f"hidden_{hidden:g}s", seed, WIDTH, HEIGHT, fps, seconds, (Actor(0, face),), boards)


def passes(seed: int, fps: float = 25) -> Play:
    """A person walks past in front of one who sits, and hides that face for a while."""
    actors = (
        Actor(0, _sits(320, 170, 90)),
        Actor(1, _walks((-120, 190), (760, 190), 3.5, (150, 150)), depth=lambda t: 1.0),
    )
    return Play("passes_before", seed, WIDTH, HEIGHT, fps, 4, actors)


def takes_the_place(seed: int, away: float, fps: float = 25) -> Play:
    """One person leaves, and another sits down in the same place."""
    there = _sits(320, 180, 110)
    gone, come = 1.6, 1.6 + away
    actors = (
        Actor(0, lambda t: there(t) if t < gone else None),
        Actor(1, lambda t: there(t) if t >= come else None),
    )
    return Play(f"takes_the_place_{away:g}s", seed, WIDTH, HEIGHT, fps, come + 1.6, actors)


def cut(seed: int, fps: float = 25) -> Play:
    """A cut in mid-gesture to another person in the same place, then to the first one, closer."""
    moves = lively(seed, fps, pace=0.5).actors[0].place
    near = _sits(300, 190, 150)
    actors = (
        Actor(0, lambda t: moves(t) if t < 1.52 else None),
        Actor(1, lambda t: moves(t) if 1.52 <= t < 3.0 else None, shot=1),
        Actor(0, lambda t: near(t) if t >= 3.0 else None, shot=2),
    )
    return Play("cut", seed, WIDTH, HEIGHT, fps, 4.6, actors, cuts_seconds=(1.52, 3.0))


def zoom(seed: int, fps: float = 25) -> Play:
    """From a face of 40 pixels to one of 400 and back."""

    def place(t: float) -> Place:
        share = 0.5 - 0.5 * float(np.cos(2 * np.pi * t / 4))
        return Place(320 + 40 * share, 240, 40 * 10**share)

    return Play("zoom", seed, 640, 480, fps, 4, (Actor(0, place),))


def fills(seed: int, fps: float = 25) -> Play:
    """A face that fills the picture and moves in it."""

    def place(t: float) -> Place:
        return Place(
            320 + _sway(t, 0.7, 60),
            185 + _sway(t, 0.5, 20),
            340 + _sway(t, 0.4, 40),
            yaw=_sway(t, 0.6, 0.5),
        )

    return Play("fills_the_picture", seed, WIDTH, HEIGHT, fps, 4, (Actor(0, place),))


def mirror(seed: int, fps: float = 25) -> Play:
    """A person in front of a mirror, who comes close and goes back."""

    def near(t: float) -> float:
        return 0.5 - 0.5 * float(np.cos(2 * np.pi * t / 4))

    actors = (
        Actor(0, lambda t: Place(120 + 130 * near(t), 190, 120, yaw=0.5)),
        Actor(
            0,
            lambda t: Place(520 - 130 * near(t), 190, 104, yaw=0.5),
            depth=lambda t: -1.0,
            shot=1,  # the mirror image is a face with its own number
            is_mirrored=True,
        ),
    )
    return Play("mirror", seed, WIDTH, HEIGHT, fps, 4, actors)


def poster(seed: int, fps: float = 25) -> Play:
    """A poster of a face, and a person who walks past in front of it and back."""

    def walk(t: float) -> Place:
        share = 0.5 - 0.5 * float(np.cos(2 * np.pi * t / 5))
        return Place(110 + 420 * share, 190, 110, yaw=0.5 if t < 2.5 else -0.5)

    wall = Place(330, 165, 95)
    actors = (
        Actor(0, lambda t: wall, is_still=True, depth=lambda t: -1.0),
        Actor(1, walk, depth=lambda t: 1.0),
    )
    return Play("poster", seed, WIDTH, HEIGHT, fps, 5, actors)


def group(seed: int, fps: float = 25) -> Play:
    """Four people, small and large, who walk and sit."""
    actors = (
        Actor(0, _sits(100, 150, 60, 0.3)),
        Actor(1, _sits(250, 180, 75, 1.3)),
        Actor(2, _sits(560, 140, 54, 2.2)),
        Actor(3, _walks((360, 220), (470, 200), 4, (90, 70))),
    )
    return Play("group", seed, WIDTH, HEIGHT, fps, 4, actors)


def shakes(seed: int, fps: float = 25) -> Play:
    """Two people in front of a shaking, hand-held camera."""
    rng = np.random.default_rng([seed, 3])
    steps = np.cumsum(rng.normal(0, 9, (400, 2)), axis=0)
    steps -= np.linspace(0, 1, 400)[:, None] * steps[-1]
    steps = np.clip(steps, -60, 60)

    def shaken(place: Callable[[float], Place]) -> Callable[[float], Place]:
        def at(t: float) -> Place:
            still, step = place(t), steps[int(t * 50) % 400]
            return Place(still.x + step[0], still.y + step[1], still.face_px, still.yaw)

        return at

    actors = (Actor(0, shaken(_sits(220, 180, 90))), Actor(1, shaken(_sits(430, 185, 84, 2.0))))
    return Play("shakes", seed, WIDTH, HEIGHT, fps, 4, actors)


def enters_and_leaves(seed: int, fps: float = 25) -> Play:
    """A person walks in, across the picture and out, while another stays."""
    actors = (
        Actor(0, _walks((-80, 190), (720, 180), 4, (100, 110))),
        Actor(1, _sits(520, 110, 60), depth=lambda t: -1.0),
    )
    return Play("enters_and_leaves", seed, WIDTH, HEIGHT, fps, 4.2, actors)


def plays() -> list[Play]:
    """All plays, each with its own people and surroundings."""
    made: list[Play] = []
    for seed in (1, 2):
        row: list[Callable[[int], Play]] = [
            *(lambda n, f=fps: lively(n, f) for fps in (24, 25, 30, 60)),
            lambda n: lively(n, 9, pace=0.6),
            *(lambda n, f=fps: turns(n, f) for fps in (15, 50)),
            *(lambda n, f=fps: crosses(n, f) for fps in (9, 25)),
            lambda n: crosses(n, 60, 2.5),
            *(lambda n, f=fps: swaps_size(n, f) for fps in (9, 25)),
            *(lambda n, s=seconds: hides(n, s) for seconds in (0.2, 0.5, 1.0, 2.0)),
            *(lambda n, s=seconds: takes_the_place(n, s) for seconds in (0.3, 1.2)),
            *(turns_back, passes, cut, zoom, fills, mirror, poster, group),
            *(shakes, enters_and_leaves),
        ]
        made += [make(100 * seed + number) for number, make in enumerate(row)]
    return made
