"""Memory that waits is bounded in bytes; pictures may have any shape; readers are lazy."""

import threading
import weakref
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from drawn_videos import write_drawn_video
from test_preprocess_scale import FAST, contents

from dfercli.artifacts.face_store import read_clips
from dfercli.artifacts.pictures import scaled
from dfercli.errors import DataError, TooLargeError
from dfercli.faces import yunet
from dfercli.faces.detect import Faces
from dfercli.faces.follow import FaceFollower, FollowSettings
from dfercli.faces.haar import HaarDetector
from dfercli.prediction.annotate import annotate
from dfercli.prediction.clip_faces import StoredFaces
from dfercli.prediction.tracked_source import TrackedSource
from dfercli.preprocessing import face_clips
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.report.video_prediction import VideoPrediction
from dfercli.video import images
from dfercli.video.cuts import CutFinder
from dfercli.video.decode import VideoReader
from dfercli.video.frames import Frame, Selection, num_bytes
from dfercli.video.images import ImageReader
from dfercli.video.prefetch import prefetched
from dfercli.video.reorder import pictures_with_times


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_drawn_video(tmp_path_factory.mktemp("video") / "face.mp4", seconds=2.0)


def store_of(source, out, **changes):
    run(replace(FAST, sources=(str(source),), out=out, **changes), LogProgress())
    return contents(out)


@pytest.mark.parametrize(
    ("changes", "num_frames"),
    [({}, 0), ({}, 2), ({"fps": 3.0}, 0), ({"every": 2, "start": 0.5, "end": 1.4}, 4)],
)
def test_crops_are_the_same_in_one_pass_and_in_two(
    video, tmp_path, monkeypatch, changes, num_frames
):
    one_pass = store_of(video, tmp_path / "one", **changes)
    cut = []
    again = face_clips._cut_crops
    monkeypatch.setattr(face_clips, "_cut_crops", lambda *args: cut.append(1) or again(*args))
    monkeypatch.setattr(face_clips, "WAITING_BYTES", num_frames * 240 * 240 * 3)
    two_passes = store_of(video, tmp_path / "two", **changes)
    assert cut == [1]
    assert any(name.endswith(".jpg") for name in one_pass)
    assert two_passes == one_pass


def test_pictures_that_are_too_large_do_not_wait(video, tmp_path, monkeypatch):
    alive, most = [], []
    follow = FaceFollower.detect

    def watched(self, frames, without_image=None):
        for step in follow(self, frames, without_image):
            alive.append(step.frame.image.nbytes)
            most.append(0 if step.picture is None else step.picture.nbytes)
            yield step

    monkeypatch.setattr(FaceFollower, "detect", watched)
    monkeypatch.setattr(face_clips, "WAITING_BYTES", 0)
    store_of(video, tmp_path / "two")
    assert alive.count(0) == 24  # every frame of the second pass came without its picture
    assert not any(most)


def test_a_source_that_changes_between_two_passes_is_a_failure(video, tmp_path, monkeypatch):
    source = tmp_path / "face.mp4"
    source.write_bytes(video.read_bytes())
    monkeypatch.setattr(face_clips, "WAITING_BYTES", 0)
    again = face_clips._cut_crops

    def change(*args):
        with source.open("ab") as file:
            file.write(b"more")
        again(*args)

    monkeypatch.setattr(face_clips, "_cut_crops", change)
    out = tmp_path / "out"
    result = run(replace(FAST, sources=(str(source),), out=out), LogProgress())
    assert [failure.reason for failure in result.failures] == ["it changed while it was read"]
    assert not [path for path in contents(out) if path.endswith((".jpg", ".npz"))]


def test_prefetching_counts_bytes():
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield bytes(100)

    ahead = []
    taken = 0
    for item in prefetched(items(), 8, 350, len):
        taken += 1
        ahead.append(len(made) - taken)
        assert len(item) == 100
    assert taken == 20
    assert max(ahead) <= 3  # at most 350 bytes with the one in use, plus one in the making


@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1), (1, 1), (2, 5000), (9, 4000)])
def test_pictures_of_any_shape(shape):
    image = np.full((*shape, 3), 90, np.uint8)
    assert min(scaled(image, 0.01).shape[:2]) >= 1
    finder = CutFinder()
    assert not finder.is_cut(image)
    assert not finder.is_cut(image)
    settings = FollowSettings(
        detect_seconds=0.12, min_face_px=300, lost_seconds=1, smooth_seconds=0.08
    )
    follower = FaceFollower(HaarDetector(), settings)
    ((_, faces),) = follower.follow([(Frame(0, 0.0, image), False)])
    assert faces == []


def test_a_narrow_picture_is_a_source_without_a_face(tmp_path):
    cv2.imwrite(str(tmp_path / "line.png"), np.full((1, 30_000, 3), 90, np.uint8))
    result = run(replace(FAST, sources=(str(tmp_path),), out=tmp_path / "o"), LogProgress())
    assert [failure.stage for failure in result.failures] == ["faces"]


class Whole(yunet.YuNetDetector):
    """Finds the white squares of a picture, even cut off ones; records the sizes it saw."""

    def __init__(self):
        self.seen = []

    def _detect_one(self, image):
        self.seen.append(image.shape[0] * image.shape[1])
        grey = (image[..., 0] > 128).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(grey)
        boxes = stats[1:, :4].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.full(len(boxes), 0.9, np.float32)
        return Faces(boxes, scores, np.repeat(boxes[:, None, :2], 5, axis=1))


@pytest.mark.parametrize("size", [(1920, 3413), (4320, 7680), (9000, 700)])
def test_yunet_finds_each_face_of_a_large_picture_once_in_parts(size):
    rng = np.random.default_rng(3)
    image = np.zeros((*size, 3), np.uint8)
    wanted = []
    for top in range(20, size[0] - 520, 700):
        for left in range(20, size[1] - 520, 700):
            side = int(rng.integers(20, 470))
            image[top : top + side, left : left + side] = 255
            wanted.append((left, top, left + side, top + side))
    detector = Whole()
    (faces,) = detector.detect([image])
    assert max(detector.seen) <= yunet.PART_PIXELS * 1.01
    assert len(faces) == len(wanted)
    found = faces.box_xyxy_px[np.lexsort(faces.box_xyxy_px.T[[0, 1]])]
    assert np.abs(found - np.array(sorted(wanted, key=lambda box: (box[1], box[0])))).max() < 8
    assert faces.points_px is not None
    assert faces.points_px.shape == (len(wanted), 5, 2)


def test_only_chosen_frames_are_decoded_and_reading_ends_with_them(video, tmp_path):
    wanted = frozenset({3, 4, 11})
    frames = {frame.index: frame for frame in VideoReader(video)}
    chosen = list(VideoReader(video, Selection(indices=wanted)))
    assert [frame.index for frame in chosen] == sorted(wanted)
    for frame in chosen:
        assert frame.pts_seconds == frames[frame.index].pts_seconds
        assert (frame.image == frames[frame.index].image).all()
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "7.png").write_bytes(b"damage after the wanted frames")
    reader = ImageReader(tmp_path, 25.0, Selection(indices=frozenset({2, 5})))
    assert [(frame.index, int(frame.image[0, 0, 0])) for frame in reader] == [(2, 2), (5, 5)]
    assert reader.warnings == []


def test_an_annotated_video_has_the_bound_of_the_prediction(video, tmp_path):
    store = tmp_path / "faces"
    run(replace(FAST, sources=(str(video),), out=store), LogProgress())
    source = TrackedSource(str(video), StoredFaces(store), tuple(read_clips(store)))
    prediction = VideoPrediction(str(video), ("happiness",), ())
    settings = {"length_seconds": 2.0, "min_confidence": 0.0, "stop": threading.Event()}
    with pytest.raises(TooLargeError, match="max-pixels"):
        annotate(source, prediction, tmp_path / "o.mp4", **settings, max_pixels=240 * 239)
    annotate(source, prediction, tmp_path / "o.mp4", **settings, max_pixels=240 * 240)
    assert (tmp_path / "o.mp4").stat().st_size > 0


def test_a_long_gif_and_a_large_folder_are_read_lazily(tmp_path, monkeypatch):
    gif = tmp_path / "long.gif"
    pictures = (np.full((16, 16, 3), 10 * (n % 20), np.uint8) for n in range(600))
    with av.open(str(gif), "w") as container:
        stream = container.add_stream("gif", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb8"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="rgb8")))
        container.mux(stream.encode())
    decoded = []
    frames = iter(VideoReader(gif, alive=lambda: decoded.append(1)))
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    assert len(decoded) == 3
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.png").touch()
    read = []
    monkeypatch.setattr(images, "read_image", lambda path, bound: read.append(path) or gif)
    pictures = iter(ImageReader(folder, 25.0))
    assert [next(pictures).index for _ in range(3)] == [0, 1, 2]
    assert [path.name for path in read] == ["0.png", "1.png", "2.png"]


def test_broken_pictures_of_a_folder_are_not_kept(tmp_path, monkeypatch):
    alive = weakref.WeakSet()

    class Content:
        """The bytes of a file; a traceback would keep them alive."""

    def broken(path, bound):
        content = Content()
        alive.add(content)
        if path.name == "0.png":
            return np.zeros((8, 8, 3), np.uint8)
        raise DataError(f"{path}: broken {len(alive)}")

    for number in range(30):
        (tmp_path / f"{number}.png").touch()
    monkeypatch.setattr(images, "read_image", broken)
    reader = ImageReader(tmp_path, 25.0)
    assert [frame.index for frame in reader] == [0]
    assert len(alive) <= 1
    assert len(reader.warnings) == images.MOST_WARNINGS + 1
    assert "9 more" in reader.warnings[-1]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_picture_that_was_looked_at_is_kept_by_nobody(video, monkeypatch, ahead):
    """Neither by the reader nor by what passes frames on, while the next one is not asked for."""
    monkeypatch.setattr("dfercli.video.decode.open_decord", lambda path: None)
    reader = VideoReader(video)
    frames = face_clips._with_cuts(prefetched(reader, 1, 1, num_bytes) if ahead else reader, None)
    seen = 0
    for frame, _ in frames:
        picture = weakref.ref(frame.image)
        del frame
        assert picture() is None
        seen += 1
    assert seen > 10


def test_the_decoders_picture_is_let_go_before_the_next_one():
    class Picture:
        time = 0.0

    decoded = (Picture() for _ in range(3))
    for picture, _ in pictures_with_times(decoded, "mp4", has_b_frames=False):
        kept = weakref.ref(picture)
        del picture
        assert kept() is None
