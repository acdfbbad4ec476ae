import copy
import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dprd_cli.evaluation.coco import METRICS, CocoEvaluator, CocoMetrics, accumulate, show
from dprd_cli.structures.detections import Detections
from paths import DATA


def truth(*annotations, images=1):
    return {
        "images": [
            {"id": 10 + n, "file_name": f"{n}.png", "height": 100, "width": 100} for n in range(images)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": list(annotations),
    }


def annotation(number, box, *, category=3, image=10, crowd=0, mask=True):
    x, y, w, h = box
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    row = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": w * h,
        "iscrowd": crowd,
    }
    return {**row, "segmentation": polygon} if mask else row


def detections(boxes, scores, labels, masks=True, mask_scores=None):
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.int64),
        (100, 100),
        masks=torch.ones(len(boxes), 28, 28) if masks else None,
        mask_scores=None if mask_scores is None else torch.tensor(mask_scores),
    )


def evaluator(ground_truth, with_masks=True):
    return CocoEvaluator(ground_truth, (3, 7), ("cat", "dog"), with_masks=with_masks)


def test_perfect_detections_score_100_and_an_absent_class_has_no_ap():
    measured = evaluator(truth(annotation(1, [10, 10, 40, 40])))
    measured.add(10, detections([[10, 10, 50, 50]], [0.9], [0]))
    result = measured.summarize()
    assert [result.bbox["AP"], result.segm["AP"]] == pytest.approx([100, 100])
    assert result.bbox["APM"] == pytest.approx(100)  # 40x40 lies between 32 and 96 squared
    assert result.bbox["APS"] is None
    assert result.bbox["APL"] is None
    cat, dog = result.classes
    assert (cat.name, cat.category_id, cat.objects, cat.bbox_ap) == ("cat", 3, 1, pytest.approx(100))
    assert (dog.objects, dog.bbox_ap, dog.segm_ap50) == (0, None, None)
    assert (show(dog.bbox_ap), show(cat.bbox_ap)) == ("-", "100.0")


def test_hand_worked_ap():
    # Two cats; best detection wrong, second right: precision 1/2 up to recall 1/2 (51 of 101 points), then 0.
    measured = evaluator(
        truth(annotation(1, [0, 0, 20, 20]), annotation(2, [50, 50, 20, 20])), with_masks=False
    )
    measured.add(10, detections([[0, 70, 20, 90], [0, 0, 20, 20]], [0.9, 0.8], [0, 0]))
    result = measured.summarize()
    assert result.bbox["AP"] == pytest.approx(100 * 51 / 101 / 2)
    assert result.bbox["AR1"] == 0
    assert result.bbox["AR100"] == pytest.approx(50)
    assert result.segm is None


def test_no_detections_at_all_is_ap_0():
    measured = evaluator(truth(annotation(1, [10, 10, 40, 40])))
    measured.add(10, detections([], [], []))
    result = measured.summarize()
    assert result.bbox["AP"] == result.segm["AP"] == result.classes[0].segm_ap == 0
    json.dumps(result.to_json(), allow_nan=False)


def test_no_ground_truth_at_all_is_nothing_to_measure():
    measured = evaluator(truth())
    measured.add(10, detections([[0, 0, 9, 9]], [0.5], [0]))
    assert set(measured.summarize().bbox.values()) == {None}


def test_only_images_that_were_added_count():
    ground_truth = truth(annotation(1, [0, 0, 20, 20]), annotation(2, [0, 0, 20, 20], image=11), images=2)
    measured = evaluator(ground_truth)
    measured.add(10, detections([[0, 0, 20, 20]], [0.9], [0]))
    result = measured.summarize()
    assert (result.images, result.classes[0].objects) == (1, 1)
    assert result.bbox["AP"] == pytest.approx(100)


@pytest.mark.parametrize(
    "segmentation",
    [None, [], [[10, 10]], [[10, 10, 50, 50]], {"size": [100, 100], "counts": [10_000]}],
    ids=["none", "empty", "a point", "two points", "an RLE without a pixel"],
)
def test_what_is_no_mask_is_neither_missed_nor_false(segmentation):
    bare = annotation(1, [10, 10, 40, 40]) | {"segmentation": segmentation}
    measured = evaluator(truth(bare, annotation(2, [60, 60, 30, 30])))
    measured.add(10, detections([[10, 10, 50, 50], [60, 60, 90, 90]], [0.9, 0.8], [0, 0]))
    assert measured.summarize().segm["AP"] == pytest.approx(100)
    for backend in ("faster", "pycocotools"):
        assert measured.arrays("segm", backend).stats[0] == pytest.approx(1)


def test_polygons_of_two_points_beside_others_are_left_out():
    square = annotation(1, [10, 10, 40, 40])
    thin = square | {"segmentation": [[10, 10, 90, 90], *square["segmentation"]]}
    both = []
    for one in (square, thin):
        measured = evaluator(truth(one))
        measured.add(10, detections([[10, 10, 50, 50]], [0.9], [0]))
        both.append(measured.arrays("segm").stats.tolist())
    assert both[0] == both[1]


def test_an_object_without_a_mask_is_ignored_for_masks_only():
    measured = evaluator(truth(annotation(1, [0, 0, 20, 20]), annotation(2, [50, 50, 20, 20], mask=False)))
    measured.add(10, detections([[0, 0, 20, 20], [50, 50, 70, 70]], [0.8, 0.9], [0, 0]))
    result = measured.summarize()
    assert [result.bbox["AP"], result.segm["AP"]] == pytest.approx([100, 100])


def test_annotation_id_0_and_a_missing_area_do_no_harm():
    row = annotation(0, [10, 10, 40, 40])
    del row["area"]
    measured = evaluator(truth(row))
    measured.add(10, detections([[10, 10, 50, 50]], [0.9], [0]))
    assert measured.summarize().bbox["APM"] == pytest.approx(100)


def test_unknown_and_repeated_images_are_refused():
    measured = evaluator(truth())
    with pytest.raises(ValueError, match="99 is not in the ground truth"):
        measured.add(99, detections([], [], []))
    measured.add(10, detections([], [], []))
    with pytest.raises(ValueError, match="10 is not in the ground truth"):
        measured.add(10, detections([], [], []))


def test_metrics_are_flat_and_to_json_is_json():
    result = CocoMetrics({"AP": 50.0}, {"AP": None}, (), 3)
    assert result.metrics() == {"bbox_AP": 50.0, "segm_AP": None}
    assert json.loads(json.dumps(result.to_json()))["segm"] == {"AP": None}


def generated(ground_truth, category_ids, seed=0):
    """Detections near the truth (jittered, relabelled, doubled, dropped) plus noise, some images empty."""
    rng = np.random.default_rng(seed)
    column = {category_id: index for index, category_id in enumerate(category_ids)}
    for number, image in enumerate(ground_truth["images"]):
        size = np.array([image["width"], image["height"]] * 2, dtype=np.float64)
        boxes, labels = [], []
        for row in ground_truth["annotations"] if number % 7 else []:
            if row["image_id"] != image["id"]:
                continue
            x, y, w, h = row["bbox"]
            for _ in range(rng.integers(0, 4)):
                jitter = rng.normal(0, 0.08, 4) * [w, h, w, h]
                boxes.append(np.array([x, y, x + w, y + h]) + jitter)
                wrong = rng.random() < 0.1
                labels.append(rng.integers(len(column)) if wrong else column[row["category_id"]])
        for _ in range(rng.integers(0, 10) if number % 7 else 0):
            corners = rng.random(4) * size
            boxes.append(
                np.r_[np.minimum(corners[:2], corners[2:]), np.maximum(corners[:2], corners[2:]) + 1]
            )
            labels.append(rng.integers(len(column)))
        num = len(boxes)
        order = np.argsort(-(scores := np.round(rng.random(num), 2)), kind="stable")  # ties on purpose
        as_tensor = torch.as_tensor
        yield (
            image["id"],
            Detections(
                as_tensor(np.array(boxes).reshape(-1, 4)[order], dtype=torch.float32).clamp(min=0),
                as_tensor(scores[order], dtype=torch.float32),
                as_tensor(np.array(labels, dtype=np.int64)[order]),
                (image["height"], image["width"]),
                masks=as_tensor(rng.random((num, 28, 28)) ** 0.3, dtype=torch.float32),
                mask_scores=as_tensor(scores[order] * rng.random(num), dtype=torch.float32),
            ),
        )


@pytest.mark.parametrize("name", ["coco", "pennfudan"])
def test_arrays_equal_pycocotools_on_real_data(name, capfd):
    path = DATA / name / "val.json"
    if not path.exists():
        pytest.skip(f"real data not found: {path} (set DPRD_DATA_DIR)")
    ground_truth = json.loads(path.read_text())
    before = copy.deepcopy(ground_truth)
    categories = [(row["id"], row["name"]) for row in ground_truth["categories"]]
    ids, names = zip(*reversed(categories), strict=True)  # class order need not be the id order
    measured = CocoEvaluator(ground_truth, ids, names, with_masks=True)
    for image_id, found in generated(ground_truth, ids):
        measured.add(image_id, found)
    result = measured.summarize()
    assert capfd.readouterr() == ("", "")
    assert ground_truth == before
    if name == "coco":
        assert any(row["iscrowd"] for row in ground_truth["annotations"])
        assert any(row.objects == 0 for row in result.classes)
    for kind in ("bbox", "segm"):
        plain = reference(before, measured.results[kind], kind)
        for backend in ("faster", "pycocotools"):
            assert_same_bits(measured.arrays(kind, backend), plain)
        printed = getattr(result, kind)
        expected = [None if value == -1 else 100 * value for value in plain.stats]
        assert [printed[metric] for metric in METRICS] == expected
        assert 1 < printed["AP"] < 95
        per_class = [getattr(row, f"{kind}_ap") for row in result.classes]
        assert np.mean([ap for ap in per_class if ap is not None]) == pytest.approx(printed["AP"])


def reference(ground_truth, results, kind):
    """What pycocotools' own calls give, from a results file on."""
    truth_api = COCO()
    truth_api.dataset = copy.deepcopy(ground_truth)
    truth_api.createIndex()
    plain = COCOeval(truth_api, truth_api.loadRes(json.loads(json.dumps(results))), kind)
    plain.evaluate()
    plain.accumulate()
    plain.summarize()
    return plain


def assert_same_bits(arrays, plain):
    np.testing.assert_array_equal(arrays.precision, plain.eval["precision"])
    np.testing.assert_array_equal(arrays.recall, plain.eval["recall"])
    np.testing.assert_array_equal(arrays.stats, plain.stats)


def noisy_masks(ground_truth, seed):
    """Results made of the truth: masks shifted and cut, boxes jittered, relabelled, doubled, missed."""
    rng = np.random.default_rng(seed)
    truth_api = COCO()
    truth_api.dataset = ground_truth
    truth_api.createIndex()
    categories = [row["id"] for row in ground_truth["categories"]]
    rows = []
    for note in ground_truth["annotations"]:
        for _ in range(rng.integers(0, 4)):  # a quarter is missed
            x, y, w, h = note["bbox"]
            dx, dy, dw, dh = rng.normal(0, 0.1, 4) * [w, h, w, h]
            mask = np.roll(truth_api.annToMask(note), (int(dy), int(dx)), axis=(0, 1))
            mask[:, int(x + w * rng.uniform(0.7, 1.5)) :] = 0
            rle = coco_mask.encode(np.asfortranarray(mask))
            wrong = rng.random() < 0.1
            row = {
                "image_id": note["image_id"],
                "category_id": int(rng.choice(categories)) if wrong else note["category_id"],
                "score": float(np.round(rng.random(), 2)),  # ties on purpose
            }
            box = [x + dx, y + dy, max(w + dw, 1.0), max(h + dh, 1.0)]
            segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
            rows.append((row | {"bbox": box}, row | {"segmentation": segmentation}))
    return dict(zip(("bbox", "segm"), map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["coco", "pennfudan"])
def test_a_noisy_results_file_scores_as_in_pycocotools_to_the_last_digit(name, seed, capsys):
    path = DATA / name / "val.json"
    if not path.exists():
        pytest.skip(f"real data not found: {path} (set DPRD_DATA_DIR)")
    ground_truth = json.loads(path.read_text())
    ground_truth["categories"].append({"id": 900, "name": "absent"})  # found, but never there
    first = ground_truth["images"][0]["id"]  # an image without objects
    ground_truth["annotations"] = [row for row in ground_truth["annotations"] if row["image_id"] != first]
    if name == "pennfudan":
        ground_truth["annotations"][3]["iscrowd"] = 1
    assert any(row["iscrowd"] for row in ground_truth["annotations"])
    results = noisy_masks(ground_truth, seed)
    results["bbox"].append({"image_id": first, "category_id": 900, "bbox": [1, 2, 30, 40], "score": 0.9})
    for kind in ("bbox", "segm"):
        arrays = accumulate(
            ground_truth,
            results[kind],
            kind,
            image_ids=[row["id"] for row in ground_truth["images"]],
            category_ids=tuple(row["id"] for row in ground_truth["categories"]),
        )
        assert 0.05 < arrays.stats[0] < 0.95
        assert (arrays.precision[:, :, -1] == -1).all()  # the absent class
        assert_same_bits(arrays, reference(ground_truth, results[kind], kind))


@pytest.mark.parametrize("objects", [1, 2, 3, 99, 100, 101, 150, 350])
@pytest.mark.parametrize("hit_rate", [0.3, 0.9, 1.0])
def test_few_and_many_objects_score_as_in_pycocotools_to_the_last_digit(objects, hit_rate, capsys):
    # the first right, the next wrong: pycocotools' precision is then 1 / (1 + 2^-52), whatever the recalls
    for seed in range(4):
        rng = np.random.default_rng([objects, seed])
        images = [{"id": n, "height": 400, "width": 400} for n in range(1 + objects // 20)]
        notes, found = [], []
        for number in range(objects):
            place = {"image_id": number % len(images), "category_id": int(rng.integers(1, 3))}
            x, y, side = (float(v) for v in (*rng.uniform(0, 250, 2), rng.choice([20, 60, 120])))
            note = {"id": number + 1, "bbox": [x, y, side, side], "area": side * side}
            notes.append(place | note | {"iscrowd": int(rng.random() < 0.1)})
            if rng.random() > hit_rate:
                x += side
            box = [x, y, side * float(rng.uniform(0.7, 1)), side]
            found.append(place | {"bbox": box, "score": float(rng.random())})
        truth_dict = {
            "images": images,
            "annotations": notes,
            "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        }
        ids = [row["id"] for row in images]
        arrays = accumulate(truth_dict, found, "bbox", image_ids=ids, category_ids=(1, 2))
        assert_same_bits(arrays, reference(truth_dict, found, "bbox"))
