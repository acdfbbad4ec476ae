"""VOC's AP: the development kit's rules, one by one, by hand and against a plain rendering of its loop."""

import json

import numpy as np
import pytest

from dprd_cli.evaluation.voc import POINTS, average_precision, best_overlaps, judge, voc_metrics


def thing(box, *, image=1, category=1, difficult=False):
    """An object; the box is VOC's, from 1 and with both ends included."""
    xmin, ymin, xmax, ymax = box
    bbox = [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]
    return {"image_id": image, "category_id": category, "bbox": bbox, "iscrowd": int(difficult)}


def found(score, box, *, image=1, category=1):
    row = thing(box, image=image, category=category)
    return {key: row[key] for key in ("image_id", "category_id", "bbox")} | {"score": score}


def verdicts(objects, results, threshold=0.5):
    return judge(*best_overlaps(objects, results), threshold).tolist()


SQUARE = (11, 11, 20, 20)  # 10 x 10 pixels
FAR = (71, 71, 80, 80)


# --- which detections are right -----------------------------------------------------------------------


def test_overlap_counts_pixels():
    # 10 x 10 and 10 x 10 pixels, shifted by 5: 50 shared, 150 in all. With xmax - xmin as width they would be
    # 9 x 9, 4 * 9 = 36 shared, 126 in all: 0.286.
    iou, index, difficult = best_overlaps([thing(SQUARE)], [found(0.9, (16, 11, 25, 20))])
    assert iou.tolist() == [pytest.approx(50 / 150)]
    assert (index.tolist(), difficult.tolist()) == ([0], [False])


def test_the_threshold_itself_is_enough():
    # 10 of 20 pixels: exactly 0.5, as VOCevaldet.m's >=
    half = found(0.9, (11, 11, 20, 15))
    assert verdicts([thing(SQUARE)], [half]) == [True]
    assert verdicts([thing(SQUARE)], [half], threshold=0.51) == [False]
    assert verdicts([thing(SQUARE)], [found(0.9, (11, 11, 20, 14))]) == [False]  # 40 of 100


def test_a_second_detection_of_an_object_is_wrong():
    results = [found(0.7, SQUARE), found(0.9, (11, 11, 20, 19)), found(0.8, SQUARE)]
    # by score: 0.9 (IoU 0.9) is first and takes the object; the perfect ones come too late
    assert verdicts([thing(SQUARE)], results) == [True, False, False]


def test_no_second_choice():
    # rows 2 to 11 share 9 rows with the first object, 90/110, and 7 with the second, 70/130 = 0.54: the first
    # is taken, so the detection is wrong, although it reaches the free second one, which COCO would take.
    first, second = thing((1, 1, 10, 10)), thing((1, 5, 10, 14))
    results = [found(0.9, (1, 1, 10, 10)), found(0.8, (1, 2, 10, 11))]
    assert verdicts([first, second], results) == [True, False]
    assert best_overlaps([second], results[1:])[0][0] == pytest.approx(70 / 130)


def test_difficult_objects_neither_count_nor_punish():
    objects = [thing(SQUARE, difficult=True), thing(FAR)]
    results = [found(0.9, SQUARE), found(0.8, SQUARE), found(0.7, FAR), found(0.6, (41, 41, 50, 50))]
    # the two of the difficult object are left out, however many
    assert verdicts(objects, results) == [True, False]
    # a detection that reaches the threshold with no object is wrong, even if a difficult one is nearest
    assert verdicts(objects, [found(0.9, (11, 11, 20, 14))]) == [False]


def test_the_best_overlap_decides_before_difficulty():
    # nearest to the difficult object: not counted, although the other one would do (IoU 80/120)
    objects = [thing((1, 1, 10, 10)), thing((1, 3, 10, 12), difficult=True)]
    assert verdicts(objects, [found(0.9, (1, 3, 10, 12))]) == []
    assert verdicts(objects, [found(0.9, (1, 1, 10, 10))]) == [True]


def test_objects_of_other_images_do_not_count():
    objects = [thing(SQUARE, image=2)]
    assert verdicts(objects, [found(0.9, SQUARE, image=1), found(0.8, SQUARE, image=2)]) == [False, True]
    assert verdicts([], [found(0.9, SQUARE)]) == [False]
    assert verdicts(objects, []) == []


def test_equal_scores_keep_their_order():
    objects = [thing(SQUARE)]
    results = [found(0.5, FAR), found(0.5, SQUARE)]
    assert verdicts(objects, results) == [False, True]
    assert verdicts(objects, results[::-1]) == [True, False]


# --- from there to AP ---------------------------------------------------------------------------------


def test_average_precision_by_hand():
    # 4 objects; right, wrong, right, wrong, wrong, right: recall 1/4, 1/4, 2/4, 2/4, 2/4, 3/4,
    # precision 1, 1/2, 2/3, 2/4, 2/5, 3/6. Best from there on: 1 to recall 1/4, 2/3 to 2/4, 1/2 to 3/4.
    right = np.array([True, False, True, False, False, True])
    # 0, 0.1, 0.2: 1; 0.3, 0.4, 0.5: 2/3; 0.6, 0.7: 1/2; 0.8, 0.9, 1: 0. Sum 3 + 2 + 1 = 6
    assert average_precision(right, 4, "11_point") == pytest.approx(6 / 11)
    # 1/4 * (1 + 2/3 + 1/2)
    assert average_precision(right, 4, "all_point") == pytest.approx((1 + 2 / 3 + 1 / 2) / 4)


def test_a_late_gain_in_precision_lifts_what_is_before():
    # wrong, right, right, right of 3: precision 0, 1/2, 2/3, 3/4: the best from anywhere on is 3/4
    right = np.array([False, True, True, True])
    assert average_precision(right, 3, "11_point") == pytest.approx(3 / 4)
    assert average_precision(right, 3, "all_point") == pytest.approx(3 / 4)


@pytest.mark.parametrize("tenths", range(11))
def test_a_recall_of_whole_tenths_reaches_its_point(tenths):
    # k of 10 objects found, all right: points 0 to k of eleven; 3 / 10 >= 3 * 0.1 would be false
    right = np.ones(tenths, dtype=bool)
    points = tenths + 1 if tenths else 0
    assert average_precision(right, 10, "11_point") == pytest.approx(points / 11)
    assert average_precision(right, 10, "all_point") == pytest.approx(tenths / 10)


@pytest.mark.parametrize("points", POINTS)
def test_limits_of_average_precision(points):
    assert average_precision(np.ones(3, dtype=bool), 3, points) == 1
    assert average_precision(np.zeros(3, dtype=bool), 3, points) == 0
    assert average_precision(np.zeros(0, dtype=bool), 3, points) == 0


# --- all of it ----------------------------------------------------------------------------------------


def measure(objects, results, images=(1, 2)):
    truth = {"images": [], "categories": [], "annotations": objects}
    names, ids = ("cat", "dog", "cow"), (1, 2, 3)
    metrics = voc_metrics(truth, results, image_ids=list(images), category_ids=ids, class_names=names)
    return metrics.to_json()


def test_metrics_of_classes_and_their_mean():
    objects = [
        thing(SQUARE), thing(FAR, image=2),
        thing(SQUARE, category=2), thing(FAR, category=2, difficult=True),
        thing(FAR, category=3, difficult=True),
    ]  # fmt: skip
    results = [
        found(0.9, SQUARE),
        found(0.8, FAR, category=2),
        found(0.7, (11, 11, 20, 18), category=2),
        found(0.6, FAR, category=3),
    ]
    measured = measure(objects, results)
    # cat: one of two, precision 1: six of eleven points; 1/2.
    # dog: the difficult one is left out, the other right at IoU 80/100, that is at 7 of the 10 thresholds.
    # cow: only difficult ones: no AP, and not in the mean.
    cat, dog, cow = measured["classes"]
    assert cat == {"name": "cat", "objects": 2, "11_point": pytest.approx(600 / 11), "all_point": 50}
    assert dog == {"name": "dog", "objects": 1, "11_point": pytest.approx(100), "all_point": 100}
    assert cow == {"name": "cow", "objects": 0, "11_point": None, "all_point": None}
    eleven, area = measured["11_point"], measured["all_point"]
    assert eleven["AP50"] == eleven["AP75"] == pytest.approx((600 / 11 + 100) / 2)
    assert eleven["AP"] == pytest.approx((600 / 11 + 70) / 2)
    assert area == {"AP": pytest.approx((50 + 70) / 2), "AP50": pytest.approx(75), "AP75": pytest.approx(75)}
    json.dumps(measured, allow_nan=False)


def test_only_images_that_were_evaluated_count():
    objects = [thing(SQUARE), thing(FAR, image=2)]
    assert measure(objects, [found(0.9, SQUARE)], images=[1])["all_point"]["AP50"] == 100


def test_nothing_to_measure():
    measured = measure([thing(SQUARE, difficult=True)], [found(0.9, SQUARE)])
    assert measured["11_point"] == measured["all_point"] == {"AP": None, "AP50": None, "AP75": None}


def plain_ap(objects, results, threshold, eleven):
    """The development kit's evaluation as its MATLAB text has it: inclusive corners, one loop."""

    def corners(row):
        x, y, w, h = row["bbox"]
        return x + 1, y + 1, x + w, y + h

    taken, positives, marks = set(), sum(not row["iscrowd"] for row in objects), []
    for row in sorted(results, key=lambda row: -row["score"]):
        a, most, nearest = corners(row), -np.inf, None
        for number, thing in enumerate(objects):
            b = corners(thing)
            width = min(a[2], b[2]) - max(a[0], b[0]) + 1
            height = min(a[3], b[3]) - max(a[1], b[1]) + 1
            if thing["image_id"] == row["image_id"] and width > 0 and height > 0:
                areas = sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
                overlap = width * height / (areas - width * height)
                if overlap > most:
                    most, nearest = overlap, number
        if most < threshold:
            marks.append((0, 1))
        elif not objects[nearest]["iscrowd"]:
            marks.append((0, 1) if nearest in taken else (1, 0))
            taken.add(nearest)
    right, wrong = np.cumsum(np.array(marks).reshape(-1, 2), axis=0).T
    recall, precision = right / positives, right / (right + wrong)
    if eleven:
        best = [precision[recall >= k / 10 - 1e-12] for k in range(11)]
        return sum(values.max() if len(values) else 0 for values in best) / 11
    recall, precision = np.r_[0, recall, 1], np.r_[0, precision, 0]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[1:] - recall[:-1]) * precision[1:])


@pytest.mark.parametrize("seed", range(8))
def test_a_plain_rendering_of_the_development_kit_agrees(seed):
    rng = np.random.default_rng(seed)

    def box():
        low = rng.integers(1, 60, 2)
        return (*low.tolist(), *(low + rng.integers(5, 40, 2)).tolist())

    objects = [thing(box(), image=int(rng.integers(5)), difficult=rng.random() < 0.3) for _ in range(25)]
    results = []
    for row in objects * 3:
        x, y, w, h = np.add(row["bbox"], rng.integers(-6, 7, 4)).tolist()
        near = {"image_id": row["image_id"], "category_id": 1, "bbox": [x, y, max(w, 1), max(h, 1)]}
        results.append(near | {"score": round(rng.random(), 1)})  # ties on purpose
    results += [found(rng.random(), box(), image=int(rng.integers(5))) for _ in range(20)]
    overlaps = best_overlaps(objects, results)
    positives = sum(not row["iscrowd"] for row in objects)
    for threshold in (0.3, 0.5, 0.75):
        right = judge(*overlaps, threshold)
        for points in POINTS:
            expected = plain_ap(objects, results, threshold, points == "11_point")
            assert average_precision(right, positives, points) == pytest.approx(expected, abs=1e-12)
            assert 0 <= expected < 0.9
