"""Precision, recall and F1 over the score, of much and of nothing."""

import pytest

from coco_scenes import A, evaluator, scene, truth
from dprd_cli.evaluation.analysis import analyse
from dprd_cli.evaluation.curve_figures import pr_figure, scores_figure, short


def test_all_classes_together_and_each_of_several():
    analysis = analyse(evaluator(*scene())).to_json()
    together, *alone = scores_figure(analysis).axes
    assert {line.get_label() for line in together.get_lines()} >= {"precision", "recall", "F1"}
    assert together.get_xlabel() == "score from which a detection counts"
    objects = [count for count in analysis["objects"] if count]
    assert len(alone) == (len(objects) > 1)
    assert [axes.get_title() for axes in pr_figure(analysis, "bbox", ["50"]).axes] == ["IoU 0.5"]


@pytest.mark.parametrize("detections", [{}, {1: [(0, A, 0.9)]}])
def test_one_class_has_one_panel(detections):
    analysis = analyse(evaluator(truth((1, 7, A)), detections)).to_json()
    (axes,) = scores_figure(analysis).axes
    marked = any(line.get_marker() == "o" for line in axes.get_lines())
    assert marked == bool(detections)  # where nothing is right there is no best score


def test_long_names_are_shortened():
    assert short("a" * 40) == "a" * 15 + "…"
    assert short("dog") == "dog"
