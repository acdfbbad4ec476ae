"""PR curves and APs against COCOeval's own arrays; which images are best and worst."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coco_scenes import IDS, NAMES, A, B, evaluator, scene, truth
from dprd_cli.evaluation.analysis import APS, CURVES, Analyst, analyse
from dprd_cli.evaluation.parts import PartStatistics
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import without_objects


def test_curves_and_aps_are_coco_evals_arrays():
    tree, detections = scene()
    made = evaluator(tree, detections)
    analysis = analyse(made)
    truth_api = COCO()
    truth_api.dataset = tree
    truth_api.createIndex()
    reference = COCOeval(truth_api, truth_api.loadRes(made.results["bbox"]), "bbox")
    reference.evaluate()
    reference.accumulate()
    precision = reference.eval["precision"]  # [T, R, K, A, M], classes by ascending id: cat, dog
    for index, column in enumerate((1, 0)):
        curves = analysis.curves["bbox"].classes[index]
        for name, ious in CURVES.items():
            assert curves[name] == pytest.approx(precision[ious, :, column, 0, -1].mean(axis=0), abs=1e-9)
        for name, (ious, area) in APS.items():
            values = precision[ious, :, column, area, -1]
            expected = 100 * values[values > -1].mean() if (values > -1).any() else None
            assert analysis.ap["bbox"][index][name] == (expected and pytest.approx(expected))
    mean = analysis.curves["bbox"].mean["50"]
    assert 100 * np.mean(mean) == pytest.approx(made.summarize().to_json()["bbox"]["AP50"])


def seen(image_id, *boxes):
    """Return a grey image and detections of dogs in it."""
    sample = replace(without_objects(np.full((200, 200, 3), 99, np.uint8)), image_id=image_id)
    corners = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in boxes]).float().reshape(-1, 4)
    count = len(boxes)
    parts = corners[:, None].repeat(1, 4, 1)
    labels = torch.zeros(count, dtype=torch.int64)
    return sample, Detections(corners, torch.full((count,), 0.9), labels, (200, 200), part_boxes=parts)


def test_an_analyst_keeps_the_best_and_the_worst_images_and_no_others():
    """Four images of two dogs: both found, one found (twice: the earlier one is better), none found."""
    tree = truth(*((image, 7, box) for image in (1, 2, 3, 4) for box in (A, B)), images=4)
    analyst = Analyst(tree, IDS, NAMES, keep=2)
    for image, boxes in ((1, [A]), (2, [A, B]), (3, []), (4, [A])):
        analyst.watch(*seen(image, *boxes))
    assert [(one.sample.image_id, one.f1) for one in analyst.best] == [(2, 1.0), (1, pytest.approx(2 / 3))]
    assert [one.sample.image_id for one in analyst.worst] == [3, 4]


@pytest.mark.parametrize(
    ("found", "best", "worst"),
    [
        ([[A, B]], [1], []),  # of one image it is said that it is good
        ([[]], [], [1]),  # or that nothing was found
        ([[A], [A, B]], [2], [1]),
        ([[A], [A, B], [A]], [2, 1], [3]),
        ([[], [], [A]], [3], [2, 1]),
    ],
)
def test_of_few_images_the_better_half_is_best_and_none_in_which_nothing_was_found(found, best, worst):
    count = len(found)
    tree = truth(*((image, 7, box) for image in range(1, count + 1) for box in (A, B)), images=count)
    analyst = Analyst(tree, IDS, NAMES, keep=6)
    for image, boxes in enumerate(found, start=1):
        analyst.watch(*seen(image, *boxes))
    assert [one.sample.image_id for one in analyst.best] == best
    assert [one.sample.image_id for one in analyst.worst] == worst


def test_an_analyst_says_what_analyse_says_and_passes_on_how_parts_deform():
    tree = truth((1, 7, A), (1, 7, B))
    analyst = Analyst(tree, IDS, NAMES)
    sample, detections = seen(1, A, B)
    analyst.watch(sample, detections)
    collected = evaluator(tree, {1: [(0, A, 0.9), (0, B, 0.9)]})
    statistics = PartStatistics(NAMES)
    statistics.add(detections)
    watched = analyst.result(collected, statistics.result())
    assert replace(watched, parts=None) == analyse(collected) == analyst.result(collected)
    assert watched.parts.total.objects == 2
    assert set(watched.to_json()) == set(analyse(collected).to_json()) | {"parts"}


def test_nothing_watched_has_no_best_image():
    analyst = Analyst(truth(), IDS, NAMES)
    analyst.watch(*seen(1))
    assert (analyst.best, analyst.worst) == ([], [])
