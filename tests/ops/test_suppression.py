import pytest
import torch
from torchvision.ops import batched_nms, nms

from dprd_cli.ops.suppression import apart, suppress


def crowd(groups):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(600, 2, generator=generator) * 300
    boxes = torch.cat((corner, corner + 20 + 60 * torch.rand(600, 2, generator=generator)), dim=1)
    scores = torch.rand(600, generator=generator)
    return boxes, scores, torch.randint(groups, (600,), generator=generator)


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


def test_groups_lie_side_by_side_and_one_above_the_other():
    boxes = torch.tensor([[0.0, 0, 9, 5]]).repeat(5, 1)
    moved = apart(boxes, torch.arange(5), 5)
    # three across, ten pixels apart
    assert moved[:, :2].tolist() == [[0, 0], [10, 0], [20, 0], [0, 10], [10, 10]]
    assert torch.equal(moved[:, 2:] - moved[:, :2], boxes[:, 2:])


def test_nothing_to_suppress():
    boxes, scores, group = crowd(1)
    assert suppress(boxes[:0], scores[:0], group[:0], 3, 0.5).tolist() == []
