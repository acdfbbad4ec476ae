"""What is left of a score where the marked pixels are hidden, or shown alone."""

import numpy as np
import pytest
import torch

from dprd_cli.gradcam.explainer import Explainer
from dprd_cli.gradcam.faithfulness import SHARES, Faithfulness, _blur, _score, measure_faithfulness
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


def test_where_blurring_changes_nothing_the_whole_score_is_left():
    explainer = Explainer(tiny_model())
    view = explainer.look(np.full_like(IMAGE, 120))
    values = np.random.default_rng(0).random(IMAGE.shape[:2], np.float32)
    found = measure_faithfulness(explainer, view, 0, values)
    assert (found.hidden, found.shown) == pytest.approx((1.0, 1.0), abs=1e-4)


def test_where_all_is_marked_hiding_it_leaves_the_score_of_the_blurred_image():
    explainer = Explainer(tiny_model())
    view = explainer.look(IMAGE)
    view.found.boxes[0] = torch.tensor([0.0, 0.0, IMAGE.shape[1] * 9, IMAGE.shape[0] * 9])  # over all pixels
    found = measure_faithfulness(explainer, view, 0, np.ones(IMAGE.shape[:2], np.float32))
    blurred, whole = (_score(explainer, view, 0, image) for image in (_blur(view.image), view.image))
    assert found.hidden == pytest.approx(blurred / whole)
    assert found.hidden != pytest.approx(1.0, abs=1e-6)
    assert found.shown == pytest.approx(1.0)
