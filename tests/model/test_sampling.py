import pytest
import torch

from dprd_cli.model.matching import Objects
from dprd_cli.model.rois import LabeledRoIs, RoIFeatures, RoIs
from dprd_cli.model.rpn import Proposals
from dprd_cli.model.sampling import RoISampler
from dprd_cli.structures.detections import Target

K = 5
OBJECT = torch.tensor([[10.0, 10, 30, 30]])
MASK = torch.zeros(1, 64, 64, dtype=torch.bool)
MASK[0, 10:20, 10:30] = True  # its upper half
TARGETS = [
    Target(OBJECT, torch.tensor([2]), (64, 64), MASK),
    Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (64, 64)),
    Target(OBJECT + 20, torch.tensor([4]), (64, 64)),
]
OBJECTS = Objects.of(TARGETS)


def sampler(**settings):
    usual = {"num_classes": K, "rois_per_image": 8, "positive_fraction": 0.5, "bg_iou_low": 0.1}
    return RoISampler(**{**usual, **settings})


def proposals(*boxes):
    index = torch.arange(2 * len(boxes)).view(-1, 2)
    return Proposals(torch.tensor(boxes), torch.zeros(len(boxes)), index)


def locate(boxes, image_index, table):
    return torch.full((len(boxes), 2), 77)


FEATURES = RoIFeatures(None, None, torch.tensor([[64.0, 64.0]] * 3), locate)


def test_objects_join_the_proposals_and_what_hardly_overlaps_is_not_drawn():
    torch.manual_seed(0)
    # IoU with the first object: 360/400 (an object), 10 x 12 / 520 (background), 0 (never drawn)
    each = proposals([10.0, 10, 30, 28], [20.0, 10, 40, 22], [0.0, 50, 5, 60])
    labeled = sampler().sample([each, each, each], OBJECTS, 0.5, FEATURES)
    values = (labeled.rois.image_index, labeled.labels, labeled.gt_index)
    rows = list(zip(*(value.tolist() for value in values), strict=True))
    assert rows.count((0, 2, 0)) == 2  # the proposal and the object itself
    assert rows.count((0, K, 0)) == 1
    assert [label for image, label, _ in rows if image == 1] == [K] * 3  # all, where there is no object
    assert [row for row in rows if row[0] == 2] == [(2, 4, 1)]  # the object alone, the batch's second
    assert labeled.rois.anchor_index[labeled.labels == 4].tolist() == [[77, 77]]  # of no proposal: looked up


def test_no_more_objects_than_their_share():
    torch.manual_seed(0)
    many = proposals(*[[10.0, 10, 30, 28 + k / 100] for k in range(9)])
    labeled = sampler(rois_per_image=4).sample([many], Objects.of(TARGETS[:1]), 0.5, FEATURES)
    assert labeled.labels.tolist() == [2, 2]  # half of four; there is no background


def test_a_higher_threshold_makes_background():
    rois = RoIs(
        torch.tensor([[10.0, 10, 30, 28], [10, 10, 30, 22], [30, 30, 50, 50]]),
        torch.tensor([0, 0, 2]),
        torch.zeros((3, 2), dtype=torch.int64),
    )
    # IoU 0.9, 0.6 and 1
    assert sampler().relabel(rois, OBJECTS, 0.5).labels.tolist() == [2, 2, 4]
    labeled = sampler().relabel(rois, OBJECTS, 0.7)
    assert labeled.labels.tolist() == [2, K, 4]
    assert labeled.gt_index.tolist() == [0, 0, 1]
    assert labeled.rois is rois


def labeled_rois():
    boxes = torch.tensor([[10.0, 10, 30, 30], [0, 0, 5, 5], [30, 30, 50, 50]])
    rois = RoIs(boxes, torch.tensor([0, 1, 2]), torch.zeros((3, 2), dtype=torch.int64))
    return LabeledRoIs(rois, torch.tensor([2, K, 4]), torch.tensor([0, 1, 1]))


def test_boxes_to_reach():
    gt_boxes = torch.cat([target.boxes for target in TARGETS])
    labeled = labeled_rois()
    reach = sampler().target_boxes(labeled, gt_boxes)
    assert torch.equal(reach, torch.stack((OBJECT[0], labeled.rois.boxes[1], OBJECT[0] + 20)))
    assert sampler().target_boxes(labeled, gt_boxes[:0]) is labeled.rois.boxes


def test_masks_are_trained_where_objects_carry_one():
    labeled = labeled_rois()
    index, counts = sampler().masked(labeled, OBJECTS)
    assert index.tolist() == [0]  # not the background, nor an object without a mask
    assert counts == [1, 0, 0]
    wanted = sampler().mask_targets(labeled.select(index), OBJECTS, counts, 4)
    assert wanted.labels.tolist() == [2]
    assert wanted.masks[0].tolist() == [[True] * 4, [True] * 4, [False] * 4, [False] * 4]
    assert wanted.areas.tolist() == [200]  # 10 x 20
    assert torch.equal(wanted.boxes, OBJECT)


@pytest.mark.parametrize(("limit", "count"), [(0, 6), (2, 2), (9, 6)])
def test_at_most_so_many_masks_an_image(limit, count):
    rois = RoIs(OBJECT.repeat(6, 1), torch.zeros(6, dtype=torch.int64), torch.zeros(6, 2))
    labeled = LabeledRoIs(rois, torch.full((6,), 2), torch.zeros(6, dtype=torch.int64))
    index, counts = sampler(mask_rois_per_image=limit).masked(labeled, Objects.of(TARGETS[:1]))
    assert counts == [len(index)] == [count]
    assert (index.diff() > 0).all()


def test_images_without_objects_may_have_no_background():
    torch.manual_seed(0)
    each = proposals([10.0, 10, 30, 28])
    for bg_iou_low, drawn in ((0.1, 0), (0.0, 1)):  # below IoU 0 there is nothing
        strict = sampler(bg_from_empty=False, bg_iou_low=bg_iou_low)
        assert len(strict.sample([each], Objects.of(TARGETS[1:2]), 0.5, FEATURES).labels) == drawn


def test_masks_of_images_of_many_sizes_are_their_own():
    upper, lower = (torch.zeros(2, *size, dtype=torch.bool) for size in ((20, 40), (40, 30)))
    upper[0, :10], upper[1, :, :20] = True, True
    lower[1, 30:] = True
    boxes = torch.tensor([[0.0, 0, 20, 20], [20, 0, 40, 20]])
    labels = torch.tensor([0, 1])
    targets = [
        Target(boxes, labels, (20, 40), upper),
        Target(boxes[:0], labels[:0], (20, 20)),
        Target(boxes + 10, labels, (40, 30), lower),
    ]
    objects = Objects.of(targets)
    rois = RoIs(
        torch.tensor([[0.0, 0, 20, 20], [10, 0, 30, 20], [10, 20, 30, 40]]),
        torch.tensor([0, 0, 2]),
        torch.zeros((3, 2), dtype=torch.int64),
    )
    labeled = LabeledRoIs(rois, torch.tensor([0, 1, 1]), torch.tensor([0, 1, 3]))
    index, counts = sampler().masked(labeled, objects)
    assert (index.tolist(), counts) == ([0, 1, 2], [2, 0, 1])
    wanted = sampler().mask_targets(labeled, objects, counts, 2)
    yes, no = [True, True], [False, False]
    assert wanted.masks.tolist() == [[yes, no], [[True, False]] * 2, [no, yes]]
    assert wanted.areas.tolist() == [400, 400, 300]
