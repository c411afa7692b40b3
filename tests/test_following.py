"""Who is followed: fast heads, hidden faces, taken places, crossings; and the notes about them."""

from array import array

import cv2
import numpy as np
import pytest

from dfercli.artifacts.face_store import GapRow
from dfercli.config import PreprocessConfig
from dfercli.config.preprocessing import in_seconds
from dfercli.faces.absence import why_lost
from dfercli.faces.detect import Faces
from dfercli.faces.follow import FaceFollower, FollowSettings
from dfercli.faces.look import look_of
from dfercli.prediction.clip_faces import StoredFaces
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.preprocessing.gaps import doubtful, left_out
from dfercli.video.frames import Frame

SETTINGS = FollowSettings(
    detect_seconds=0.12, min_face_px=20, lost_seconds=2.5, smooth_seconds=0.0, calm_seconds=0.24
)
RED, BLUE, GREEN = (200, 90, 80), (70, 90, 190), (60, 160, 70)


class Marked:
    """Finds coloured squares, so a picture alone says where the faces are; counts its looks."""

    name = "marked"
    batch_size = 1
    smallest_face_px = 1000
    new_track_score = 0.8

    def __init__(self):
        self.looks = 0

    def detect(self, images):
        self.looks += len(images)
        return [self._one(image) for image in images]

    def _one(self, image):
        boxes = []
        for colour in (RED, BLUE, GREEN):
            mask = (image == colour).all(axis=2).astype(np.uint8)
            _, _, parts, _ = cv2.connectedComponentsWithStats(mask)
            for left, top, width, height, area in parts[1:].tolist():
                if area > 400 and 0.8 < height / width < 1.25:  # half a face does not count
                    boxes.append([left, top, left + width, top + height])
        return Faces(
            np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32)
        )


def picture(*squares):
    """Squares (left, top, side, colour) on grey; later ones cover earlier ones."""
    image = np.full((360, 640, 3), 120, np.uint8)
    for left, top, side, colour in squares:
        image[max(0, int(top)) : int(top + side), max(0, int(left)) : int(left + side)] = colour
    return image


def follow(scene, fps, seconds, cuts=()):
    """The follower, and the tracks of each frame; `scene` gives the squares at a time."""
    follower = FaceFollower(Marked(), SETTINGS)
    times = [number / fps for number in range(round(fps * seconds))]
    frames = ((Frame(n, t, picture(*scene(t))), n in cuts) for n, t in enumerate(times))
    tracks = [[face.track for face in faces] for _, faces in follower.follow(frames)]
    return follower, tracks


@pytest.mark.parametrize(("fps", "pace"), [(9, 0.5), (24, 1), (60, 1)])
def test_a_lively_head_is_one_track_and_a_calm_one_costs_fewer_looks(fps, pace):
    def lively(t):
        t = pace * t
        side = 80 * np.exp(0.3 * np.sin(9 * t))
        return [(270 + 110 * np.sin(8 * t), 140 + 30 * np.sin(12 * t), side, RED)]

    follower, tracks = follow(lively, fps, 4)
    assert tracks == [[0]] * len(tracks)
    calm, tracks = follow(lambda t: [(200 + 20 * t, 140, 80, RED)], fps, 4)
    assert tracks == [[0]] * len(tracks)
    usual = len(tracks) / max(1, round(0.12 * fps))
    assert calm._detector.looks <= len(tracks) / round(0.24 * fps) + 3
    assert follower._detector.looks >= usual


def test_boxes_between_rare_looks_err_by_a_few_percent_of_a_face():
    def sways(t):
        return [(270 + 60 * np.sin(2 * t), 140, 80 * np.exp(0.2 * np.sin(3 * t)), RED)]

    follower = FaceFollower(Marked(), SETTINGS)
    frames = ((Frame(n, n / 25, picture(*sways(n / 25))), False) for n in range(100))
    for frame, faces in follower.follow(frames):
        (left, top, side, _), (face,) = sways(frame.pts_seconds)[0], faces
        true = np.array([left, top, left + side, top + side])
        assert np.abs(face.box_xyxy_px - true).max() < 0.06 * side
    assert follower._detector.looks < 0.8 * 100 / 3


@pytest.mark.parametrize("number", [26, 28])
def test_a_face_that_comes_or_goes_between_rare_looks_is_noticed_at_the_usual_ones(number):
    def two(t):
        return [(100, 140, 80, RED)] + ([(400, 140, 80, BLUE)] if t * 25 >= number else [])

    def one(t):
        return two(2 - t)

    _, tracks = follow(two, 25, 2)
    first = next(n for n, row in enumerate(tracks) if len(row) == 2)
    assert 0 <= first - number <= 3
    _, tracks = follow(one, 25, 2)
    last = max(n for n, row in enumerate(tracks) if len(row) == 2)
    assert 0 <= 50 - number - last <= 3


def test_a_hidden_face_keeps_its_number_and_does_not_count_as_seen():
    def hidden(t):
        return [(280, 140, 80, RED)] + ([(240, 100, 170, (30, 30, 30))] if 1 <= t < 2.8 else [])

    follower, tracks = follow(hidden, 25, 4)
    assert {number for row in tracks for number in row} == {0}
    assert [len(row) for row in tracks[26:68]] == [0] * 42
    (absence, *_) = follower.absences
    assert (absence.track, absence.reason) == (0, "behind something")
    assert absence.start_seconds == pytest.approx(0.96)


def test_somebody_who_takes_anothers_place_gets_a_new_number():
    def place(t):
        return [] if 1 <= t < 1.4 else [(280, 140, 80, RED if t < 1 else BLUE)]

    _, tracks = follow(place, 25, 3)
    assert {number for row in tracks[:25] for number in row} == {0}
    assert {number for row in tracks[36:] for number in row} == {1}


@pytest.mark.parametrize("fps", [9, 25])
def test_faces_that_cross_and_swap_size_keep_their_numbers(fps):
    def cross(t):
        one = (100 + 100 * t, 140, 60 + 20 * t, RED)
        other = (440 - 100 * t, 140, 130 - 20 * t, BLUE)
        return [one, other] if t < 1.7 else [other, one]

    _, tracks = follow(cross, fps, 3.5)
    assert {number for row in tracks for number in row} == {0, 1}
    assert tracks[0] == tracks[-1] == [0, 1]


@pytest.mark.parametrize("fps", [9, 25])
def test_two_people_who_look_the_same_are_doubtful_after_they_meet(fps):
    def meet(t):
        return [(100 + 90 * t, 140, 70, RED), (440 - 90 * t, 150, 74, RED)]

    follower, tracks = follow(meet, fps, 3.5)
    assert {number for row in tracks for number in row} == {0, 1}
    assert tracks[0] == [0, 1]
    assert {number for number, _ in follower.doubts} == {0, 1}


@pytest.mark.parametrize("fps", [9, 25])
def test_a_mirror_image_has_its_own_number(fps):
    def before_a_mirror(t):
        near = 0.5 - 0.5 * np.cos(np.pi * t / 2)
        return [(60 + 130 * near, 140, 120, RED), (470 - 130 * near, 150, 104, RED)]

    follower, tracks = follow(before_a_mirror, fps, 4)
    assert tracks == [[0, 1]] * len(tracks)
    assert follower.doubts == []


@pytest.mark.parametrize("fps", [9, 25])
@pytest.mark.parametrize("colour", [RED, GREEN])
def test_a_poster_keeps_its_number_while_somebody_walks_past_before_it(fps, colour):
    poster = (300, 120, 90, colour)

    def walk(t):
        return [poster, (60 + 420 * (0.5 - 0.5 * np.cos(np.pi * t / 2.5)), 140, 110, RED)]

    follower = FaceFollower(Marked(), SETTINGS)
    frames = (Frame(n, n / fps, picture(*walk(n / fps))) for n in range(5 * fps))
    rows = [faces for _, faces in follower.follow((frame, False) for frame in frames)]
    assert {face.track for faces in rows for face in faces} == {0, 1}
    assert len(rows[0]) == len(rows[-1]) == 2
    (number,) = (face.track for face in rows[0] if face.box_xyxy_px[0] == 300)
    for faces in rows:
        for face in faces if len(faces) == 2 else ():
            left, _, right, _ = face.box_xyxy_px.tolist()
            assert (face.track == number) == (left == 300 and right == 390)


def test_a_cut_in_mid_gesture_ends_all_tracks_whoever_comes_next():
    def scene(t):
        colour = BLUE if 1 <= t < 2 else RED
        return [(250 + 60 * np.sin(6 * t), 140, 100, colour)]

    follower, tracks = follow(scene, 25, 3, cuts=(25, 50))
    assert tracks == [[0]] * 25 + [[1]] * 25 + [[2]] * 25
    assert [absence.reason for absence in follower.absences] == ["cut", "cut", "no face found"]


@pytest.mark.parametrize("fps", [9, 25])
def test_a_face_that_fills_the_picture_is_one_track_without_a_gap(fps):
    def near(t):
        return [(120 + 60 * np.sin(4 * t), 8 + 8 * np.sin(3 * t), 340, RED)]

    follower, tracks = follow(near, fps, 3)
    assert tracks == [[0]] * len(tracks)
    assert [absence.end_seconds for absence in follower.absences] == [None]  # the end of the video


def test_a_short_loss_in_plain_view_is_bridged_and_marked():
    class Blinking(Marked):
        def _one(self, image):
            found = super()._one(image)
            return found.select(np.zeros(len(found), bool)) if image[0, 0, 0] == 1 else found

    def image(number):
        made = picture((280, 140, 80, RED))
        made[0, 0] = 1 if 25 <= number < 33 else 0
        return made

    follower = FaceFollower(Blinking(), SETTINGS)
    frames = ((Frame(n, n / 25, image(n)), False) for n in range(60))
    rows = [faces for _, faces in follower.follow(frames)]
    assert [[face.track for face in faces] for faces in rows] == [[0]] * 60
    assert not any(face.detected for faces in rows[25:33] for face in faces)
    assert all(absence.end_seconds is None for absence in follower.absences)  # the end alone


def test_why_a_face_is_lost():
    seen = picture((280, 140, 80, RED))
    look = look_of(seen, np.float32([280, 140, 360, 220]))
    box = np.float32([[280, 140], [360, 220]])
    nothing = np.zeros((0, 4), np.float32)
    assert why_lost(box, look, picture(), nothing, 20) == "behind something"
    assert why_lost(box, look, seen, nothing, 20) == "below the score"
    assert why_lost(box, look, seen, nothing, 79) == "too small"
    assert why_lost(box, look, seen, np.float32([[300, 100, 400, 300]]), 20) == "behind something"
    assert why_lost(box - 278, look, seen, nothing, 20) == "left the picture"
    points = np.float32([[300, 160], [330, 160], [334, 180], [305, 200], [328, 200]])
    assert why_lost(np.concatenate([box, points]), look, seen, nothing, 20) == "turned away"


def test_frames_of_old_stores_and_cards_are_read_as_seconds():
    assert in_seconds({"detect_every": None, "smooth": 4, "size": 224}) == {
        "detect_every": 0.12,
        "smooth": 0.16,
        "size": 224,
    }
    assert in_seconds({"detect_every": 1}) == {"detect_every": 0.04}
    assert in_seconds({"detect_every": 1.0}) == {"detect_every": 1.0}


def test_faces_that_were_left_out_are_counted_with_the_option_that_keeps_them():
    sides = {0: [100.0] * 50, 1: [41.0] * 50, 2: [36.0] * 50, 3: [90.0] * 5, 4: [20.0]}
    sides |= {5: [40.0] * 9, 6: [60.0] * 50}
    sides = {number: array("f", values) for number, values in sides.items()}
    assert left_out({}, sides, [0, 6], PreprocessConfig(), 50, 0.04) == [
        "2 more faces, the largest 41 px: --min-face 32 keeps them",
        "1 more face, the longest seen for 0.20 s: --min-seconds 0.18 keeps it",
        "1 more face, the largest 40 px, the longest seen for 0.36 s: --min-face 36 --min-seconds "
        "0.32 keep it",
    ]
    *_, limited = left_out({}, sides, [0], PreprocessConfig(faces="largest"), 50, 0.04)
    assert limited == "1 more face: --faces all keeps it"
    assert doubtful([(7, 2.0), (3, 1.0), (7, 3.0)], [3, 5]) == [
        "face 0 is doubtful from 1.00 s on: two faces met there, or it came back changed"
    ]


def test_a_gap_has_the_reason_that_covers_most_of_it(tmp_path):
    rows = (GapRow(1.0, 2.0, "cut"), GapRow(2.0, 5.0, "turned away"))
    source = TrackedSource("a.mp4", StoredFaces(tmp_path), (), gaps=rows)
    assert source.reason_of(1.5, 4.0) == "turned away"
    assert source.reason_of(1.0, 2.1) == "scene cut"  # of a store of an earlier version, too
    assert source.reason_of(8.0, 9.0) == "no face found"
