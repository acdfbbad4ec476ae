"""Matches are pycocotools': everything its `accumulate` looks at is there."""

import numpy as np

from coco_scenes import IDS, A, B, C, evaluator, scene, truth
from dprd_cli.evaluation.matches import class_matches


def test_by_hand():
    # two dogs in image 1, a crowd and a dog in image 2; the best detection is wrong, one lies on the crowd
    tree = truth((1, 7, A), (1, 7, B), (2, 7, A, True), (2, 7, C), images=2)
    made = evaluator(tree, {1: [(0, A, 0.5), (0, C, 0.9)], 2: [(0, A, 0.7), (0, (100, 0, 20, 15), 0.6)]})
    found = class_matches(made, "bbox")
    assert list(found) == sorted(IDS)
    dog = found[7]
    assert dog.images.tolist() == [0, 1, 1, 0]
    assert dog.objects.tolist() == [2, 1]
    assert dog.ignored.tolist() == [[False, True, False, False]] * 10
    # 20 x 15 of 20 x 20 is an IoU of 0.75, which counts up to and at 0.75
    assert dog.right[:, 2].tolist() == [True] * 6 + [False] * 4
    assert dog.right[:, [0, 1, 3]].tolist() == [[False, False, True]] * 10
    cat = found[3]
    assert (len(cat.images), cat.right.shape, cat.objects.tolist()) == (0, (10, 0), [0, 0])


def test_only_the_evaluators_images_and_the_best_hundred_of_each():
    tree = truth((1, 7, A), (2, 7, A), images=2)
    made = evaluator(tree, {1: [(0, A, 0.5)] * 150, 2: [(0, A, 0.5)]})
    assert np.bincount(class_matches(made, "bbox")[7].images).tolist() == [100, 1]
    made.image_ids = [2]
    assert class_matches(made, "bbox")[7].images.tolist() == [0]


def test_detections_are_in_the_order_of_their_scores():
    tree, detections = scene(seed=3)
    made = evaluator(tree, detections)
    for ident, one in class_matches(made, "bbox").items():
        scores = {(row["image_id"] - 1): [] for row in made.results["bbox"]}
        for row in made.results["bbox"]:
            if row["category_id"] == ident:
                scores[row["image_id"] - 1].append(row["score"])
        left = {image: iter(sorted(values, reverse=True)) for image, values in scores.items()}
        ordered = [next(left[image]) for image in one.images.tolist()]
        assert ordered == sorted(ordered, reverse=True)
