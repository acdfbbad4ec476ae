"""AP over weighted images is pycocotools' AP of so many copies; intervals cover what they should."""

import copy

import numpy as np
import pytest

from coco_scenes import IDS, evaluator, scene
from dprd_cli.evaluation.bootstrap import (
    COMPARED,
    FEWEST,
    average_precisions,
    compare_matches,
    draw_weights,
    precisions,
)
from dprd_cli.evaluation.matches import ClassMatches, class_matches


def matches_of(made):
    found = class_matches(made, "bbox")
    return [found[ident] for ident in IDS]


def pycocotools_precision(made):
    """Return [K, T, R], by class index; NaN without objects."""
    arrays = made.arrays("bbox", backend="pycocotools")
    values = arrays.precision[:, :, :, 0, -1].transpose(2, 0, 1)
    values = values[[sorted(IDS).index(ident) for ident in IDS]]
    return np.where(values < 0, np.nan, values)


def copied(tree, detections, weights):
    """Return an evaluator of so many copies of each image, copies side by side."""
    images, rows, found = [], [], {}
    for image, count in zip(tree["images"], weights, strict=True):
        for _ in range(count):
            number = len(images) + 1
            images.append({**image, "id": number})
            found[number] = detections[image["id"]]
            for row in tree["annotations"]:
                if row["image_id"] == image["id"]:
                    rows.append({**copy.deepcopy(row), "image_id": number, "id": len(rows) + 1})
    return evaluator({**tree, "images": images, "annotations": rows}, found)


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_one_are_pycocotools_to_the_bit(seed):
    tree, detections = scene(seed=seed, images=8)
    made = evaluator(tree, detections)
    matches = matches_of(made)
    weights = np.ones((3, 8), dtype=np.int64)
    for one, expected in zip(matches, pycocotools_precision(made), strict=True):
        for row in precisions(one, weights):
            np.testing.assert_array_equal(row, expected)
    per_class = average_precisions(matches, weights)[0]  # [K, T]
    stats = made.arrays("bbox").stats
    for number, ious in enumerate(COMPARED.values()):
        assert per_class[:, ious].mean() == pytest.approx(stats[number], rel=1e-14)


@pytest.mark.parametrize("seed", range(6))
def test_an_image_of_weight_k_is_k_copies_of_it(seed):
    tree, detections = scene(seed=seed, images=6)
    matches = matches_of(evaluator(tree, detections))
    weights = draw_weights(6, 1, seed) if seed else np.full((1, 6), 3)
    expected = pycocotools_precision(copied(tree, detections, weights[0]))
    for one, values in zip(matches, expected, strict=True):
        np.testing.assert_array_equal(precisions(one, weights)[0], values)


def test_images_left_out_are_not_there():
    tree, detections = scene(seed=1)
    matches = matches_of(evaluator(tree, detections))
    weights = np.array([[1, 0, 1, 0, 0, 1]])
    expected = pycocotools_precision(copied(tree, detections, weights[0]))
    for one, values in zip(matches, expected, strict=True):
        np.testing.assert_array_equal(precisions(one, weights)[0], values)


def test_a_class_without_objects_is_left_out_of_the_mean():
    tree, detections = scene(seed=2, images=12)
    tree["annotations"] = [row for row in tree["annotations"] if row["category_id"] == 3]
    matches = matches_of(evaluator(tree, detections))
    found = compare_matches(matches, matches, draw_weights(12, 30, 0))
    assert found.classes[0]["AP"].to_json() == dict.fromkeys(("a", "b", "difference", "low", "high", "p"))
    assert found.total["AP"] == found.classes[1]["AP"]


def test_of_few_images_with_objects_no_interval_is_given():
    tree, detections = scene(seed=2, images=FEWEST)
    matches = matches_of(evaluator(tree, detections))
    weights = draw_weights(FEWEST, 30, 0)
    assert compare_matches(matches, matches, weights).total["AP"].p == 1
    tree["annotations"] = [row for row in tree["annotations"] if row["image_id"] > 1]
    one = compare_matches(*[matches_of(evaluator(tree, detections))] * 2, weights).total["AP"]
    assert (one.difference, one.low, one.high, one.p) == (0, None, None, None)


def test_many_weights_at_once_and_few_at_a_time_are_the_same(monkeypatch):
    one = matches_of(evaluator(*scene(seed=5)))[0]
    weights = draw_weights(6, 50, 1)
    together = precisions(one, weights)
    monkeypatch.setattr("dprd_cli.evaluation.bootstrap._AT_ONCE", 100)
    np.testing.assert_array_equal(precisions(one, weights), together)


def test_draws_are_of_as_many_images_and_follow_the_seed():
    weights = draw_weights(40, 200, 3)
    assert weights.shape == (200, 40)
    assert (weights.sum(axis=1) == 40).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(40), abs=0.3)
    np.testing.assert_array_equal(weights, draw_weights(40, 200, 3))
    assert (weights != draw_weights(40, 200, 4)).any()


def test_a_detector_does_not_differ_from_itself():
    matches = matches_of(evaluator(*scene(seed=0, images=20)))
    found = compare_matches(matches, matches, draw_weights(20, 100, 0))
    for row in (found.total, *found.classes):
        for one in row.values():
            assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)
            assert one.a == one.b > 0


def simulated(random, images, chances, classes=2):
    """Return the matches of detectors that find each object with some chance, at IoUs up to a random one.

    The objects are the same for all, and half of what makes one hard to find.
    """
    made = [[] for _ in chances]
    for _ in range(classes):
        objects = random.poisson(1.5, images)
        owners = np.repeat(np.arange(images), objects)
        hard = random.random(len(owners))
        for one, chance in zip(made, chances, strict=True):
            draw = np.where(random.random(len(owners)) < 0.5, hard, random.random(len(owners)))
            best = np.where(draw < chance, random.integers(1, 11, len(owners)), 0)
            best = np.concatenate([best, np.zeros(images, int)])  # and as many false ones as images
            places = np.concatenate([owners, random.integers(0, images, images)])
            scores = random.normal(np.repeat([1.0, 0.0], [len(owners), images]), 1)
            order = np.argsort(-scores)
            right = np.arange(10)[:, None] < best[order]
            one.append(ClassMatches(places[order], right, np.zeros_like(right), objects))
    return made


def test_a_clearly_better_detector_has_a_small_p_and_the_order_only_turns_the_sign():
    good, bad = simulated(np.random.default_rng(0), 80, (0.9, 0.5))
    weights = draw_weights(80, 199, 0)
    found, turned = compare_matches(good, bad, weights), compare_matches(bad, good, weights)
    better = found.total["AP"]
    assert better.p == pytest.approx(2 / 200)
    assert 0 < better.low < better.difference < better.high
    assert turned.total["AP"].difference == -better.difference
    assert turned.total["AP"].low == pytest.approx(-better.high)
    assert turned.total["AP"].p == better.p


def coverage(trials, images=60, resamples=200):
    """Return how many intervals hold the true difference, and how many equal detectors seem to differ."""
    random = np.random.default_rng(1)
    large = simulated(random, 20_000, (0.8, 0.7))
    better, worse = (average_precisions(one, np.ones((1, 20_000), dtype=np.int64)) for one in large)
    true = 100 * (better - worse).mean()
    held = apart = 0
    for seed in range(trials):
        first, second, third = simulated(random, images, (0.8, 0.7, 0.8))
        weights = draw_weights(images, resamples, seed)
        one = compare_matches(first, second, weights).total["AP"]
        held += one.low <= true <= one.high
        apart += compare_matches(first, third, weights).total["AP"].p < 0.05
    return held, apart


def test_intervals_hold_the_true_difference_about_as_often_as_they_say():
    held, apart = coverage(60)
    assert held >= 51  # 57 expected, with a deviation of 1.7
    assert apart <= 9  # 3 expected
