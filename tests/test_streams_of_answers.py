"""Predictions from every stream of a model: in Python, from exported files, calibrated."""

import numpy as np
import pytest
import torch
from tiny_finecliper import ALL, T, train_tiny

import dfercli
from dfercli.artifacts.model_card import read_model_card
from dfercli.cli.app import run as dfer
from dfercli.errors import DataError
from dfercli.inference.exported import inputs_of
from dfercli.inference.loaded_model import load_checkpoint
from dfercli.inference.probabilities import softmax
from dfercli.models.clip_backbone import TINY_VIT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TINY_VIT["vision_cfg"], "layers", 1)  # each takes seconds to trace
        return train_tiny(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def views():
    torch.manual_seed(3)
    images = torch.randint(0, 256, (3, 4, T, 3, 48, 48), dtype=torch.uint8)
    captions = ["The brows rise.", None, "The lips part slowly.", "The lip corners fall."]
    return (
        images[0],
        {"landmarks": images[1], "parsing": [images[2, 0], None, None, images[2, 3]]},
        (captions),
    )


def test_each_clip_has_the_calibration_of_its_own_streams(checkpoint, views):
    frames, images, captions = views
    model = dfercli.load(checkpoint)
    assert model.streams == ALL
    logits = model.logits(frames, **images, captions=captions)
    found = model.probabilities(frames, **images, captions=captions)
    sets = [
        ALL,
        ("frames", "landmarks"),
        ("frames", "landmarks", "captions"),
        ALL,
    ]
    card = read_model_card(checkpoint)
    temperatures = [card.calibration_of(streams)[0] for streams in sets]
    assert len(set(temperatures)) > 1
    for row, temperature in enumerate(temperatures):
        expected = softmax(logits[row : row + 1].numpy(), temperature)
        np.testing.assert_allclose(found[row : row + 1], expected, atol=1e-6)
    # A clip that lacks a stream gets the answer of a clip to which none is given.
    alone = model.logits(frames[1:2], landmarks=images["landmarks"][1:2])
    torch.testing.assert_close(logits[1:2], alone, atol=1e-4, rtol=1e-4)


def test_frames_alone_have_their_own_calibration(checkpoint, views):
    model = dfercli.load(checkpoint)
    temperature = read_model_card(checkpoint).calibration_of(("frames",))[0]
    assert temperature != 1.0
    expected = softmax(model.logits(views[0]).numpy(), temperature)
    np.testing.assert_allclose(model.probabilities(views[0]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ({"smell": torch.zeros(4, T, 3, 48, 48)}, "smell: the model was trained on frames"),
        (
            {"landmarks": torch.zeros(2, T, 3, 48, 48)},
            "landmarks: expected shape (4, 3, 3, 48, 48)",
        ),
        ({"captions": torch.zeros(4, 5)}, "captions: expected a sequence of texts"),
        ({"captions": ["one"]}, "captions: expected (B, L) int64 tokens"),
    ],
)
def test_streams_of_another_kind_are_one_line(checkpoint, views, streams, message):
    with pytest.raises(DataError) as error:
        dfercli.load(checkpoint).logits(views[0], **streams)
    assert message in error.value.message


@pytest.mark.parametrize("streams", [(), ("parsing",), ("frames",)])
def test_an_exported_file_takes_every_stream_and_names_them(
    checkpoint, views, tmp_path, streams, recwarn
):
    out = tmp_path / "model.onnx"
    asked = ["--streams", ",".join(streams)] if streams else []
    assert dfer(["export", str(checkpoint), "--out", str(out), *asked]) == 0
    assert not [str(one.message) for one in recwarn if "axis name" in str(one.message)]
    import onnxruntime

    session = onnxruntime.InferenceSession(out.read_bytes())
    assert tuple(one.name for one in session.get_inputs()) == inputs_of(streams or ALL)
    frames, images, captions = views
    exported, model = load_checkpoint(out, device="cpu"), dfercli.load(checkpoint)
    assert exported.streams == (streams or ALL)
    given = {**images, "captions": captions}
    given = {name: given[name] for name in exported.streams if name != "frames"}
    found = dfercli.Recognizer(exported)
    if "frames" in exported.streams:
        torch.testing.assert_close(
            found.logits(frames, **given), model.logits(frames, **given), atol=1e-3, rtol=1e-4
        )
        np.testing.assert_allclose(
            found.probabilities(frames, **given), model.probabilities(frames, **given), atol=1e-4
        )


def test_without_temporal_adapters_windows_share_the_images_of_all_streams(tmp_path, views):
    checkpoint = train_tiny(tmp_path, adapters=("spatial", "mlp"), streams=ALL[:3])
    model = load_checkpoint(checkpoint, device="cpu", precision="32")
    assert model.shares_frames
    encoded = []
    encode = model.encode_frames
    model.encode_frames = lambda images: encoded.append(len(images)) or encode(images)
    frames, images, _ = views
    flat, marks = frames.flatten(0, 1)[:6], images["landmarks"].flatten(0, 1)[:6]
    clips = np.array([[0, 1, 2], [1, 2, 3], [3, 4, 5]])
    has = torch.tensor([True, False, True])
    found = model.probabilities_of_clips(flat, clips, landmarks=(marks, has))
    assert encoded == [6, 6]
    expected = model.probabilities(flat[clips], landmarks=(marks[clips], has))
    np.testing.assert_allclose(found, expected, atol=1e-5)
