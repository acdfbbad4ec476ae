"""Which detections of two networks are of one object."""

import torch

from dprd_cli.gradcam.comparison import compare, match_objects
from dprd_cli.gradcam.explainer import Explainer
from tiny_model import IMAGE, PRESETS, tiny_model


def test_objects_match_by_class_name_and_overlap_once_each():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]])
    others = torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]])
    # object 0 has IoU 0.9 with other 0, and 1 with other 1; object 1 then 8/9 with other 0; the last differs
    assert match_objects(boxes, ["a", "a", "a"], others, ["A", "a", "b"]) == [1, 0, None]
    assert match_objects(boxes, ["a"] * 3, torch.zeros(0, 4), []) == [None] * 3
    # 10 x 4 of 10 x 10 is IoU 0.4
    assert match_objects(boxes[:1], ["a"], torch.tensor([[0.0, 0, 10, 4]]), ["a"]) == [None]


def test_objects_of_both_networks_then_those_of_the_second_alone():
    first, second = (Explainer(tiny_model(preset)) for preset in PRESETS[:2])
    both = compare(IMAGE, [first, second], 2, all_found=True)
    assert 2 <= len(both) <= 4
    assert all(len(found.evidence) == 2 and any(found.evidence) for found in both)
    assert all(found.evidence[0] is not None for found in both[:2])  # the first network's best two
    assert all(found.evidence[0] is None for found in both[2:])
    alone = compare(IMAGE, [first, second], 2)
    assert [one.name for one in alone] == [one.name for one in both[:2]]
    first.min_score = 1.0
    assert compare(IMAGE, [first, second], 2) == []


def test_evidence_is_in_the_image_s_frame():
    (one,) = compare(IMAGE, [Explainer(tiny_model())], 1)
    (evidence,) = one.evidence
    assert evidence.heatmap.values.shape == IMAGE.shape[:2]
    assert evidence.part_boxes.shape == (4, 4)
    x1, y1, x2, y2 = evidence.box.tolist()
    assert 0 <= x1 < x2 <= 90
    assert 0 <= y1 < y2 <= 70
    assert evidence.share_in_box is None or 0 <= evidence.share_in_box <= 1
