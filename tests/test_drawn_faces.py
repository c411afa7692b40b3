import re

import cv2
import numpy as np
import pytest

from dfercli.drawn_faces.action_units import ACTION_UNITS, EXPRESSIONS, expression_curves
from dfercli.drawn_faces.captions import describe_changes
from dfercli.drawn_faces.clip import DrawnClip, render_clip, render_order_pair
from dfercli.drawn_faces.drawing import draw_face
from dfercli.drawn_faces.geometry import Pose, landmarks
from dfercli.drawn_faces.identity import Identity, random_identity
from dfercli.drawn_faces.raster import REGIONS
from dfercli.drawn_faces.scene import random_scene
from dfercli.labels import ALIASES, ELEVEN, SEVEN

EMOTION_WORDS = (
    *ELEVEN,
    *ALIASES,
    *("joy", "smile", "smiling", "laugh", "frown", "sorrow", "cry", "rage", "furious", "mad"),
    *("astonished", "shock", "startled", "disgusting", "revulsion", "sneer", "scared", "afraid"),
    *("fright", "terror", "pleased", "upset", "gloomy", "annoyed", "emotion", "expression"),
)


def person(seed: int) -> Identity:
    return random_identity(np.random.default_rng(seed))


def clip_of(seed: int, expression: str, **options: int | bool) -> DrawnClip:
    rng = np.random.default_rng(seed)
    return render_clip(random_identity(rng), expression, rng, **options)


def test_the_same_seed_gives_the_same_clip_and_another_seed_another() -> None:
    first, again = clip_of(3, "anger", num_frames=6), clip_of(3, "anger", num_frames=6)
    other = clip_of(4, "anger", num_frames=6)
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.landmarks_px, again.landmarks_px)
    assert np.array_equal(first.action_units, again.action_units)
    assert not np.array_equal(first.frames, other.frames)


def test_identities_vary() -> None:
    people = [person(seed) for seed in range(60)]
    assert len(set(people)) == 60
    assert len({p.hair_style for p in people}) >= 5
    assert {p.glasses for p in people} == {"none", "round", "square"}
    brightness = [sum(p.skin_rgb) / 3 for p in people]
    assert min(brightness) < 85
    assert max(brightness) > 200


def test_a_clip_has_the_promised_shapes() -> None:
    clip = clip_of(1, "fear", num_frames=5, size=160, with_regions=True)
    assert clip.frames.shape == (5, 160, 160, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.landmarks_px.shape == (5, 68, 2)
    assert clip.landmarks_px.dtype == np.float32
    assert clip.regions is not None
    assert clip.regions.shape == (5, 160, 160)
    assert clip.action_units.shape == (5, len(ACTION_UNITS))
    assert clip.label == "fear"
    assert clip_of(1, "fear", num_frames=2).regions is None


def test_regions_do_not_change_the_picture() -> None:
    plain = clip_of(5, "disgust", num_frames=3)
    with_regions = clip_of(5, "disgust", num_frames=3, with_regions=True)
    assert np.array_equal(plain.frames, with_regions.frames)


def test_the_cascade_finds_the_faces_after_compression() -> None:
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml")
    found, total, false_boxes = 0, 0, 0
    for seed in range(35):
        clip = clip_of(seed, SEVEN[seed % len(SEVEN)], num_frames=6, fps=3)
        for frame, points in zip(clip.frames[::2], clip.landmarks_px[::2], strict=True):
            _, jpeg = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
            grey = cv2.equalizeHist(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE))
            boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5)
            nose = points[30]
            holds_nose = [x < nose[0] < x + w and y < nose[1] < y + h for x, y, w, h in boxes]
            total += 1
            found += any(holds_nose)
            false_boxes += len(boxes) - sum(holds_nose)
    assert found / total >= 0.95
    assert false_boxes / total <= 0.02


@pytest.mark.parametrize("expression", SEVEN)
def test_landmarks_lie_in_the_regions_they_name(expression: str) -> None:
    identity = person(11)
    scene = random_scene(np.random.default_rng(0), 240)
    core = dict(EXPRESSIONS[expression].core)
    drawn = draw_face(identity, core, Pose(roll=0.05, yaw=0.1), scene, 240, with_regions=True)
    assert drawn.regions is not None
    expected = (
        (range(17, 27), {"brows"}),
        ((30, 32, 33, 34), {"nose"}),
        (range(36, 48), {"eyes"}),
        (range(49, 54), {"upper_lip"}),
        (range(55, 60), {"lower_lip"}),
        (range(60, 68), {"mouth", "upper_lip", "lower_lip"}),
    )
    for points, names in expected:
        for point in points:
            x, y = np.rint(drawn.landmarks_px[point]).astype(int)
            nearby = drawn.regions[y - 2 : y + 3, x - 2 : x + 3]
            assert names & {REGIONS[value] for value in np.unique(nearby)}, point


def test_the_middle_of_each_part_lies_in_its_region() -> None:
    clip = clip_of(2, "surprise", num_frames=8, with_regions=True)
    assert clip.regions is not None
    peak = int(clip.action_units[:, ACTION_UNITS.index(26)].argmax())
    points = clip.landmarks_px[peak]
    for part, name in (
        (slice(60, 68), "mouth"),
        (slice(17, 22), "brows"),
        (slice(22, 27), "brows"),
    ):
        x, y = np.rint(points[part].mean(axis=0)).astype(int)
        nearby = clip.regions[peak, y - 3 : y + 4, x - 3 : x + 4]
        assert REGIONS.index(name) in nearby


def test_all_seven_expressions_move_the_face_differently() -> None:
    identity = person(7)
    shapes = {name: landmarks(identity, EXPRESSIONS[name].core) for name in SEVEN}
    for first in SEVEN:
        for second in SEVEN[SEVEN.index(first) + 1 :]:
            furthest = np.linalg.norm(shapes[first] - shapes[second], axis=1).max()
            assert furthest > 0.09, (first, second)


def test_action_units_move_what_their_names_say() -> None:
    identity = person(7)
    rest = landmarks(identity, {})

    def moved(unit: int, point: int) -> np.ndarray:
        return landmarks(identity, {unit: 1.0})[point] - rest[point]

    assert moved(1, 22)[1] < -0.1
    assert abs(moved(1, 26)[1]) < 0.03
    assert moved(2, 26)[1] < -0.1
    assert moved(4, 22)[1] > 0.1
    assert moved(12, 54)[1] < -0.1
    assert moved(12, 54)[0] > 0.1
    assert moved(15, 54)[1] > 0.1
    assert moved(20, 54)[0] > 0.1
    assert moved(26, 8)[1] > 0.1
    closed = landmarks(identity, {43: 1.0})
    assert np.allclose(closed[43:45, 1], closed[[47, 46], 1], atol=0.03)


def test_an_unknown_action_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="99"):
        landmarks(person(0), {99: 1.0})


@pytest.mark.parametrize("expression", SEVEN)
def test_a_clip_starts_near_rest_and_reaches_its_apex(expression: str) -> None:
    eyes = ACTION_UNITS.index(43)
    for seed in range(20):
        curves = expression_curves(expression, np.random.default_rng(seed), 28, 14.0)
        moving = np.delete(curves, eyes, axis=1)
        assert moving[0].max() < 0.15
        assert curves[:, eyes].max() > 0.5
        if expression == "neutral":
            assert moving.max() < 0.1
        else:
            assert moving.max() > 0.55
            assert moving[-1].max() < moving.max()


def test_captions_never_name_an_emotion() -> None:
    for expression in SEVEN:
        captions = set()
        for seed in range(30):
            curves = expression_curves(expression, np.random.default_rng(seed), 28, 14.0)
            captions.add(describe_changes(curves))
        assert len(captions) > 1
        for caption in captions:
            words = re.findall(r"[a-z]+", caption.lower())
            assert not [w for w in words for word in EMOTION_WORDS if w.startswith(word)], caption


def test_captions_tell_what_moves() -> None:
    curves = np.zeros((10, len(ACTION_UNITS)), np.float32)
    assert describe_changes(curves) == "The face hardly moves."
    curves[3:8, ACTION_UNITS.index(12)] = 0.9
    curves[5, ACTION_UNITS.index(43)] = 1.0
    assert describe_changes(curves) == (
        "The lip corners are pulled up strongly, and then relax. The eyes blink once."
    )


def test_an_order_pair_is_the_same_frames_reversed() -> None:
    rng = np.random.default_rng(9)
    opening, closing = render_order_pair(random_identity(rng), rng, num_frames=8, size=160)
    assert (opening.label, closing.label) == ("opening", "closing")
    assert np.array_equal(opening.frames, closing.frames[::-1])
    assert np.array_equal(opening.landmarks_px, closing.landmarks_px[::-1])
    assert np.array_equal(opening.action_units, closing.action_units[::-1])
    gap = np.linalg.norm(opening.landmarks_px[:, 66] - opening.landmarks_px[:, 62], axis=1)
    assert gap[-1] > gap[0] + 8


def test_an_unknown_expression_is_refused() -> None:
    with pytest.raises(KeyError):
        clip_of(0, "contempt")
