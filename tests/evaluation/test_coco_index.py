"""What pycocotools is given: copies, numbered from 1, with what it needs."""

import copy

from pycocotools.coco import COCO

from coco_scenes import A, B, truth
from dprd_cli.evaluation.coco_index import index_coco

ROW = {"image_id": 1, "category_id": 7, "bbox": [0, 0, 4, 5], "score": 0.5}


def test_inputs_stay_as_they_are_and_ids_begin_at_1():
    tree, rows = truth((1, 7, A), (1, 3, B)), [ROW]
    tree["annotations"][0]["id"] = 0  # "not matched" to pycocotools
    before = copy.deepcopy((tree, rows))
    objects, found = index_coco(COCO, tree, rows, "bbox")
    assert (tree, rows) == before
    assert sorted(objects.anns) == [1, 2]
    assert found.anns == {1: {**ROW, "area": 20, "id": 1, "iscrowd": 0}}


def test_nothing_found_is_no_error():
    assert index_coco(COCO, truth((1, 7, A)), [], "segm")[1].anns == {}


def test_an_object_without_a_mask_is_a_region_that_masks_ignore():
    objects = index_coco(COCO, truth((1, 7, A)), [], "segm")[0]
    one = objects.anns[1]
    assert (one["iscrowd"], one["segmentation"]) == (1, [[0, 0, 20, 0, 20, 20, 0, 20]])
    assert index_coco(COCO, truth((1, 7, A)), [], "bbox")[0].anns[1]["iscrowd"] == 0
