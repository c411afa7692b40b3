"""Landmark images, parsing images and captions: drawing, reading and batching them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from face_parts import face_points, store_with_parts
from stores import write_store

from dfercli.artifacts.face_parts import REGIONS, write_landmarks, write_maps
from dfercli.config import AugmentConfig
from dfercli.data.batches import collate
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.data.store_folds import read_store_fold
from dfercli.data.streams import PARSING_RGB, StreamReader, colour_parsing, draw_landmarks
from dfercli.errors import DataError

LABELS = ("happiness", "sadness")
VISUAL = ("landmarks", "parsing")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_with_parts(
        tmp_path_factory.mktemp("streams") / "faces", without=("happiness-0", "sadness-1")
    )


@pytest.fixture(scope="module")
def clips(store):
    return read_store_fold(store).train


def dataset(clips, reader, **options):
    return ClipDataset(clips, LABELS, num_frames=3, image_size=32, streams=reader, **options)


def test_a_landmark_image_shows_regions_and_lines_and_no_points_give_black():
    image = draw_landmarks(face_points(64), 64, 64)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    for colour in [(60, 60, 60), (200, 200, 200), (255, 220, 0), (90, 0, 130), (0, 200, 255)]:
        distance = np.abs(image.astype(int) - colour).max(axis=2)
        assert distance.min() < 40, colour
    assert not draw_landmarks(np.full((68, 2), np.nan), 64, 64).any()


def test_a_mirrored_landmark_image_is_the_image_of_the_mirrored_face():
    points = face_points(64)
    order = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1]
    eyes = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    lips = [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    mirrored = (np.array([63.0, 0.0]) + points * [-1, 1])[np.r_[order, eyes, lips].astype(int)]
    first, second = draw_landmarks(points, 64, 64)[:, ::-1], draw_landmarks(mirrored, 64, 64)
    assert np.abs(first.astype(int) - second).mean() < 4


def test_every_region_has_its_own_colour():
    assert set(PARSING_RGB) == set(REGIONS)
    assert len(set(PARSING_RGB.values())) == len(REGIONS)
    coloured = colour_parsing(np.arange(len(REGIONS), dtype=np.uint8)[None])
    assert tuple(coloured[0, 3]) == PARSING_RGB["eyes"]


def test_a_batch_says_which_clips_have_a_stream(clips):
    data = dataset(clips, StreamReader(VISUAL))
    (batch,) = batch_loader(data, evaluation_batches(len(clips), len(clips)), workers=0)
    for name in VISUAL:
        images, present = batch.streams[name]
        assert images.shape == (8, 3, 3, 32, 32)
        assert images.dtype == torch.uint8
        lacking = {clips[i].clip_id for i in range(8) if not present[i]}
        assert lacking == {"happiness-0", "sadness-1"}
        assert not images[~present].any()
        assert images[present].flatten(1).any(dim=1).all()
    assert StreamReader(VISUAL).missing(clips) == {"landmarks": 2, "parsing": 2}


def test_captions_are_tokens_of_one_length(clips):
    tokens = {clip.clip_id: torch.arange(5) for clip in clips[1:]}
    data = dataset(clips, StreamReader(("captions",), captions=tokens))
    batch = collate([data[0, 0], data[0, 1]])
    values, present = batch.streams["captions"]
    assert values.tolist() == [[0, 0, 0, 0, 0], [0, 1, 2, 3, 4]]
    assert present.tolist() == [False, True]


def test_frames_and_streams_get_one_crop_rotation_and_flip(tmp_path, clips):
    # The parsing map of a clip is a square in the middle; paint the frames alike and compare.

    square = np.zeros((3, 32, 32, 3), np.uint8)
    square[:, 4:14, 8:24] = 255
    store = write_store(tmp_path / "faces", [("a", "happiness", None, square)])

    regions = (square[..., 0] > 0).astype(np.uint8) * REGIONS.index("glasses")
    write_maps(store, "parsing", "a", zip(("000000", "000001", "000002"), regions, strict=True))
    (clip,) = read_store_fold(store).train
    augment = AugmentConfig(crop_scale=0.3, flip=0.5, rotation_degrees=30)
    data = dataset([clip], StreamReader(("parsing",)), augmentation=augment, seed=1)
    positions = set()
    for epoch in range(8):
        frames, _, _, streams = data[epoch, 0]
        painted, parsed = frames[0, 1].float() / 255, streams["parsing"][0][0, 1].float() / 255
        assert (painted - parsed).abs().mean() < 0.06, epoch
        positions.add(float(painted.sum()))
    assert len(positions) == 8


def test_brightness_changes_only_the_frames(clips):
    augment = AugmentConfig(crop_scale=1.0, flip=0.0, brightness=0.9)
    bright = dataset(clips, StreamReader(VISUAL), augmentation=augment, seed=3)
    plain = dataset(clips, StreamReader(VISUAL), augmentation=replace(augment, brightness=0.0))
    first, second = bright[0, 3], plain[0, 3]
    assert (first[0].float() - second[0].float()).abs().mean() > 1
    for name in VISUAL:
        assert torch.equal(first[3][name][0], second[3][name][0])


def test_landmarks_that_do_not_fit_the_frames_are_named(tmp_path):
    store = store_with_parts(tmp_path / "faces", clips_per_class=1)
    write_landmarks(store, "sadness-0", np.zeros((2, 68, 2)))
    data = dataset(read_store_fold(store).train, StreamReader(("landmarks",)))
    error = data[0, 1]
    assert isinstance(error, DataError)
    assert "sadness-0.npz is of 2 frames, the clip has 4" in error.message


def test_a_clip_whose_landmarks_were_never_found_lacks_the_stream(tmp_path):
    store = store_with_parts(tmp_path / "faces", clips_per_class=1)
    write_landmarks(store, "sadness-0", np.full((4, 68, 2), np.nan))
    data = dataset(read_store_fold(store).train, StreamReader(("landmarks",)))
    present = data[0, 1][3]["landmarks"][1]
    assert not present


def test_batches_are_split_with_their_streams(clips):
    data = dataset(clips, StreamReader(VISUAL))
    (batch,) = batch_loader(data, evaluation_batches(8, 8), workers=0)
    pieces = batch.split(3)
    assert [len(piece.labels) for piece in pieces] == [3, 3, 2]
    joined = torch.cat([piece.streams["parsing"][0] for piece in pieces])
    assert torch.equal(joined, batch.streams["parsing"][0])
