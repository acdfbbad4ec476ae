"""The sections on what a run's detections look like."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from dprd_cli.report.images import gradcam, images, parts
from dprd_cli.report.measure import GradCamMap, ImagePair

BLACK = np.zeros((8, 8, 3), np.uint8)


def measured(page, **given):
    made, run = page()
    numbers = {
        "images": 1,
        "total": 2,
        "step": 3,
        "data": "val",
        "checkpoint": Path("best.pt"),
    }
    made.measured = {run.name: SimpleNamespace(best=[], worst=[], maps=[], analysis={}, **numbers)}
    vars(made.measured[run.name]).update(given)
    return made, run


def test_nothing_is_shown_of_a_run_that_was_not_measured(page):
    made, run = page()
    assert images(made, run) == parts(made, run) == made.measured_on(run)
    assert "No checkpoint. No Grad-CAM without the checkpoint." in gradcam(made, run)


def test_images_that_an_evaluation_left_are_shown(page, tmp_path):
    path = tmp_path / "best.jpg"
    path.write_bytes(b"jpeg")
    html = images(*page(drawn={"best": path}))
    assert 'alt="The best images"' in html
    assert "The worst images" not in html


def test_worst_images_come_before_the_best_annotations_beside_detections(page):
    pair = ImagePair("a & b.png", 0.25, BLACK, BLACK)
    html = images(*measured(page, best=[pair]))
    assert html.index("Worst") < html.index("None.") < html.index("Best") < html.index("F1 0.25")
    assert html.index("a &amp; b.png with its annotations") < html.index("a &amp; b.png with its detections")


def test_a_map_says_its_layer_and_share(page):
    maps = [GradCamMap(BLACK, "cat", 0.9, "P3", 0.25), GradCamMap(BLACK, "dog", 0.8, "P4", None)]
    html = gradcam(*measured(page, maps=maps))
    assert "P3, 25 % of the energy in its box" in html
    assert "P4, no gradient" in html
    assert "No Grad-CAM: no object reached the score 0.5." in gradcam(*measured(page))


def test_a_detector_without_parts_has_no_deformation(page):
    html = parts(*page(analysis={"parts": None}))
    assert "No parts: the detector has none" in html
