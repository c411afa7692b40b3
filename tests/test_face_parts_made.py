"""Landmarks and parsing maps that preprocess makes, with randomly initialised networks."""

import shutil
import socket

import cv2
import numpy as np
import pytest
import torch
from miniature_datasets import make_dfew, make_mafw, make_store

from dfercli.artifacts import weight_files
from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.face_parts import REGIONS, read_landmarks, read_parsing, write_landmarks
from dfercli.artifacts.face_store import frame_paths, read_clips, read_failures, read_track
from dfercli.artifacts.jsonl import read_rows
from dfercli.cli.app import run as dfer
from dfercli.config import PreprocessConfig
from dfercli.drawn_faces.clip import render_clip
from dfercli.drawn_faces.identity import random_identity
from dfercli.errors import ArtifactError
from dfercli.faces import parsing_model
from dfercli.faces.landmarks import LandmarkFinder
from dfercli.faces.parsing import SegformerParser, draw_regions
from dfercli.preprocessing import make_streams
from dfercli.preprocessing.face_parts import PartsJob, set_up_parts, stream_setting
from dfercli.preprocessing.make_streams import ClipStreams
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.video.images import read_image
from dfercli.video.write import write_video


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(2)
    return render_clip(random_identity(rng), "surprise", rng, num_frames=2, with_regions=True)


@pytest.fixture
def random_landmark_weights(tmp_path, monkeypatch):
    """2DFAN-4 with random weights, under the name that face-alignment looks for."""
    from face_alignment.models import FAN

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DFER_OFFLINE", "1")
    monkeypatch.setattr(weight_files, "is_whole", lambda file: file.path.is_file())
    path = weight_files.weight_file("landmarks").path
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(FAN(4).state_dict(), path)
    return path


def test_landmarks_and_regions_are_added_to_a_store_that_exists(
    drawn, tmp_path, random_landmark_weights, monkeypatch
):
    monkeypatch.setattr(make_streams, "CROPS_AT_ONCE", 1)
    write_video(tmp_path / "face.mp4", drawn.frames, drawn.fps)
    config = PreprocessConfig(
        sources=(str(tmp_path / "face.mp4"),),
        out=tmp_path / "faces",
        detector="haar",
        min_face=80,
        workers=0,
    )
    run(config, LogProgress())
    options = ["--detector", "haar", "--min-face", "80", "--workers", "0"]
    out = ["--out", str(tmp_path / "faces"), "--streams", "landmarks,regions"]
    assert dfer(["preprocess", str(tmp_path / "face.mp4"), *out, *options]) == 0
    (clip,) = read_clips(tmp_path / "faces")
    points = read_landmarks(tmp_path / "faces", clip.clip_id)
    assert points.shape == (2, 68, 2)
    crops = [read_image(path) for path in frame_paths(tmp_path / "faces", clip)]
    at_once = LandmarkFinder("cpu", config.margin).find(crops)
    np.testing.assert_allclose(points, at_once, atol=1e-3)
    assert np.isfinite(points).all()
    for path in frame_paths(tmp_path / "faces", clip):
        folder = tmp_path / "faces" / "regions" / clip.clip_id
        assert read_parsing(folder / f"{path.stem}.png").shape == (224, 224)


def test_a_damaged_crop_leaves_no_half_of_a_clips_maps(
    drawn, tmp_path, random_landmark_weights, monkeypatch
):
    monkeypatch.setattr(make_streams, "CROPS_AT_ONCE", 1)
    crops = tmp_path / "frames" / "a"
    crops.mkdir(parents=True)
    for number, frame in enumerate(drawn.frames):
        cv2.imwrite(str(crops / f"{number:06d}.jpg"), frame)
    (crops / "000001.jpg").write_bytes(b"")
    write_landmarks(tmp_path, "a", np.stack(drawn.landmarks_px))
    config = PreprocessConfig(sources=(), out=tmp_path, streams=("regions",))
    shutil.copytree(crops, tmp_path / "frames" / "b")
    shutil.copy(crops / "000000.jpg", tmp_path / "frames" / "b" / "000001.jpg")
    write_landmarks(tmp_path, "b", np.stack(drawn.landmarks_px))
    done = []
    do = set_up_parts((config, stream_setting(config)))
    clips = (
        ClipStreams("a", crops, ("regions",)),
        ClipStreams("b", tmp_path / "frames" / "b", ("regions",)),
    )
    made = do(PartsJob(clips), lambda frames, faces: done.append(frames))
    (failure,) = made.failures
    assert (failure.clip_id, failure.stream) == ("a", "regions")
    assert "000001.jpg" in failure.reason
    assert sum(done) == 3
    assert [path.name for path in (tmp_path / "regions").iterdir()] == ["b"]


def test_crops_are_aligned_by_landmarks_with_a_detector_that_has_no_points(
    drawn, tmp_path, random_landmark_weights
):
    write_video(tmp_path / "face.mp4", drawn.frames, drawn.fps)
    out = ["--out", str(tmp_path / "faces"), "--align", "landmarks", "--workers", "0"]
    options = ["--detector", "haar", "--min-face", "80"]
    assert dfer(["preprocess", str(tmp_path / "face.mp4"), *out, *options]) == 0
    (clip,) = read_clips(tmp_path / "faces")
    track = read_track(tmp_path / "faces", clip.clip_id)
    assert track.points_px.shape == (2, 5, 2)
    left, top, right, bottom = track.box_xyxy_px[0]
    reach = 0.7 * (right - left)  # the network (of random weights) sees twice the face's side
    assert left - reach < track.points_px[0, 2, 0] < right + reach
    assert top - reach < track.points_px[0, 2, 1] < bottom + reach


def test_regions_agree_with_the_regions_of_a_drawn_face(drawn):
    for points, truth in zip(drawn.landmarks_px, drawn.regions, strict=True):
        found = draw_regions(points, *truth.shape)
        for name in ("skin", "brows", "eyes", "upper_lip", "lower_lip"):
            ours, theirs = found == REGIONS.index(name), truth == REGIONS.index(name)
            overlap = (ours & theirs).sum() / max(1, (ours | theirs).sum())
            assert overlap > (0.6 if name == "skin" else 0.2), name


def test_missing_points_give_a_map_of_background():
    assert not draw_regions(np.full((68, 2), np.nan, np.float32), 10, 10).any()


@pytest.fixture
def segformer(tmp_path):
    """The folder of a tiny SegFormer of random weights."""
    transformers = pytest.importorskip("transformers", reason="extra dfercli[parsing]")
    names = ["background", "skin", "nose", "l_eye", "hair"]
    config = transformers.SegformerConfig(
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=16,
    )
    folder = tmp_path / "segformer"
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_segformer_classes_become_regions(segformer, capfd):
    capfd.readouterr()
    crops = list(np.random.default_rng(0).integers(0, 256, (3, 96, 80, 3), np.uint8))
    maps = SegformerParser(str(segformer), "cpu").parse(crops)
    assert capfd.readouterr().err == ""  # no progress bar of transformers
    assert [regions.shape for regions in maps] == [(96, 80)] * 3
    wanted = {REGIONS.index(name) for name in ("background", "skin", "nose", "eyes", "hair")}
    assert {int(value) for regions in maps for value in np.unique(regions)} <= wanted


@pytest.mark.parametrize("offline", [True, False])
def test_a_segformer_that_cannot_be_fetched_is_one_line_at_once(monkeypatch, offline):
    pytest.importorskip("transformers", reason="extra dfercli[parsing]")
    asked = []

    def refuse(address, timeout):
        asked.append(address)
        raise TimeoutError("timed out")

    monkeypatch.setenv("DFER_OFFLINE", str(int(offline)))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    reason = "DFER_OFFLINE is set" if offline else "timed out"
    with pytest.raises(ArtifactError, match=f"cannot load nobody/nothing .*: {reason}"):
        SegformerParser("nobody/nothing", "cpu")
    assert len(asked) == (0 if offline else 1)


def test_a_folder_that_is_no_segformer_is_one_line(segformer, tmp_path):
    with pytest.raises(ArtifactError, match=r"cannot load .*neither a folder nor"):
        SegformerParser(str(tmp_path / "nothing"), "cpu")
    (segformer / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ArtifactError, match=r"cannot load .*parsing: Error while"):
        SegformerParser(str(segformer), "cpu")
    (segformer / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"the folder has no model\.safetensors"):
        SegformerParser(str(segformer), "cpu")


def test_a_benchmark_copy_gets_parts_in_a_folder_of_their_own(
    tmp_path, random_landmark_weights, monkeypatch
):
    # The test above runs the network itself; it takes a second per crop on a CPU.
    points = lambda finder, crops: np.zeros((len(crops), 68, 2), np.float32)  # noqa: E731
    monkeypatch.setattr(LandmarkFinder, "find", points)
    monkeypatch.chdir(tmp_path)
    root = make_dfew(tmp_path / "DFEW")
    before = {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}
    options = ["dfew", "--root", str(root), "--out", "parts", "--workers", "0"]
    assert dfer(["preprocess", *options]) == 2  # neither landmarks nor parsing asked for
    assert dfer(["preprocess", *options, "--streams", "landmarks"]) == 0
    assert {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))} == before
    made = sorted((tmp_path / "parts" / "landmarks").rglob("*.npz"))
    assert made
    assert not list((tmp_path / "parts").rglob("*.jpg"))


@pytest.fixture
def quick_landmarks(monkeypatch):
    """A landmark network with nothing to load; it puts all points in the corner."""
    monkeypatch.setattr(weight_files, "is_whole", lambda file: True)
    monkeypatch.setattr(LandmarkFinder, "__init__", lambda finder, device, margin: None)
    points = lambda finder, crops: np.zeros((len(crops), 68, 2), np.float32)  # noqa: E731
    monkeypatch.setattr(LandmarkFinder, "find", points)


def maps_of(store):
    return {path: path.read_bytes() for path in sorted((store / "parsing").rglob("*.png"))}


def test_parts_of_another_network_are_refused_and_redone_with_overwrite(
    drawn, tmp_path, quick_landmarks, segformer, capsys
):
    write_video(tmp_path / "face.mp4", drawn.frames, drawn.fps)
    root = make_dfew(tmp_path / "DFEW")
    haar = ["--detector", "haar", "--min-face", "80"]
    copied = shutil.copytree(segformer, tmp_path / "another")
    parsing = ["--streams", "parsing", "--parsing-model"]
    other = [*parsing, str(copied)]
    for sources in (["dfew", "--root", str(root)], [str(tmp_path / "face.mp4"), *haar]):
        store = tmp_path / f"store-{len(sources)}"
        command = ["preprocess", *sources, "--out", str(store), "--workers", "0"]
        assert dfer([*command, *parsing, str(segformer)]) == 0
        before = maps_of(store)
        made = {"parsing": f"segformer {segformer}"}
        assert read_json(store / "parts.json")["made"] == made
        capsys.readouterr()
        assert dfer([*command, *other]) == 2
        assert f"parsing 'segformer {segformer}' -> 'segformer {copied}'" in capsys.readouterr().err
        assert maps_of(store) == before
        assert dfer([*command, "--streams", "regions"]) == 0
        made["landmarks"] = "2DFAN4-11f355bf06.pth.tar"
        made["regions"] = "polygons of 2DFAN4-11f355bf06.pth.tar"
        assert read_json(store / "parts.json")["made"] == made
        assert dfer([*command, *other, "--overwrite"]) == 0
        assert maps_of(store).keys() == before.keys()
        assert read_json(store / "parts.json")["made"] == {"parsing": f"segformer {copied}"}


def test_parts_without_a_record_are_kept_and_named(tmp_path, quick_landmarks, capsys):
    root = make_dfew(tmp_path / "DFEW")
    write_landmarks(tmp_path / "parts", "00001", np.ones((18, 68, 2), np.float32))
    command = ["preprocess", "dfew", "--root", str(root), "--out", str(tmp_path / "parts")]
    assert dfer([*command, "--streams", "landmarks", "--overwrite"]) == 2
    assert "landmarks 'not recorded' -> '2DFAN4" in capsys.readouterr().err
    assert read_landmarks(tmp_path / "parts", "00001").all()


def test_face_stores_and_parts_of_a_benchmark_are_not_mixed(tmp_path, quick_landmarks, capsys):
    root = make_dfew(tmp_path / "DFEW")
    store = make_store(tmp_path / "faces")
    (store / "failures.jsonl").write_text("kept")
    before = sorted(store.rglob("*"))
    command = [
        "preprocess",
        "dfew",
        "--root",
        str(root),
        "--streams",
        "landmarks",
        "--workers",
        "0",
    ]
    for overwrite in ([], ["--overwrite"]):
        assert dfer([*command, "--out", str(store), *overwrite]) == 2
        assert "is a face store" in capsys.readouterr().err
    assert sorted(store.rglob("*")) == before
    assert (store / "failures.jsonl").read_text() == "kept"
    parts = tmp_path / "parts"
    assert dfer([*command, "--out", str(parts)]) == 0
    assert dfer(["preprocess", str(root / "Clip"), "--out", str(parts), "--detector", "haar"]) == 2
    assert "no face store" in capsys.readouterr().err


def test_nothing_is_written_anywhere_into_the_copy_of_a_benchmark(
    tmp_path, quick_landmarks, capsys, monkeypatch
):
    root = make_dfew(tmp_path / "DFEW")
    before = sorted(root.rglob("*"))
    monkeypatch.chdir(root)
    for out in ("y", "EmoLabel_DataSplit/y", "Clip/clip_224x224/y", "."):
        command = ["preprocess", "dfew", "--root", ".", "--out", out, "--streams", "landmarks"]
        assert dfer(command) == 2
        assert "lies in the copy of dfew" in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before


def test_paths_of_parts_are_relative_to_their_file(tmp_path, quick_landmarks, monkeypatch):
    root = make_dfew(tmp_path / "DFEW")
    (root / "Clip/clip_224x224/00002/00001.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    out = ["--out", "somewhere/parts", "--streams", "landmarks", "--workers", "0"]
    assert dfer(["preprocess", "dfew", "--root", "DFEW", *out]) == 3
    store = tmp_path / "somewhere" / "parts"
    monkeypatch.chdir("/")
    rows = list(read_rows(store / "parts.jsonl"))
    assert len(rows) == 14
    for row in rows:
        assert (store / row["frames"]).resolve() == root / "Clip/clip_224x224" / row["clip_id"]
    (failure,) = read_failures(store)
    assert (store / failure.source).resolve() == root / "Clip/clip_224x224/00002"


def test_a_copy_with_only_videos_is_refused_in_one_line(tmp_path, quick_landmarks, capsys):
    root = make_mafw(tmp_path / "MAFW", frames=None)
    (root / "data/clips").mkdir(parents=True)
    for number in range(1, 23):
        (root / "data/clips" / f"{number:05d}.mp4").write_bytes(b"video")
    out = ["--out", str(tmp_path / "parts"), "--streams", "landmarks"]
    assert dfer(["preprocess", "mafw", "--root", str(root), *out]) == 3
    error = capsys.readouterr().err
    assert "mafw: none of its 22 clips is a folder of frames" in error
    assert "extract the frames" in error
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("asked", [["--streams", "landmarks"], ["--streams", "parsing"]])
def test_missing_networks_are_named_before_work_on_any_video(
    drawn, tmp_path, monkeypatch, capsys, asked
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DFER_OFFLINE", "1")
    monkeypatch.setattr(parsing_model, "find_spec", lambda name: None)
    write_video(tmp_path / "face.mp4", drawn.frames, drawn.fps)
    root = make_dfew(tmp_path / "DFEW")
    for sources in (["dfew", "--root", str(root)], [str(tmp_path / "face.mp4")]):
        out = ["--out", str(tmp_path / "out"), "--detector", "haar", "--overwrite"]
        assert dfer(["preprocess", *sources, *out, *asked]) == 4
        assert ("cannot fetch landmarks" in (error := capsys.readouterr().err)) or (
            "needs transformers" in error
        )
        assert not (tmp_path / "out").exists()


def test_crops_are_read_upright_and_in_colour(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # BGR
    cv2.imwrite(str(tmp_path / "red.png"), red)
    from dfercli.video.images import read_image

    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]
