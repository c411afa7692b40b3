"""One rule for the confidence below which a prediction is uncertain, on files and live."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from dfercli.artifacts.model_card import ModelCard
from dfercli.config import PredictConfig
from dfercli.inference.loaded_model import LoadedModel
from dfercli.prediction import live
from dfercli.prediction.run import _window_settings

CARD = ModelCard(
    ("a", "b"), ("a", "b"), {}, {}, 32, {}, calibration={"temperature": 1.0, "min_confidence": 0.4}
)


@pytest.mark.parametrize(("asked", "threshold"), [(None, 0.4), (0.0, 0.0), (0.7, 0.7)])
def test_a_given_threshold_wins_even_if_it_is_zero(monkeypatch, asked, threshold):
    config = PredictConfig(min_confidence=asked)
    model = SimpleNamespace(card=CARD, label_set=CARD.label_set, streams=("frames",))
    model.threshold = partial(LoadedModel.threshold, model)
    streams = SimpleNamespace(expected=model.streams)
    assert _window_settings(config, model, streams).min_confidence == threshold
    drawn_with = []

    class Recorder:
        def __init__(self, *_, min_confidence, **__):
            drawn_with.append(min_confidence)

        def draw(self, image, *_):
            return image

    monkeypatch.setattr(live, "Overlay", Recorder)
    monkeypatch.setattr(live.LiveLanes, "draw", lambda _, image, *__: image)
    frame = SimpleNamespace(image=np.zeros((4, 4, 3), np.uint8), pts_seconds=0.0)
    live._View(model, config).draw(frame, [], [], "")
    assert drawn_with == [threshold]
