"""Figures of maps: a row for each object, a panel for each network."""

import numpy as np
import pytest
import torch

from dprd_cli.gradcam.comparison import Evidence, compare
from dprd_cli.gradcam.explainer import Explainer, Heatmap
from dprd_cli.gradcam.figures import Exhibit, draw_comparison, outline, overlay, plot_localization
from dprd_cli.gradcam.localization import AnnotatedObject, Localization
from tiny_model import IMAGE, PRESETS, tiny_model


def test_figures_of_pairs_of_single_models_and_of_nothing():
    first, second = (Explainer(tiny_model(preset)) for preset in PRESETS[:2])
    both = compare(IMAGE, [first, second], 2, all_found=True)
    alone = compare(IMAGE, [first], 1)
    assert len(alone) == 1
    drawn, outlined = overlay(IMAGE, alone[0].evidence[0]), outline(IMAGE, alone[0])
    assert drawn.shape == outlined.shape  # the panels of a row have one size
    assert (drawn == 255).all(axis=2).any()  # the box, in a white that no map has
    for objects, titles in ((both, ["a", "b"]), (alone, ["a"]), ([], ["a", "b"])):
        figure = draw_comparison([Exhibit("x", IMAGE, objects)], titles, method="gradcam", score_thresh=0)
        bars = 1 if objects else 0  # the image alone where nothing was found
        expected = len(objects) * (1 + len(titles)) + bars if objects else 1
        assert len(figure.axes) == expected


def test_a_figure_of_many_objects_stays_readable_by_viewers():
    (one,) = compare(IMAGE, [Explainer(tiny_model(PRESETS[0]))], 1)
    few, many = (
        draw_comparison([Exhibit("x", IMAGE, [one] * count)], ["a"], method="gradcam", score_thresh=0)
        for count in (3, 40)
    )
    assert few.dpi == 200
    assert many.get_figheight() * 200 > 10_000
    assert many.get_figheight() * many.dpi == pytest.approx(10_000)


def test_the_box_plot_has_a_box_for_each_model_and_region_that_was_measured():
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    evidence = Evidence(0.9, torch.tensor([0.0, 0, 3, 2]), None, Heatmap(values, "p2"))
    without, with_mask = Localization(("a", "b")), Localization(("a", "b"))
    for found, mask in ((without, None), (with_mask, values > 0.5)):
        subject = AnnotatedObject("x", 0, "cat", np.array([0, 0, 3, 2], np.float32), mask)
        found.add(subject, [evidence, evidence])
    boxes = [len(plot_localization(found).axes[0].patches) for found in (without, with_mask)]
    assert boxes == [2, 4]
