"""PR curves, confusions and F1 against numbers worked by hand and against COCOeval's own arrays."""

import json
import sys

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dprd_cli.evaluation.analysis import APS, CURVES, ErrorAnalysis, analyse, assign
from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.figures import analysis_figures
from dprd_cli.evaluation.tide import MISSING, tide_errors
from dprd_cli.structures.detections import Detections

IDS, NAMES = (7, 3), ("dog", "cat")  # class order is not that of the ids


def truth(*objects, images=1):
    """Return a COCO dict of (image, category, xywh[, crowd]) in images 1, 2, ..."""
    rows = [
        {
            **{"id": number, "image_id": image, "category_id": category, "bbox": list(box)},
            **{"area": box[2] * box[3], "iscrowd": int(any(crowd))},
        }
        for number, (image, category, box, *crowd) in enumerate(objects, start=1)
    ]
    images = [{"id": n + 1, "file_name": f"{n + 1}.png", "width": 200, "height": 200} for n in range(images)]
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    return {"images": images, "categories": categories, "annotations": rows}


def found(*rows):
    return [{"category_id": category, "bbox": list(box), "score": score} for category, box, score in rows]


def evaluator(tree, detections):
    """Return an evaluator of boxes with {image: [(class index, xywh, score)]}."""
    made = CocoEvaluator(tree, IDS, NAMES, with_masks=False)
    for image in tree["images"]:
        rows = detections.get(image["id"], [])
        boxes = torch.tensor([[x, y, x + w, y + h] for _, (x, y, w, h), _ in rows]).float().reshape(-1, 4)
        scores, labels = torch.tensor([s for *_, s in rows]), torch.tensor([c for c, *_ in rows]).long()
        made.add(image["id"], Detections(boxes, scores.float(), labels, (200, 200)))
    return made


A, B, C, D = (0, 0, 20, 20), (50, 0, 20, 20), (100, 0, 20, 20), (150, 0, 20, 20)


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
    assert errors.images[0] == {
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


def scene(seed=0, images=6):
    """Return random objects, and detections of which many are near them."""
    random = np.random.default_rng(seed)
    objects, detections = [], {}
    for image in range(1, images + 1):
        detections[image] = []
        for _ in range(4):
            label, box = int(random.integers(2)), (*random.uniform(0, 120, 2), *random.uniform(15, 70, 2))
            objects.append((image, IDS[label], [float(v) for v in box], bool(random.random() < 0.1)))
            moved = [float(v) for v in np.array(box) + random.normal(0, 3, 4)]
            wrong = random.random() < 0.2
            detections[image].append((1 - label if wrong else label, moved, float(random.uniform(0.05, 1))))
    return truth(*objects, images=images), detections


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
        curves = analysis["curves"]["bbox"]["classes"][index]
        for name, ious in CURVES.items():
            assert curves[name] == pytest.approx(precision[ious, :, column, 0, -1].mean(axis=0), abs=1e-9)
        for name, (ious, area) in APS.items():
            values = precision[ious, :, column, area, -1]
            expected = 100 * values[values > -1].mean() if (values > -1).any() else None
            assert analysis["ap"]["bbox"][index][name] == (expected and pytest.approx(expected))
    mean = analysis["curves"]["bbox"]["mean"]["50"]
    assert 100 * np.mean(mean) == pytest.approx(made.summarize().to_json()["bbox"]["AP50"])


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
    analysis = json.loads(json.dumps({**analysis, "parts": None}))
    known = bool(tree["annotations"])
    assert (analysis["curves"]["bbox"]["mean"]["50"] is not None) == known
    assert analysis["curves"]["bbox"]["classes"][1]["50"] is None  # no cat anywhere
    if known:
        assert analysis["ap"]["bbox"][0]["AP"] == pytest.approx(100.0 if detections else 0.0)
    figures = analysis_figures(analysis)
    assert figures
    for figure in figures.values():
        figure.savefig("/dev/null", format="svg")


def test_tide_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    assert tide_errors(evaluator(truth((1, 7, A)), {})) == {"skipped": MISSING}


def test_tide_by_hand():
    pytest.importorskip("hotcoco")
    tree = truth((1, 7, A), (1, 3, B))
    measured = tide_errors(evaluator(tree, {1: [(0, A, 0.9), (0, D, 0.8)]}))
    assert measured["errors"]["Miss"]["count"] == 1
    assert measured["errors"]["Bkg"]["count"] == 1
