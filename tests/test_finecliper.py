"""FineCLIPER: logits, losses, streams, and which weights are trained and kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from face_parts import store_with_parts, write_caption
from stores import bright_and_dark_store, write_store

from dfercli.artifacts.checkpoint import read_weights, save_checkpoint
from dfercli.artifacts.model_card import read_model_card
from dfercli.artifacts.parts_record import record_parts
from dfercli.config import (
    AugmentConfig,
    DataConfig,
    EvalConfig,
    FineCliperConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from dfercli.data.fold_clips import read_fold_clips
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.data.store_folds import read_store_fold
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.evaluation import run as evaluate
from dfercli.evaluation.clip_streams import stream_reader
from dfercli.inference.restore import checkpoint_weights, new_model, restore_model
from dfercli.metrics.calibration import fit_temperature
from dfercli.models import clip_backbone
from dfercli.models.clip_backbone import build_clip, clip_architecture
from dfercli.models.clip_text import decode_tokens
from dfercli.models.finecliper import FineCliper
from dfercli.models.fusion import StreamFusion
from dfercli.models.optimizer import build_optimizer
from dfercli.progress import SilentProgress
from dfercli.training import run as train

LABELS = ("happiness", "sadness")
TEXTS = [f"A person with an expression of {label}" for label in LABELS]
NEGATIVE = [f"A person with an expression of no {label}" for label in LABELS]
ALL = ("frames", "landmarks", "parsing", "captions")
T = 3


def settings(**own: object) -> ModelConfig:
    return ModelConfig(
        method="finecliper",
        clip="tiny-vit/random",
        num_frames=T,
        normalization="clip",
        text_type="pn",
        context_tokens=0,
        temporal_layers=0,
        finecliper=FineCliperConfig(**own),
    )


def model_of(seed: int = 0, **own: object) -> FineCliper:
    torch.manual_seed(seed)
    clip = build_clip(clip_architecture("tiny-vit"))
    config = settings(**own)
    texts = TEXTS + NEGATIVE if FineCliper.wants_negative_texts(config) else TEXTS
    return FineCliper(clip, texts, config)


def inputs(batch: int = 2) -> dict:
    torch.manual_seed(5)
    there = torch.ones(batch, dtype=torch.bool)
    tokens = torch.tensor([[49406, 320, 786, 49407, 0]] * batch)
    return {
        "frames": torch.randint(0, 256, (batch, T, 3, 48, 48), dtype=torch.uint8),
        "landmarks": (torch.randint(0, 256, (batch, T, 3, 48, 48), dtype=torch.uint8), there),
        "parsing": (torch.randint(0, 256, (batch, T, 3, 48, 48), dtype=torch.uint8), there),
        "captions": (tokens, there),
    }


def training(store, out, model: ModelConfig, **changes: object) -> TrainConfig:
    config = TrainConfig(
        dataset=str(store),
        out=out,
        name="run",
        accelerator="cpu",
        select="last",
        model=model,
        optim=OptimConfig(optimizer="adamw", epochs=2, batch_size=4, lr_adapter=3e-3),
        augment=AugmentConfig(crop_scale=0.7),
        data=DataConfig(workers=0, test=str(store), allow_leak=True),
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_with_parts(tmp_path_factory.mktemp("fc") / "faces", without=("happiness-0",))


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    """A CLIP backbone in a local file."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("clip") / "tiny-vit.pt"
    torch.save(build_clip(clip_architecture("tiny-vit")).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def trained(store, clip_file, tmp_path_factory):
    model = replace(settings(), clip="tiny-vit/local", clip_weights=clip_file)
    out = tmp_path_factory.mktemp("runs")
    return train.run(training(store, out, model), SilentProgress())


@pytest.mark.parametrize("kind", ["difference", "binary", "positive"])
def test_logits_and_loss_follow_the_settings(kind):
    model = model_of(logits=kind, streams=("frames",)).train()
    given = inputs()
    outputs = model(given["frames"])
    assert outputs.shape == (2, 2, 1 if kind == "positive" else 2)
    model.eval()
    logits = model(given["frames"])
    assert logits.shape == (2, 2)
    with torch.no_grad():
        video = model.video_features(given["frames"])
        similarity = 100 * video @ model.text_features().T
    expected = similarity[:, :2]
    if kind == "difference":
        expected = similarity[:, :2] - similarity[:, 2:]
    torch.testing.assert_close(logits, expected)
    labels = torch.tensor([0, 1])
    loss = F.cross_entropy(model.logits(outputs), labels)
    if kind == "binary":
        wins = outputs[..., 0] - outputs[..., 1]
        loss = loss + F.binary_cross_entropy_with_logits(wins, torch.eye(2))
    torch.testing.assert_close(model.loss(outputs, labels), loss)


def test_the_temperature_is_learned_if_set_so():
    assert not model_of().log_scale.requires_grad
    model = model_of(temperature="learned")
    assert model.log_scale.requires_grad
    assert model.log_scale.exp().item() == pytest.approx(100)


def test_fusion_weights_sum_to_one_over_the_streams_that_are_there():
    fusion = StreamFusion(("a", "b", "c"), learned=True, dropout=0.0)
    torch.nn.init.normal_(fusion.weight_logits)
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    weights = fusion.weights(present)
    assert not weights[1, 1]
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    features = torch.randn(3, 3, 4)
    fused = fusion(features, present)
    torch.testing.assert_close(
        fused[1], weights[1, 0] * features[1, 0] + weights[1, 2] * features[1, 2]
    )
    assert not fused[2].any()


def test_stream_dropout_always_leaves_one_stream():
    fusion = StreamFusion(("a", "b"), learned=False, dropout=0.9).train()
    torch.manual_seed(0)
    fused = fusion(torch.ones(200, 2, 1), torch.ones(200, 2, dtype=torch.bool))
    torch.testing.assert_close(fused, torch.ones(200, 1))


def test_a_missing_stream_is_as_if_it_had_not_been_given():
    model = model_of(streams=ALL).eval()
    torch.nn.init.normal_(model.fusion.weight_logits)
    given = inputs()
    part = {name: given[name] for name in ("frames", "captions")}
    absent = torch.zeros(2, dtype=torch.bool)
    lacking = {**given, "landmarks": (given["landmarks"][0], absent)}
    lacking["parsing"] = (given["parsing"][0], absent)
    with torch.no_grad():
        torch.testing.assert_close(model(**lacking), model(**part))
        assert (model(**given) - model(**part)).abs().max() > 1e-3


def test_a_model_given_none_of_its_streams_is_an_error():
    with pytest.raises(ConfigError, match="looks at landmarks: give one"):
        model_of(streams=("landmarks",))(inputs()["frames"])


def test_a_batch_gives_each_clip_what_it_gets_alone():
    model = model_of(streams=ALL).eval()
    given = inputs(3)
    given["parsing"] = (given["parsing"][0], torch.tensor([True, False, True]))

    def only(row: int) -> dict:
        cut = {
            name: (v[0][row : row + 1], v[1][row : row + 1])
            for name, v in given.items()
            if name != "frames"
        }
        return {"frames": given["frames"][row : row + 1], **cut}

    with torch.no_grad():
        alone = torch.cat([model(**only(row)) for row in range(3)])
        torch.testing.assert_close(model(**given), alone, atol=1e-4, rtol=1e-4)


def test_frozen_weights_are_bit_equal_after_training_and_all_others_moved():
    model = model_of(streams=ALL, temperature="learned", stream_dropout=0.0, drop_path=0.0)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer = build_optimizer(model, OptimConfig(optimizer="adamw", weight_decay=0.05))
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        model.loss(model(**inputs()), torch.tensor([0, 1])).backward()
        optimizer.step()
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert any("attention_adapter" in name for name in trainable)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == (name not in trainable), name


def test_context_tokens_and_a_temporal_encoder_are_options():
    config = replace(settings(), context_tokens=4, temporal_layers=1)
    model = FineCliper(build_clip(clip_architecture("tiny-vit")), TEXTS + NEGATIVE, config)
    assert model.context.vectors.shape == (4, 4, 64)
    assert model.eval()(inputs()["frames"]).shape == (2, 2)
    names = {group.name for group in model.parameter_groups(OptimConfig()) if group.parameters}
    assert names == {"adapters", "temporal", "context"}


def test_a_checkpoint_holds_only_what_was_trained_and_names_its_backbone(trained, clip_file):
    checkpoint = trained.folds[0].checkpoint
    weights = read_weights(checkpoint)
    assert weights
    assert all("adapter" in name or name.startswith("fusion") for name in weights)
    card = json.loads((checkpoint / "model.json").read_text())
    assert card["backbone"]["tag"] == "file"
    assert len(card["backbone"]["sha256"]) == 64
    assert card["negative_texts"] == NEGATIVE
    assert card["model"]["finecliper"]["streams"] == list(ALL)
    size = (checkpoint / "model.safetensors").stat().st_size
    assert size < clip_file.stat().st_size / 10


def test_a_trained_model_is_restored_bit_equal_on_its_backbone(trained, clip_file):
    restored = restore_model(trained.folds[0].checkpoint).module
    backbone = torch.load(clip_file, weights_only=True)
    plain = {
        name.replace(".block.", "."): weight for name, weight in restored.clip.state_dict().items()
    }
    for name, weight in backbone.items():
        assert torch.equal(plain[name], weight), name


def test_another_backbone_is_refused(trained, tmp_path, clip_file):
    checkpoint = trained.folds[0].checkpoint
    other = tmp_path / "other.pt"
    torch.manual_seed(8)
    torch.save(build_clip(clip_architecture("tiny-vit")).state_dict(), other)
    with pytest.raises(ArtifactError, match="holds other weights than tiny-vit/file"):
        restore_model(checkpoint, clip_weights=other)
    with pytest.raises(ArtifactError, match="are not at") as caught:
        restore_model(checkpoint, clip_weights=tmp_path / "gone.pt")
    assert "--clip-weights" in caught.value.hint
    assert restore_model(checkpoint, clip_weights=clip_file)


def test_a_checkpoint_on_a_random_backbone_holds_it(tmp_path):
    model = new_model(settings(), LABELS, seed=3)
    weights = checkpoint_weights(model.module.state_dict(), model.module, model.card)
    assert set(weights) == set(model.module.state_dict())
    save_checkpoint(tmp_path / "c", weights, model.card.to_json())
    restored = restore_model(tmp_path / "c").module
    frames = inputs()["frames"]
    with torch.no_grad():
        assert torch.equal(restored.eval()(frames), model.module.eval()(frames))


def test_training_takes_the_existing_streams_and_evaluation_counts_missing_ones(
    trained, store, tmp_path
):
    measured = json.loads(
        (trained.run / "fold-1" / "evaluation" / "faces" / "metrics.json").read_text()
    )
    assert measured["streams"] == list(ALL)
    assert measured["clips_without_stream"] == {"landmarks": 1, "parsing": 1, "captions": 1}
    config = json.loads((trained.run / "fold-1" / "config.json").read_text())
    assert config["model"]["finecliper"]["streams"] == list(ALL)


def test_evaluation_can_use_some_of_the_streams(trained, store):
    config = EvalConfig(
        checkpoint=trained.run, dataset=str(store), streams=("landmarks", "captions"), workers=0
    )
    (measured,) = evaluate.run(config, SilentProgress())
    assert measured.streams == ("landmarks", "captions")
    assert measured.folder.name == "faces-landmarks+captions"
    assert set(measured.missing) == {"landmarks", "captions"}
    (measured,) = evaluate.run(replace(config, dataset=None), SilentProgress())
    assert measured.folder.name == "faces-landmarks+captions"  # what training wrote stays


def test_a_stream_that_the_model_does_not_have_is_refused(store, tmp_path):
    config = training(store, tmp_path, settings(streams=("frames",)))
    config = replace(config, optim=replace(config.optim, epochs=1))
    run = train.run(config, SilentProgress()).run
    with pytest.raises(ConfigError, match="the model was trained on frames"):
        evaluate.run(
            EvalConfig(checkpoint=run, dataset=str(store), streams=("parsing",)), SilentProgress()
        )


def test_a_stream_that_no_clip_has_is_refused(tmp_path):
    plain = bright_and_dark_store(tmp_path / "plain", clips_per_class=2)
    config = training(plain, tmp_path, settings(streams=("frames", "landmarks")))
    with pytest.raises(DataError, match="has landmarks"):
        train.run(config, SilentProgress())


def test_a_caption_that_names_a_class_is_masked(tmp_path):
    class Notes(SilentProgress):
        said: list[str] = []  # noqa: RUF012

        def note(self, message: str) -> None:
            self.said.append(message)

    leaky = store_with_parts(tmp_path / "leaky", clips_per_class=1)
    write_caption(leaky, "sadness-0", "The sad face of sadness-0 moves.")
    notes = Notes()
    clips = read_store_fold(leaky).train
    reader = stream_reader(model_of(streams=ALL), clips, LABELS, None, notes)
    tokens = [token for token in reader.captions["sadness-0"].tolist() if 0 < token < 49406]
    assert "sad" not in decode_tokens([tokens])[0]
    assert notes.said == ["1 captions named a class or their clip: the words are masked"]


def test_texts_without_negatives_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="need a negative text of each class") as caught:
        new_model(replace(settings(), text_type="name"), LABELS, seed=0)
    assert "--text-type pn" in caught.value.hint
    assert new_model(replace(settings(logits="positive"), text_type="name"), LABELS, seed=0)


def test_gradient_checkpointing_and_mixed_precision_train(store, tmp_path):
    config = training(store, tmp_path, settings(), precision="bf16-mixed")
    config = replace(
        config, gradient_checkpointing=True, optim=replace(config.optim, epochs=1, accumulate=2)
    )
    result = train.run(config, SilentProgress())
    assert 0 <= result.folds[0].evaluation.war <= 1


def test_classes_of_another_data_set_are_the_common_ones_or_newly_encoded(store, tmp_path):
    config = training(store, tmp_path, settings(streams=("frames",)))
    config = replace(config, optim=replace(config.optim, epochs=1))
    run = train.run(config, SilentProgress()).run
    noise = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8).numpy()
    names = ("happiness", "sadness", "contempt")
    other = write_store(
        tmp_path / "other", [(name, name, None, noise) for name in names], label_set=names
    )
    common = EvalConfig(checkpoint=run, dataset=str(other), workers=0)
    (measured,) = evaluate.run(common, SilentProgress())
    assert measured.evaluation.label_set == LABELS
    assert measured.evaluation.num_clips == 2
    assert measured.classes == "classes present in both: happiness, sadness"
    (measured,) = evaluate.run(replace(common, classes="open"), SilentProgress())
    assert measured.evaluation.label_set == names
    assert measured.class_texts[2] == "A person with an expression of contempt"
    assert measured.classes.startswith("classes of the data set, from their texts")


def test_each_set_of_streams_has_its_own_calibration(store, clip_file, tmp_path):
    """One pass over the validation clips gives the same as a pass with each set alone."""
    model = replace(settings(streams=ALL), clip="tiny-vit/local", clip_weights=clip_file)
    config = training(store, tmp_path, model)
    config = replace(config, select="val", data=replace(config.data, validation=0.5))
    result = train.run(config, SilentProgress())
    checkpoint = result.folds[0].checkpoint
    card = read_model_card(checkpoint)
    sets = {tuple(one["streams"]): one for one in card.calibration["sets"]}
    assert len(sets) == 15
    whole = sets[ALL]
    for name in ("temperature", "min_confidence", "ece_before", "ece_after", "num_clips"):
        assert card.calibration[name] == whole[name]
    assert card.streams == ALL
    alone = sets["landmarks",]
    assert card.looking_at(("landmarks",)).calibration["temperature"] == alone["temperature"]
    assert card.calibration_of(("landmarks",)) == (alone["temperature"], alone["min_confidence"])

    clips = read_fold_clips(config, 1).held_out
    restored = restore_model(checkpoint)
    for streams in (("frames",), ("frames", "landmarks"), ("captions",), ALL):
        restored.module.streams = streams
        reader = stream_reader(restored.module, clips, LABELS, None, SilentProgress())
        data = ClipDataset(clips, LABELS, num_frames=T, image_size=48, streams=reader)
        has = [streams[0] == "frames" or reader.has(streams[0], clip) for clip in clips]
        (batch,) = batch_loader(data, evaluation_batches(len(clips), len(clips)), workers=0)
        restored.module.eval()
        with torch.no_grad():
            logits = restored.module(**batch.inputs(torch.device("cpu"))).numpy()[has]
        targets = np.array(data.labels)[has]
        own = sets[streams]
        assert own["num_clips"] == len(targets)
        assert own["war"] == pytest.approx((logits.argmax(axis=1) == targets).mean())
        assert own["temperature"] == pytest.approx(fit_temperature(logits, targets), rel=1e-3)


def test_a_card_says_how_the_streams_of_the_training_were_made(tmp_path, capsys):
    record_parts(tmp_path / "faces", {"landmarks": "yunet5", "parsing": "segformer one"})
    faces = store_with_parts(tmp_path / "faces")
    result = train.run(training(faces, tmp_path / "runs", settings()), SilentProgress())
    checkpoint = result.folds[0].checkpoint
    made = {"landmarks": "yunet5", "parsing": "segformer one", "captions": "test"}
    assert read_model_card(checkpoint).streams_made == made
    record_parts(tmp_path / "other", {"landmarks": "yunet5", "parsing": "segformer two"})
    other = store_with_parts(tmp_path / "other")
    notes = NotesProgress()
    config = EvalConfig(checkpoint=checkpoint, dataset=str(other), workers=0, out=tmp_path / "out")
    (measured,) = evaluate.run(config, notes)
    assert measured.to_json()["streams_made"] == {**made, "parsing": "segformer two"}
    assert [note for note in notes.notes if "in another way" in note] == [
        "streams made in another way: parsing by segformer two, in training by segformer one"
    ]


class NotesProgress(SilentProgress):
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_clips_are_not_split_where_few_images_are_encoded_at_once(monkeypatch):
    """On a CPU images go through the encoder few at a time, but those of one clip stay together."""
    model = model_of(streams=("frames", "landmarks")).eval()
    model.clip.visual.requires_grad_(True)
    for weight in model.clip.visual.parameters():  # adapters are zero at the start
        torch.nn.init.normal_(weight, std=0.05)
    given = inputs(batch=3)
    given = {name: given[name] for name in ("frames", "landmarks")}
    with torch.no_grad():
        at_once = model(**given)
        monkeypatch.setattr(clip_backbone, "PIXELS_AT_ONCE", 4 * 48 * 48)
        torch.testing.assert_close(model(**given), at_once)
        monkeypatch.setattr(clip_backbone, "PIXELS_AT_ONCE", 1)
        torch.testing.assert_close(model(**given), at_once)
