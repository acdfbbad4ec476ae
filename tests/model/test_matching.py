import torch

from dprd_cli.model.matching import Objects, label_anchors, match_boxes, numbered, sample_labels
from dprd_cli.structures.detections import Target

GT = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
LABELS = torch.tensor([3, 4])


def objects(*boxes):
    return Objects.of([Target(one, LABELS[: len(one)], (64, 64)) for one in boxes])


def test_match_boxes_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 5], [19, 20, 29, 30], [50, 50, 60, 60]])
    iou, index = match_boxes(boxes, torch.zeros(3, dtype=torch.int64), objects(GT))
    # 50/100; 90/110; nothing
    torch.testing.assert_close(iou, torch.tensor([0.5, 90 / 110, 0.0]))
    assert index[:2].tolist() == [0, 1]


def test_boxes_match_objects_of_their_image_alone():
    image = torch.tensor([0, 1, 1, 2])
    iou, index = match_boxes(GT[[0, 0, 1, 1]], image, objects(GT[:1], GT[:0], GT))
    assert iou.tolist() == [1, 0, 0, 1]  # the second image has none
    assert index[[0, 3]].tolist() == [0, 2]


def test_nothing_to_match():
    image = torch.tensor([0, 1])
    iou, index = match_boxes(GT, image, objects(GT[:0], GT[:0]))
    assert iou.tolist() == [0, 0]
    assert index.tolist() == [0, 0]
    assert len(match_boxes(GT[:0], image[:0], objects(GT, GT))[0]) == 0


def test_numbers_of_images():
    assert numbered([2, 0, 1], GT.device).tolist() == [0, 0, 2]
    assert numbered([], GT.device).dtype == torch.int64


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
    labels = torch.tensor([[1] * 10 + [0] * 100 + [-1] * 50, [1] * 2 + [0] * 5 + [-1] * 153])
    draw = sample_labels(labels, 16, 0.25)
    assert draw.positives == 4
    found = labels.gather(1, draw.entries)
    assert (found[:, :4][draw.drawn[:, :4]] == 1).all()
    assert (found[:, 4:][draw.drawn[:, 4:]] == 0).all()
    assert draw.drawn[:, :4].sum(dim=1).tolist() == [4, 2]
    assert draw.drawn[:, 4:].sum(dim=1).tolist() == [12, 5]  # what is missing of 16, or all there are
    for index, drawn in zip(draw.entries, draw.drawn, strict=True):
        assert len(index[drawn].unique()) == drawn.sum()
    assert not sample_labels(torch.tensor([[-1, -1]]), 16, 0.25).drawn.any()
    assert sample_labels(torch.zeros(2, 0), 16, 0.25).entries.shape == (2, 0)


def test_every_entry_is_as_likely_as_the_others():
    torch.manual_seed(0)
    labels = torch.tensor([1] * 4 + [0] * 12).repeat(4000, 1)
    draw = sample_labels(labels, 8, 0.25)
    often = torch.zeros(16).index_add(0, draw.entries[draw.drawn], torch.ones(int(draw.drawn.sum())))
    # 2 of 4 and 6 of 12: each half of the time; 0.008 is a standard deviation
    torch.testing.assert_close(often / 4000, torch.full((16,), 0.5), atol=0.04, rtol=0)
