"""Detectors behind one interface, their weights, tracks and crops."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dfercli.artifacts import weight_files
from dfercli.artifacts.file_sums import file_sha256
from dfercli.artifacts.onnx_sizes import with_open_size
from dfercli.artifacts.pictures import scaled
from dfercli.artifacts.weight_files import weight_file
from dfercli.cli.app import run as dfer
from dfercli.config import PreprocessConfig
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.faces import five_points, landmark_points, yunet
from dfercli.faces.build import DetectorChoice, build_detector, choose_detector
from dfercli.faces.crop import FIVE_POINTS, points_transform, square_transform, warp
from dfercli.faces.detect import Faces, no_faces
from dfercli.faces.follow import FaceFollower, FollowSettings
from dfercli.faces.stream_maker import setting_of
from dfercli.faces.track import FaceTracker
from dfercli.preprocessing.detectors import find_detector
from dfercli.progress import SilentProgress
from dfercli.video.frames import Frame
from dfercli.video.images import read_image

PICTURES = [np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8) for _ in range(3)]


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DFER_OFFLINE", "1")


def random_weights(name, folder):
    """A state of random weights for a detector of face-alignment."""
    torch.manual_seed(0)
    if name == "retinaface":
        from face_alignment.detection.retinaface.net_retinaface import RetinaFace, cfg_mnet

        network = RetinaFace(cfg=cfg_mnet)
    elif name == "sfd":
        from face_alignment.detection.sfd.net_s3fd import s3fd

        network = s3fd()
    else:
        from face_alignment.detection.blazeface.net_blazeface import BlazeFace

        network = BlazeFace(back_model=True)
        for key, parameter in network.named_parameters():
            if key.startswith("classifier") and key.endswith("bias"):
                parameter.data.fill_(-20.0)  # random boxes may have no area, which makes it hang
        np.save(folder / "anchorsback.npy", np.random.default_rng(0).random((896, 4), np.float32))
    torch.save(network.state_dict(), folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.mark.parametrize("name", ["retinaface", "sfd", "blazeface"])
def test_network_detectors_run_with_random_weights(name, tmp_path):
    choice = choose_detector(name, random_weights(name, tmp_path), "cpu")
    detector = build_detector(choice)
    small = PICTURES[0][:64, :64].copy()
    for found in (detector.detect(PICTURES[:2]), detector.detect([PICTURES[0], small])):
        assert len(found) == 2
        for faces in found:
            assert faces.box_xyxy_px.shape == (len(faces), 4)
            assert faces.box_xyxy_px.dtype == faces.score.dtype == np.float32
            assert (np.diff(faces.score) <= 0).all()


def test_scrfd_sees_red_green_blue_and_gives_boxes_of_the_picture(tmp_path):
    """A network that scores the mean of red in each cell, and boxes of 2 x 2 cells."""
    outputs, nodes = [], []
    for stride in (8, 16, 32):
        cells = (640 // stride) ** 2
        nodes += [
            helper.make_node("Slice", ["image", "zero", "one", "axis"], [f"red{stride}"]),
            helper.make_node(
                "AveragePool",
                [f"red{stride}"],
                [f"mean{stride}"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            ),
            helper.make_node("Reshape", [f"mean{stride}", "column"], [f"column{stride}"]),
            helper.make_node("Concat", [f"column{stride}"] * 2, [f"both{stride}"], axis=1),
            helper.make_node("Reshape", [f"both{stride}", "column"], [f"score{stride}"]),
        ]
        outputs.append(helper.make_tensor_value_info(f"score{stride}", 1, [2 * cells, 1]))
    for stride in (8, 16, 32):
        cells = (640 // stride) ** 2
        ones = numpy_helper.from_array(np.ones((2 * cells, 4), np.float32))
        nodes.append(helper.make_node("Constant", [], [f"box{stride}"], value=ones))
        outputs.append(helper.make_tensor_value_info(f"box{stride}", 1, [2 * cells, 4]))
    constants = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in {"zero": [0], "one": [1], "axis": [1], "column": [-1, 1]}.items()
    ]
    image = helper.make_tensor_value_info("image", 1, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "scrfd", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "scrfd.onnx")
    detector = build_detector(DetectorChoice("scrfd", tmp_path / "scrfd.onnx", None, "cpu"))
    red, blue = (np.zeros((320, 320, 3), np.uint8) for _ in range(2))
    red[96:160, 32:96, 0] = 255
    blue[96:160, 32:96, 2] = 255
    in_red, in_blue = detector.detect([red, blue])
    assert len(in_blue) == 0
    assert len(in_red) > 0
    assert (in_red.box_xyxy_px.min(axis=0)[:2] >= [0, 64]).all()
    assert (in_red.box_xyxy_px.max(axis=0)[2:] <= [128, 192]).all()


def test_points_from_landmarks_lie_in_the_picture_where_the_face_is(monkeypatch):
    class OneFace:
        name, batch_size, smallest_face_px, new_track_score = "one", 1, 16, 0.5

        def detect(self, images):
            box = np.array([[40, 20, 80, 60]], np.float32)
            return [Faces(box, np.ones(1, np.float32)), no_faces()]

    class Finder:
        """Puts all 68 points at the centre of the crop, but those of one eye at its left."""

        def __init__(self, device, margin):
            assert margin == 0.25

        def find(self, crops):
            points = np.full((len(crops), 68, 2), crops[0].shape[0] / 2, np.float32)
            points[:, 36:42, 0] = 0
            return points

    monkeypatch.setattr(landmark_points, "LandmarkFinder", Finder)
    with_face, without = landmark_points.LandmarkPoints(OneFace(), "cpu").detect(PICTURES[:2])
    # A margin of a quarter: the crop shows 60 px around (60, 40).
    wanted = [[30, 40], [60, 40], [60, 40], [60, 40], [60, 40]]
    np.testing.assert_allclose(with_face.points_px, [wanted], atol=1e-3)
    assert len(without) == 0
    assert without.points_px.shape == (0, 5, 2)


def test_scrfd_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"
    ]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "network", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "scrfd.onnx")
    with pytest.raises(ArtifactError, match="needs the package onnxruntime"):
        build_detector(DetectorChoice("scrfd", tmp_path / "scrfd.onnx", None, "cpu"))


@pytest.mark.parametrize("name", ["yunet", "sfd", "blazeface"])
def test_weights_that_do_not_fit_are_one_line(name, tmp_path):
    (tmp_path / "weights").write_bytes(b"these are no weights")
    with pytest.raises(ArtifactError, match="weights"):
        build_detector(DetectorChoice(name, tmp_path / "weights", None, "cpu"))


def test_offline_auto_falls_back_to_haar_with_a_note(offline):
    choice = choose_detector("auto", None, "cpu")
    assert choice.name == "haar"
    assert "cannot fetch yunet" in (choice.fallback or "")
    with pytest.raises(ArtifactError, match="DFER_OFFLINE is set") as error:
        choose_detector("yunet", None, "cpu")
    assert "put the file at" in (error.value.hint or "")
    with pytest.raises(ConfigError, match="haar takes no --detector-weights"):
        choose_detector("haar", Path("x.onnx"), "cpu")


def test_with_haar_a_weights_file_is_for_the_five_points(offline, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(five_points, "YuNetDetector", opened.append)
    own = tmp_path / "yunet.onnx"
    config = PreprocessConfig(detector="haar", detector_weights=own, landmarks="yunet5")
    assert find_detector(config, SilentProgress()).name == "haar"
    setting = setting_of(config, "cpu")
    setting.require_networks()
    assert opened == [own]
    with pytest.raises(ConfigError, match="haar takes no --detector-weights"):
        find_detector(replace(config, landmarks=None), SilentProgress())
    with pytest.raises(ArtifactError, match="DFER_OFFLINE is set") as error:
        replace(setting, yunet=None).require_networks()
    assert "or name it: --detector-weights FILE" in (error.value.hint or "")
    assert "use --detector haar" not in (error.value.hint or "")


def test_dfer_weights_lists_licences_and_finds_broken_files(offline, capsys):
    assert dfer(["weights", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert "non-commercial" in rows["scrfd"]["licence"]
    assert rows["yunet"]["state"] == "not here"
    path = weight_file("yunet").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"broken")
    assert dfer(["weights"]) == 4
    assert "another checksum" in capsys.readouterr().err
    assert dfer(["weights", "nonsense"]) == 2
    assert weight_files.hub_folder().name == "checkpoints"


class BoxDetector:
    """Finds the boxes that a script lists for each time."""

    name = "boxes"
    batch_size = 1
    smallest_face_px = 1000
    new_track_score = 0.5

    def __init__(self, boxes_at):
        self.boxes_at = boxes_at
        self.calls = 0

    def detect(self, images):
        self.calls += len(images)
        boxes = [self.boxes_at(int(image[0, 0, 0])) for image in images]
        return [
            Faces(np.array(b, np.float32).reshape(-1, 4), np.full(len(b), 0.9, np.float32))
            for b in boxes
        ]


SETTINGS = FollowSettings(
    detect_seconds=0.12, min_face_px=20, lost_seconds=1.0, smooth_seconds=0.08
)


def follow(boxes_at, count, cuts=(), **changes):
    detector = BoxDetector(boxes_at)
    follower = FaceFollower(detector, replace(SETTINGS, **changes))

    def image(number):
        picture = np.full((200, 400, 3), 90, np.uint8)
        picture[0, 0] = number
        return picture

    frames = (
        (Frame(number, number / 25, image(number)), number in cuts) for number in range(count)
    )
    return [(frame.index, faces) for frame, faces in follower.follow(frames)], detector


def test_a_moving_face_is_one_track_with_interpolated_boxes():
    steps, detector = follow(lambda t: [[2 * t, 10, 2 * t + 50, 70]], 20)
    assert [index for index, _ in steps] == list(range(20))
    assert all([face.track for face in faces] == [0] for _, faces in steps)
    for index, (face,) in steps:
        wanted = [2 * index, 10, 2 * index + 50, 70]
        assert face.box_xyxy_px == pytest.approx(wanted, abs=1e-4)
        assert face.smooth_box_xyxy_px == pytest.approx(wanted, abs=1e-4)
        assert face.detected == (index % 3 == 0 or index == 19)
    assert detector.calls == 8


def test_smoothing_takes_the_shake_out_and_keeps_the_raw_boxes():
    steps, _ = follow(
        lambda t: [[100 + 6 * (t % 2), 10, 150 + 6 * (t % 2), 70]], 40, detect_seconds=0.0
    )
    raw = np.array([faces[0].box_xyxy_px[0] for _, faces in steps])
    smooth = np.array([faces[0].smooth_box_xyxy_px[0] for _, faces in steps])
    assert np.abs(np.diff(raw)).mean() > 5.9
    assert np.abs(np.diff(smooth))[3:-3].max() < 2


def test_a_face_seen_once_a_second_is_one_track_though_it_moves():
    follower = FaceFollower(BoxDetector(lambda t: [[30 * t, 10, 30 * t + 50, 70]]), SETTINGS)
    image = np.zeros((200, 400, 3), np.uint8)
    frames = ((Frame(second, float(second), image + second), False) for second in range(9))
    assert [face.track for _, faces in follower.follow(frames) for face in faces] == [0] * 9


def test_two_faces_keep_their_numbers_through_an_occlusion():
    def boxes(t):
        still = [300, 20, 350, 80]
        return [still] if 9 <= t < 30 else [[20 + t, 20, 70 + t, 80], still]

    steps, _ = follow(boxes, 50)
    assert {face.track for _, faces in steps for face in faces} == {0, 1}
    assert [len(faces) for _, faces in steps][9:30] == [1] * 21
    assert [len(faces) for _, faces in steps][:9] == [2] * 9


def test_a_cut_begins_new_tracks_and_nothing_is_interpolated_over_it():
    steps, _ = follow(lambda t: [[20, 20, 80, 90]], 20, cuts=(10,))
    assert [faces[0].track for _, faces in steps] == [0] * 10 + [1] * 10
    assert steps[9][1][0].detected
    assert steps[10][1][0].detected


def test_small_faces_and_faces_outside_the_region_are_left_out():
    boxes = [[10, 10, 20, 20], [200, 20, 260, 90]]
    steps, _ = follow(lambda t: boxes, 6)
    assert [len(faces) for _, faces in steps] == [1] * 6
    shifted, _ = follow(lambda t: [[10, 10, 60, 70]], 6, region_xywh_px=(100, 50, 200, 120))
    assert shifted[0][1][0].box_xyxy_px.tolist() == [110, 60, 160, 120]


def test_a_larger_smallest_face_gives_the_same_tracks_without_their_small_boxes():
    def grows_and_shrinks(t):
        side = 100 + 40 * np.sin(t)
        return [[10, 10, 10 + side, 80]]

    steps, _ = follow(grows_and_shrinks, 30, detect_seconds=0.0)
    sifted, _ = follow(grows_and_shrinks, 30, detect_seconds=0.0, min_face_px=100)
    for (_, (face,)), (_, faces) in zip(steps, sifted, strict=True):
        left, _, right, _ = face.box_xyxy_px
        assert [other.track for other in faces] == ([0] if right - left >= 75 else [])


def test_the_search_for_large_faces_shrinks_pictures_no_further_than_usual():
    seen = []

    class Recorder(BoxDetector):
        smallest_face_px = 16

        def detect(self, images):
            seen.extend(image.shape for image in images)
            return super().detect(images)

    for min_face_px in (24, 48, 200):
        settings = replace(SETTINGS, min_face_px=min_face_px)
        follower = FaceFollower(Recorder(lambda t: []), settings)
        list(follower.follow([(Frame(0, 0.0, np.zeros((360, 360, 3), np.uint8)), False)]))
    assert seen == [(320, 320, 3), (160, 160, 3), (160, 160, 3)]


def test_a_single_picture_gives_its_faces():
    steps, _ = follow(lambda t: [[10, 10, 60, 70], [200, 10, 260, 70]], 1)
    assert [face.track for face in steps[0][1]] == [0, 1]


def test_a_weak_detection_continues_a_track_and_begins_none():
    tracker = FaceTracker(lost_seconds=1.0, new_track_score=0.8)
    box = np.array([[10, 10, 60, 70]], np.float32)
    scores = [0.7, 0.9, 0.9, 0.65]
    numbers = [
        tracker.update(Faces(box, np.array([score], np.float32)), 0.1 * number).numbers.tolist()
        for number, score in enumerate(scores)
    ]
    assert numbers == [[-1], [-1], [0], [0]]


def test_a_crop_is_square_padded_and_never_squashed():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :, 0] = np.arange(100)
    box = np.array([-20, 30, 20, 90], np.float32)  # leaves the picture on the left
    crop = warp(image, square_transform(box, 60, 0.0), 60)
    assert crop.shape == (60, 60, 3)
    assert (crop[:, :28, 0] == 0).all()  # the border, repeated
    assert crop[30, 59, 0] == pytest.approx(29, abs=1)


def test_a_large_face_is_averaged_not_sampled():
    checks = np.indices((800, 800)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    crop = warp(image, square_transform(np.array([100, 100, 700, 700], np.float32), 100, 0.0), 100)
    assert np.abs(crop.astype(int) - 127).max() < 40


def test_five_points_are_aligned_with_their_template():
    angle = np.deg2rad(30)
    turn = 90 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (FIVE_POINTS @ turn.T + np.array([40, 55])).astype(np.float32)
    transform = points_transform(points, 224, 0.0)
    moved = points @ transform[:, :2].T + transform[:, 2]
    assert moved == pytest.approx(FIVE_POINTS * 224, abs=1e-2)
    assert np.linalg.det(transform[:, :2]) > 0


@pytest.mark.media
def test_real_faces_are_found(shared):
    picture = read_image(shared / "media" / "images" / "multi_face.jpg")
    weights = shared / "weights"
    for name, file, least in (
        ("yunet", "yunet_s_640_640.onnx", 5),
        ("blazeface", "blazefaceback.pth", 3),
    ):
        detector = build_detector(choose_detector(name, weights / file, "cpu"))
        (faces,) = detector.detect([picture])
        assert (faces.score > 0.6).sum() >= least
    assert weight_file("yunet").sha256 == file_sha256(weights / "yunet_s_640_640.onnx")


@pytest.mark.media
@pytest.mark.parametrize("size", ["s", "n"])
def test_yunet_finds_what_opencv_finds_with_the_same_file(size, shared):
    weights = shared / "weights" / f"yunet_{size}_640_640.onnx"
    detector = build_detector(choose_detector("yunet", weights, "cpu"))
    opencv = cv2.FaceDetectorYN.create(str(weights), "", (320, 320), yunet.SCORE, yunet.OVERLAP)
    count = 0
    for path in sorted((shared / "media" / "images").glob("*.*")):
        for longest in (577, 320, 150):
            picture = read_image(path)
            picture = scaled(picture, longest / max(picture.shape[:2]))
            (faces,) = detector.detect([picture])
            opencv.setInputSize(picture.shape[1::-1])
            found = opencv.detect(np.ascontiguousarray(picture[..., ::-1]))[1]
            rows = np.zeros((0, 15), np.float32) if found is None else found
            rows = rows[np.argsort(-rows[:, 14], kind="stable")]
            rows[:, 2:4] += rows[:, :2]
            points = np.zeros((0, 5, 2)) if faces.points_px is None else faces.points_px
            own = [faces.box_xyxy_px, points.reshape(-1, 10), faces.score[:, None]]
            assert np.concatenate(own, axis=1) == pytest.approx(rows, abs=1e-3)
            count += len(faces)
    assert count > 10


@pytest.mark.media
def test_a_network_of_open_size_is_the_same_network(shared):
    """OpenCV 4.14 reads memory that nobody wrote for such a small picture."""
    content = (shared / "weights" / "yunet_s_640_640.onnx").read_bytes()
    model = onnx.load_model_from_string(with_open_size(content, yunet.INPUT))
    onnx.checker.check_model(model)
    detector = yunet.YuNetDetector(shared / "weights" / "yunet_s_640_640.onnx")
    picture = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)
    values = ReferenceEvaluator(model).run(
        list(yunet.OUTPUTS), {yunet.INPUT: picture.transpose(2, 0, 1)[None, ::-1].astype("f4")}
    )
    outputs = detector._run(picture)
    for name, value in zip(yunet.OUTPUTS, values, strict=True):
        assert outputs[name] == pytest.approx(value[0], abs=1e-5), name


@pytest.mark.media
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1.0])
@pytest.mark.parametrize("kind", ["cls", "bbox", "kps"])
def test_a_network_that_computes_nonsense_gives_faces_that_can_be_followed(kind, value, shared):
    """Else what such a file finds would end as a bug, or never."""
    detector = yunet.YuNetDetector(shared / "weights" / "yunet_s_640_640.onnx")
    session = detector._session

    def run(names, inputs):
        found = session.run(names, inputs)
        told = {"cls": 1.0, "obj": 1.0, kind: value}
        kinds = [name.split("_")[0] for name in names]
        return [
            np.full_like(one, told[own]) if own in told else one
            for own, one in zip(kinds, found, strict=True)
        ]

    detector._session = SimpleNamespace(run=run)
    picture = np.zeros((320, 576, 3), np.uint8)
    if not np.isfinite(value):
        with pytest.raises(DataError, match="not numbers"):
            detector.detect([picture])
        return
    (faces,) = detector.detect([picture])
    assert len(faces) <= yunet.MOST_FACES
    for values in (faces.box_xyxy_px, faces.score, faces.points_px):
        assert values is None or np.isfinite(values).all()
