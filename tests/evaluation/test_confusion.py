"""Confusions and F1 against numbers worked by hand and against COCOeval's own matches."""

from dataclasses import asdict

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coco_scenes import IDS, A, B, C, D, evaluator, found, scene, truth
from dprd_cli.evaluation.confusion import ErrorAnalysis, assign


def test_confusion_by_hand():
    """Two dogs, one of them seen as a cat; a cat missed; a dog on nothing; a box below the score."""
    tree = truth((1, 7, A), (1, 7, B), (1, 3, C))
    errors = ErrorAnalysis(tree, IDS)
    errors.add(1, found((7, A, 0.9), (3, B, 0.8), (7, D, 0.7), (3, C, 0.4)))
    assert errors.matrix.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]  # rows dog, cat, background


def test_a_second_detection_of_an_object_is_of_nothing():
    errors = ErrorAnalysis(truth((1, 7, A)), IDS)
    errors.add(1, found((7, A, 0.9), (7, A, 0.8), (3, A, 0.7)))
    assert errors.matrix.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 0]]


def test_the_own_class_goes_first():
    """The surer wrong class must not take an object away from the right one."""
    errors = ErrorAnalysis(truth((1, 7, A)), IDS)
    errors.add(1, found((3, A, 0.9), (7, A, 0.6)))
    assert errors.matrix.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_crowds_are_not_missed_and_what_they_take_does_not_count():
    errors = ErrorAnalysis(truth((1, 7, (0, 0, 100, 100), True)), IDS)
    assert errors.add(1, found((7, A, 0.9), (7, B, 0.8))) is None
    assert errors.matrix.sum() == 0


def test_f1_by_hand():
    """IoU 300/500 = 0.6 passes 0.5, 0.55 and 0.6; the other object is exact: (3 * 1 + 7 * 0.5) / 10."""
    errors = ErrorAnalysis(truth((1, 7, A), (1, 3, B)), IDS)
    shifted = (5, 0, 20, 20)  # overlap 15 x 20 of 2 * 400 - 300
    assert errors.add(1, found((7, shifted, 0.9), (3, B, 0.8))) == pytest.approx((3 * 1 + 7 * 0.5) / 10)
    assert asdict(errors.images[0]) == {
        **{"image_id": 1, "file_name": "1.png", "objects": 2, "detections": 2},
        "f1": pytest.approx(0.65),
    }


@pytest.mark.parametrize(
    ("objects", "rows", "f1", "matrix"),
    [
        ([], [], None, [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([], [(7, A, 0.9)], 0.0, [[0, 0, 0], [0, 0, 0], [1, 0, 0]]),
        ([(1, 3, A)], [], 0.0, [[0, 0, 0], [0, 0, 1], [0, 0, 0]]),
    ],
)
def test_images_without_objects_or_detections(objects, rows, f1, matrix):
    errors = ErrorAnalysis(truth(*objects), IDS)
    assert errors.add(1, found(*rows)) == f1
    assert errors.matrix.tolist() == matrix


def test_each_detection_takes_the_best_free_object():
    overlap = np.array([[0.6, 0.9], [0.7, 0.8], [0.9, 0.9]])
    chosen, ignored = assign(overlap, np.array([False, False]), 0.5)
    assert (chosen.tolist(), ignored.tolist()) == ([1, 0, -1], [False] * 3)


def test_the_diagonal_counts_coco_evals_true_positives():
    tree, detections = scene(3)
    errors = ErrorAnalysis(tree, IDS, score=0.3)
    made = evaluator(tree, detections)
    kept = [row for row in made.results["bbox"] if row["score"] >= 0.3]
    for image in tree["images"]:
        errors.add(image["id"], [row for row in kept if row["image_id"] == image["id"]])
    truth_api = COCO()
    truth_api.dataset = tree
    truth_api.createIndex()
    reference = COCOeval(truth_api, truth_api.loadRes(kept), "bbox")
    reference.evaluate()
    right = dict.fromkeys(IDS, 0)
    for one in reference.evalImgs:
        if one is not None and one["aRng"] == reference.params.areaRng[0]:
            matched = (one["dtMatches"][0] > 0) & ~one["dtIgnore"][0]
            right[one["category_id"]] += int(matched.sum())
    assert errors.matrix.diagonal()[:2].tolist() == [right[category] for category in IDS]
    assert sum(right.values()) > 5
