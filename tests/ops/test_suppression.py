import pytest
import torch
from torchvision.ops import batched_nms, nms

from dprd_cli.ops.suppression import apart, suppress


def crowd(groups, boxes=600):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(boxes, 2, generator=generator) * 300
    sides = 20 + 60 * torch.rand(boxes, 2, generator=generator)
    scores = torch.rand(boxes, generator=generator)
    group = torch.randint(groups, (boxes,), generator=generator)
    return torch.cat((corner, corner + sides), dim=1), scores, group


@pytest.mark.parametrize("groups", [1, 2, 7, 20])
def test_all_in_one_call_is_group_after_group(groups):
    boxes, scores, group = crowd(groups)
    one_by_one = torch.cat(
        [
            mine[nms(boxes[mine], scores[mine], 0.5)]
            for g in range(groups)
            for mine in [(group == g).nonzero()[:, 0]]
        ]
    )
    expected = one_by_one[scores[one_by_one].argsort(descending=True)]
    assert len(expected) < 600
    assert torch.equal(nms(apart(boxes, group, groups), scores, 0.5), expected)
    assert torch.equal(suppress(boxes, scores, group, groups, 0.5), expected)
    assert torch.equal(suppress(boxes, scores, group, groups, 0.5), batched_nms(boxes, scores, group, 0.5))


@pytest.mark.parametrize("threads", [1, 3])
def test_several_groups_at_once_are_group_after_group(threads):
    boxes, scores, group = crowd(7, 2000)
    scores[100:200] = 0.5  # ties
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        kept = suppress(boxes, scores, group, 9, 0.5)  # of two groups there are none
    finally:
        torch.set_num_threads(before)
    expected = batched_nms(boxes, scores, group, 0.5)
    assert len(expected) < 2000
    assert torch.equal(kept.sort().values, expected.sort().values)
    assert torch.equal(scores[kept], scores[expected])


def test_groups_lie_side_by_side_and_one_above_the_other():
    boxes = torch.tensor([[0.0, 0, 9, 5]]).repeat(5, 1)
    moved = apart(boxes, torch.arange(5), 5)
    # three across, ten pixels apart
    assert moved[:, :2].tolist() == [[0, 0], [10, 0], [20, 0], [0, 10], [10, 10]]
    assert torch.equal(moved[:, 2:] - moved[:, :2], boxes[:, 2:])


def test_nothing_to_suppress():
    boxes, scores, group = crowd(1)
    assert suppress(boxes[:0], scores[:0], group[:0], 3, 0.5).tolist() == []
