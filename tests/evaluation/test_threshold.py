"""The threshold of the best F1, by hand and against every threshold that there is."""

import numpy as np
import pytest

from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.threshold import (
    BestThreshold,
    best_threshold,
    counts_over_scores,
    judge,
    score_thresholds,
)


def test_by_hand():
    """Four objects. From 0.9, 0.8, 0.4 the first, second and third are right, from 0.3 on none is."""
    scored = [(0.9, True), (0.8, True), (0.6, False), (0.4, True), (0.3, False), (0.1, False)]
    # 3 right of 4 detections and 4 objects: F1 = 6 / 8; of 3 detections 4 / 7; of 2 detections 4 / 6
    assert best_threshold(scored, 4) == BestThreshold(0.35, 0.75, 0.75, 0.75)
    assert best_threshold(scored[:2], 2) == BestThreshold(0.4, 1.0, 1.0, 1.0)


def test_equal_scores_are_not_parted():
    assert best_threshold([(0.5, True), (0.5, False), (0.5, False)], 1).precision == pytest.approx(
        1 / 3, abs=1e-4
    )


def test_nothing_right_has_no_threshold():
    assert best_threshold([(0.9, False)], 3) is None
    assert best_threshold([], 0) is None


def test_no_threshold_is_better():
    rng = np.random.default_rng(0)
    for _ in range(30):
        scores = rng.random(20).round(int(rng.integers(1, 5)))
        scored = [(float(score), bool(rng.random() < score)) for score in scores]
        if not any(right for _, right in scored):
            continue
        objects = sum(right for _, right in scored) + int(rng.integers(0, 5))

        def f1(least, scored=scored, objects=objects):
            kept = [right for score, right in scored if score >= least]
            return 2 * sum(kept) / (len(kept) + objects)

        found = best_threshold(scored, objects)
        assert found.f1 == pytest.approx(max(map(f1, scores)), abs=1e-4)
        assert f1(found.score) == pytest.approx(found.f1, abs=1e-4)


def row(category, box, score=None, image=1, crowd=0):
    x, y, w, h = box
    plain = {"image_id": image, "category_id": category, "bbox": [x, y, w, h]}
    return plain | ({"iscrowd": crowd, "area": w * h, "id": x + y} if score is None else {"score": score})


def test_classes_alone_and_together_without_crowds():
    truth = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 100, "height": 100} for n in (1, 2, 3)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "cow"}],
        "annotations": [
            row(3, (0, 0, 10, 10)), row(7, (50, 50, 10, 10)), row(3, (20, 0, 60, 60), crowd=1),
            row(7, (0, 0, 10, 10), image=3),
        ],
    }  # fmt: skip
    evaluator = CocoEvaluator(truth, (3, 7, 9), ("cat", "dog", "cow"), with_masks=False)
    evaluator.image_ids = [1, 2]  # the third does not count
    evaluator.results["bbox"] = [
        row(3, (0, 0, 10, 10), 0.8), row(3, (30, 10, 10, 10), 0.9), row(3, (0, 0, 10, 9), 0.3),
        row(7, (50, 50, 10, 10), 0.2), row(7, (0, 0, 10, 10), 0.1, image=2),
    ]  # fmt: skip
    found = score_thresholds(evaluator)
    assert found.classes == {
        # the second finds the crowd, and does not count; the third is the first again
        "cat": BestThreshold(0.55, 1.0, 1.0, 1.0),
        "dog": BestThreshold(0.15, 1.0, 1.0, 1.0),
        "cow": None,
    }
    # 0.8 right, 0.3 wrong, 0.2 right: 2 right of 3 detections and 2 objects: F1 = 4 / 5
    assert found.overall == BestThreshold(0.15, 0.8, 0.6667, 1.0)
    assert found.to_json()["classes"]["dog"]["score"] == 0.15
    curves = judge(evaluator).curves().to_json()
    assert len(curves["scores"]) == len(curves["f1"]) == 101
    at = {name: curves[name][15] for name in ("scores", "precision", "recall", "f1")}
    assert at == {"scores": 0.15, "precision": 0.6667, "recall": 1.0, "f1": 0.8}
    assert (curves["precision"][90], curves["recall"][90], curves["f1"][90]) == (None, 0.0, 0.0)
    assert (curves["classes"]["cat"][50], curves["classes"]["cat"][30]) == (1.0, 0.6667)
    assert curves["classes"]["cow"] is None


def test_what_reaches_a_score_counts():
    right, kept = counts_over_scores([(0.5, True), (0.5, False), (0.25, True), (1.0, False)])
    assert [(right[score], kept[score]) for score in (0, 25, 26, 50, 51, 100)] == [
        (2, 4), (2, 4), (1, 3), (1, 3), (0, 1), (0, 1),
    ]  # fmt: skip
    assert [int(values.sum()) for values in counts_over_scores([])] == [0, 0]
