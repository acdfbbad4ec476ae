import torch

from dprd_cli.model.matching import label_anchors, match_boxes, sample_labels

GT = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])


def test_match_boxes_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 5], [19, 20, 29, 30], [50, 50, 60, 60]])
    iou, index = match_boxes(boxes, GT)
    # 50/100; 90/110; nothing
    torch.testing.assert_close(iou, torch.tensor([0.5, 90 / 110, 0.0]))
    assert index[:2].tolist() == [0, 1]


def test_nothing_to_match():
    iou, index = match_boxes(GT, torch.zeros(0, 4))
    assert iou.tolist() == [0, 0]
    assert index.tolist() == [0, 0]
    assert len(match_boxes(torch.zeros(0, 4), GT)[0]) == 0


def test_best_anchor_of_each_object_is_positive_even_below_the_threshold():
    anchors = torch.tensor([[0.0, 0, 10, 9], [20, 20, 25, 30], [20, 20, 24, 30], [80, 80, 90, 90]])
    labels, index = label_anchors(anchors, GT, 0.7, 0.3)
    # IoU 0.9; 0.5 (best of object 1); 0.4 (between); 0
    assert labels.tolist() == [1, 1, -1, 0]
    assert index[:3].tolist() == [0, 1, 1]


def test_anchors_without_objects_are_background():
    labels, _ = label_anchors(GT, torch.zeros(0, 4), 0.7, 0.3)
    assert labels.tolist() == [0, 0]


def test_sampling_keeps_the_share_and_never_takes_ignored():
    labels = torch.tensor([1] * 10 + [0] * 100 + [-1] * 50)
    positive, negative = sample_labels(labels, 16, 0.25)
    assert len(positive) == 4
    assert len(negative) == 12
    assert (labels[positive] == 1).all()
    assert (labels[negative] == 0).all()
    positive, negative = sample_labels(torch.tensor([-1, -1]), 16, 0.25)
    assert len(positive) == len(negative) == 0
