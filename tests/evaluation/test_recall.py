import pytest
import torch

from dprd_cli.evaluation.recall import ProposalRecall


def test_hand_worked():
    recall = ProposalRecall()
    gt = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    # 6 of 10 columns -> IoU 60/100 = 0.6; 8 of 10 -> 0.8
    first = recall.best(torch.tensor([[0.0, 0.0, 6.0, 10.0], [20.0, 0.0, 28.0, 10.0]]), gt)
    second = recall.best(torch.tensor([[0.0, 0.0, 10.0, 4.0]]), gt[:1])  # 0.4
    found = recall.result([first, second])
    assert found == {"recall50": pytest.approx(2 / 3), "recall70": pytest.approx(1 / 3)}


def test_only_the_first_proposals_count():
    gt = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    proposals = torch.cat([torch.tensor([[50.0, 50.0, 60.0, 60.0]]).repeat(100, 1), gt])
    late, in_time = ProposalRecall(limit=100), ProposalRecall(limit=101)
    assert late.result([late.best(proposals, gt)])["recall50"] == 0
    assert in_time.result([in_time.best(proposals, gt)])["recall50"] == 1


def test_the_iou_itself_counts_as_reached():
    recall = ProposalRecall(ious=(0.5,))
    best = recall.best(torch.tensor([[0.0, 0.0, 10.0, 5.0]]), torch.tensor([[0.0, 0.0, 10.0, 10.0]]))
    assert recall.result([best]) == {"recall50": 1.0}


def test_empties():
    recall = ProposalRecall()
    assert recall.result([]) == {"recall50": None, "recall70": None}
    empty = recall.best(torch.zeros(5, 4), torch.zeros(0, 4))  # an image without objects changes nothing
    assert recall.result([empty]) == {"recall50": None, "recall70": None}
    missed = recall.best(torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 10.0, 10.0]]))
    assert recall.result([empty, missed]) == {"recall50": 0.0, "recall70": 0.0}
