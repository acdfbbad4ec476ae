"""What is left of a score where the marked pixels are hidden, or shown alone."""

import numpy as np
import pytest
import torch

from dprd_cli.gradcam.explainer import Explainer
from dprd_cli.gradcam.faithfulness import SHARES, Faithfulness, measure_faithfulness
from tiny_model import IMAGE, tiny_model


def test_hiding_nothing_keeps_the_score_and_marks_are_taken_from_the_highest_on(monkeypatch):
    explainer = Explainer(tiny_model())
    view = explainer.look(IMAGE)
    seen = []

    def score(explainer, view, index, image):
        seen.append(image)
        return 0.5

    monkeypatch.setattr("dprd_cli.gradcam.faithfulness._score", score)
    values = np.zeros(IMAGE.shape[:2], np.float32)
    values[:35] = 1
    assert measure_faithfulness(explainer, view, 0, values) == Faithfulness(1.0, 1.0)
    whole, *changed = seen
    assert torch.equal(whole, view.image)
    box = view.found.boxes[0]
    for share, hidden, shown in zip(SHARES, changed[::2], changed[1::2], strict=True):
        marked = (hidden != view.image).any(dim=0)
        area = share * float((box[2] - box[0]) * (box[3] - box[1]))
        assert int(marked.sum()) == pytest.approx(area, rel=0.05, abs=3)
        upper = marked[:32].sum() / marked.sum()  # the upper half of 64 rows is marked first
        assert upper == 1 or area > 32 * 82
        assert not ((hidden != view.image) & (shown != view.image)).any()


def test_an_image_that_is_hidden_whole_says_as_much_as_its_blur():
    explainer = Explainer(tiny_model())
    view = explainer.look(IMAGE)
    found = measure_faithfulness(explainer, view, 0, np.ones(IMAGE.shape[:2], np.float32))
    assert found.hidden >= 0
    assert found.shown >= 0
