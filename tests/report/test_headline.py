"""The evaluation that a run is known by is the usual one of the most images."""

import pytest

from dprd_cli.report.headline import Headline, headline
from dprd_cli.report.runs import EvaluationFile, RunFiles


def recorded(file, images, ap, **more):
    return EvaluationFile(file, {"images": images, "bbox": {"AP": ap}, "recall50": 0.5, **more})


def test_a_run_that_was_never_evaluated_has_none():
    assert headline(RunFiles("mine", None), None) == Headline()


@pytest.mark.parametrize("order", [1, -1])
def test_the_evaluation_of_the_most_images_wins(order):
    files = [recorded("few.json", 3, 10.0), recorded("many.json", 9, 20.0)]
    best = headline(RunFiles("mine", None, recorded=files[::order]), None)
    assert (best.metrics["bbox_AP"], best.source, best.images) == (20.0, "many.json, 9 images", 9)
    assert best.metrics["recall50"] == 0.5


@pytest.mark.parametrize("more", [{"part_offsets": "mean"}, {"tta": True}, {"split": "train"}])
def test_evaluations_of_another_detector_or_of_the_training_images_do_not_count(more):
    files = [recorded("other.json", 99, 50.0, **more), recorded("usual.json", 2, 10.0)]
    assert headline(RunFiles("mine", None, recorded=files), None).source == "usual.json, 2 images"


def test_the_last_evaluation_of_the_training_counts_too():
    rows = [{"kind": "eval", "step": step, "images": 4, "bbox_AP": float(step)} for step in (10, 20)]
    run = RunFiles("mine", None, metrics=rows, recorded=[recorded("few.json", 3, 50.0)])
    best = headline(run, None)
    assert (best.metrics["bbox_AP"], best.source) == (20.0, "training's last evaluation, step 20, 4 images")


def test_files_may_hold_anything():
    run = RunFiles("mine", None, recorded=[EvaluationFile("x.json", {"images": "many", "segm": None})])
    assert headline(run, None).source == "x.json, 0 images"
