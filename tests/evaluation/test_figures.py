"""Figures of an analysis, also of one in which there is next to nothing."""

import json

import numpy as np
import pytest
import torch

from coco_scenes import A, evaluator, scene, truth
from dprd_cli.evaluation.analysis import ImageExample, analyse
from dprd_cli.evaluation.figures import (
    PLOT_FILES,
    analysis_figures,
    bars,
    draw_examples,
    mean_ap,
    write_analysis,
)
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import without_objects


@pytest.mark.parametrize(
    ("tree", "detections"),
    [
        (truth((1, 7, A)), {}),  # nothing detected
        (truth(), {1: [(0, A, 0.9)]}),  # nothing annotated
        (truth(), {}),  # nothing at all
        (truth((1, 7, A)), {1: [(0, A, 0.9)]}),  # one class of two
    ],
)
def test_every_figure_is_drawn_of_little(tree, detections):
    analysis = analyse(evaluator(tree, detections))
    analysis = json.loads(json.dumps({**analysis.to_json(), "parts": None}))
    known = bool(tree["annotations"])
    assert (analysis["curves"]["bbox"]["mean"]["50"] is not None) == known
    assert analysis["curves"]["bbox"]["classes"][1]["50"] is None  # no cat anywhere
    if known:
        assert analysis["ap"]["bbox"][0]["AP"] == pytest.approx(100.0 if detections else 0.0)
    figures = analysis_figures(analysis)
    assert figures
    for figure in figures.values():
        figure.savefig("/dev/null", format="svg")


def test_what_is_written_is_the_analysis_and_a_figure_for_each_part_of_it(tmp_path):
    analysis = analyse(evaluator(*scene()))
    written = write_analysis(OutputFolder(tmp_path, "eval.plots"), analysis, best=[example()])
    assert json.loads((tmp_path / "analysis.json").read_text()) == analysis.to_json()
    names = ["pr_bbox.png", "scores.png", "confusion.png", "ap_class.png", "ap_size.png", "best.jpg"]
    assert [path.name for path in written if path.name != "tide.png"] == names
    assert all(path.stat().st_size > 0 for path in written)
    assert not (tmp_path / "worst.jpg").exists()
    assert {path.name for path in written} < set(PLOT_FILES)


def example():
    """Return an image of nothing with one detection."""
    sample = without_objects(np.full((60, 80, 3), 99, np.uint8))
    found = Detections(torch.tensor([[10.0, 10, 50, 50]]), torch.ones(1), torch.zeros(1).long(), (60, 80))
    return ImageExample(0.5, sample, found)


def test_examples_are_drawn_in_pairs_two_a_row():
    two, four = (draw_examples([example()] * count, ("dog",), 0.5).shape for count in (2, 4))
    assert four[1] == two[1]
    assert four[0] == pytest.approx(2 * two[0], rel=0.05)  # but for the edges


def test_the_mean_ap_is_over_the_classes_that_have_one():
    assert mean_ap([{"AP": 50.0}, {"AP": None}, {"AP": 100.0}], "AP") == 75
    assert mean_ap([{"AP": None}], "AP") is None


def test_a_bar_without_a_value_says_so():
    figure = bars(["cat", "dog"], {"box AP": ([40.0, None], "#000000")}, "AP (%)")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["40.0", "-"]
    assert [patch.get_width() for patch in axes.patches] == [40, 0]
