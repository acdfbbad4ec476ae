"""The sections on what a run's detections look like."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from dprd_cli.evaluation.parts import PartStatistics
from dprd_cli.model.parts import decompose
from dprd_cli.report.images import gradcam, images, parts
from dprd_cli.report.measure import GradCamMap, ImagePair
from dprd_cli.structures.detections import Detections

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


def deformation(shares=None, falls=None, places=None):
    """Return the statistics of two objects of one class; of three places, if any."""
    boxes = torch.tensor([[10.0, 10, 50, 90]]).repeat(2, 1)
    shares, falls = (None if row is None else torch.tensor([row, row]) for row in (shares, falls))
    parts = decompose(boxes, 4)
    labels = torch.zeros(2, dtype=torch.int64)
    statistics = PartStatistics(("a & b",), torch.tensor([[0.0, 0, 1], [0.5, 0, 1], [-0.5, 0, 1]]))
    told = {"part_boxes": parts, "part_shares": shares, "part_falls": falls}
    if places is not None:
        told |= {"part_places": torch.tensor([places] * 2), "part_steadiness": torch.ones(2, 4)}
    statistics.add(Detections(boxes, torch.ones(2), labels, (99, 99), **told))
    return statistics.result().to_json()


def test_which_part_decided_is_shown_where_it_was_measured(page):
    html = parts(*page(analysis={"parts": deformation([0.2] * 5, [0.1, 0.0, 0.3, 0.0, -0.1])}))
    assert "Which part decided, and the fall of the class score without it: a &amp; b upper 0.30" in html
    assert html.count("<svg") == 2
    html = parts(*page(analysis={"parts": deformation()}))
    assert "Which part decided was not measured." in html
    assert html.count("<svg") == 1


def test_where_parts_are_is_shown_where_they_choose_places(page):
    places = [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.9, 0.1, 0.0]]
    html = parts(*page(analysis={"parts": deformation(places=places)}))
    assert "Where the parts are: left at its reference part 0 %, right" in html
    assert "All parts are at one place for 0 %, at their reference parts for 0 %." in html
    assert "1.10 where all are alike" in html
    assert html.count("<svg") == 2
