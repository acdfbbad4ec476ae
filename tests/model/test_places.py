"""Places of parts: geometry by hand, the marginal likelihood by brute force, and the rule of ties."""

import math

import pytest
import torch

from dprd_cli.model.parts import decompose
from dprd_cli.model.places import (
    JITTER,
    LEAST_SIDE,
    PREFERENCE,
    candidate_parts,
    choose_places,
    jittered,
    place_loss,
    place_offsets,
)
from dprd_cli.ops.boxes import clip_boxes

SIZES = torch.tensor([[100.0, 200.0]])


def test_places_of_a_part_by_hand():
    offsets = place_offsets(4, 3, 0.5)
    assert offsets.shape == (4, 9, 4)
    boxes = torch.tensor([[60.0, 40.0, 100.0, 60.0]])  # 40 x 20: a step is 20 x 10 pixels
    left = candidate_parts(boxes, offsets, SIZES)[0, 0].tolist()
    assert left[0] == [60, 40, 80, 60]  # the left half itself
    others = [[60 + x, 40 + y, 80 + x, 60 + y] for y in (-10, 0, 10) for x in (-20, 0, 20) if x or y]
    assert left[1:] == others
    upper = candidate_parts(boxes, offsets, SIZES)[0, 2].tolist()
    assert upper[1] == [40, 30, 80, 40]  # (60, 40, 100, 50), one step to the left and up


def test_places_of_other_sizes_have_the_same_middles():
    offsets = place_offsets(2, 1, 0.5, (0.5, 1.0, 2.0))
    boxes = torch.tensor([[60.0, 40.0, 100.0, 60.0]])
    left, half, double = candidate_parts(boxes, offsets, SIZES)[0, 0].tolist()
    assert left == [60, 40, 80, 60]
    assert half == pytest.approx([65, 45, 75, 55])
    assert double == pytest.approx([50, 30, 90, 70])


def test_the_first_place_is_the_reference_and_the_others_are_in_the_image():
    boxes = torch.tensor([[0.0, 0.0, 30.0, 20.0], [180.0, 90.0, 200.0, 100.0], [3.0, 3.0, 3.5, 3.5]])
    sizes = SIZES.expand(3, -1)
    places = candidate_parts(boxes, place_offsets(8, 3, 0.5), sizes)
    assert torch.equal(places[:, :, 0], clip_boxes(decompose(boxes, 8), sizes[:, None]))
    assert (places[..., :2] >= 0).all()
    assert (places[..., 2:] <= torch.tensor([200.0, 100.0])).all()
    assert (places[:2, :, 1:, 2:] - places[:2, :, 1:, :2] >= LEAST_SIDE).all()


def test_the_marginal_likelihood_is_the_sum_over_all_places():
    generator = torch.Generator().manual_seed(0)
    logits, scores = (torch.randn(3, 2, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    pi, likelihood = logits.softmax(dim=-1), scores.sigmoid()
    by_hand = []
    for roi in range(3):
        for part in range(2):
            mixture = sum(pi[roi, part, q] * likelihood[roi, part, q] for q in range(5))
            entropy = -sum(pi[roi, part, q] * pi[roi, part, q].log() for q in range(5))
            by_hand.append((-mixture.log(), entropy))
    nll, entropy = (sum(values) / 6 for values in zip(*by_hand, strict=True))
    loss = place_loss(pi.log(), likelihood.log(), 0.3)
    torch.testing.assert_close(loss.nll, nll)
    torch.testing.assert_close(loss.entropy, entropy)
    torch.testing.assert_close(loss.total, nll + 0.3 * (math.log(5) - entropy))


def test_places_alike_cost_no_bonus_and_no_object_costs_nothing():
    alike = torch.full((1, 2, 9), 1 / 9).log()
    loss = place_loss(alike, torch.zeros(1, 2, 9), 0.3)
    assert loss.total.abs() < 1e-6
    nobody = torch.zeros(0, 2, 9, requires_grad=True)
    loss = place_loss(nobody, torch.zeros(0, 2, 9), 0.3)
    loss.total.backward()
    assert (loss.total, loss.entropy) == (0, 0)


def test_the_reference_part_is_left_for_what_is_clearly_likelier():
    logits = torch.tensor([[[0.0, 0.0, 0.0], [0.0, PREFERENCE, -1.0], [0.0, PREFERENCE + 0.1, 0.0]]])
    assert choose_places(logits).tolist() == [[0, 0, 1]]
    assert choose_places(torch.tensor([[[-5.0, 0.0, 0.1]]])).tolist() == [[2]]
    assert choose_places(torch.zeros(2, 4, 1), draw=1.0).tolist() == [[0] * 4] * 2
    assert choose_places(torch.zeros(0, 4, 9), draw=1.0).shape == (0, 4)


def test_places_are_drawn_by_their_probabilities():
    torch.manual_seed(0)
    pi = torch.tensor([0.1, 0.6, 0.3])
    drawn = choose_places(pi.log().expand(2000, 4, 3), draw=1.0).flatten()
    torch.testing.assert_close(drawn.bincount() / 8000, pi, atol=0.02, rtol=0)
    some = choose_places(torch.tensor([5.0, 0.0, 0.0]).expand(2000, 4, 3) * 0, draw=0.1)
    assert (some > 0).float().mean() == pytest.approx(0.1 * 2 / 3, abs=0.01)
    torch.manual_seed(3)
    first = choose_places(torch.zeros(50, 4, 9), draw=0.5)
    torch.manual_seed(3)
    assert torch.equal(first, choose_places(torch.zeros(50, 4, 9), draw=0.5))


def test_boxes_are_shifted_alike_each_time_and_by_little():
    boxes = torch.tensor([[0.0, 0, 100, 50], [10, 10, 30, 20]])
    shifted = torch.stack(jittered(boxes))
    assert torch.equal(shifted, torch.stack(jittered(boxes)))
    torch.testing.assert_close(shifted[:, 1:], torch.stack(jittered(boxes[1:])))
    moves = (shifted - boxes) / (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    assert 0 < moves.abs().max() <= JITTER + 1e-6
    torch.testing.assert_close(moves[..., :2], moves[..., 2:])
    torch.testing.assert_close(moves[:, 0], moves[:, 1])


def test_parts_that_all_move_alike_pay_and_are_pushed_apart():
    # two parts, three places: both by the first step with 0.5 * 0.4, by the second with 0.2 * 0.5: 0.3
    places = torch.tensor([[[0.3, 0.5, 0.2], [0.1, 0.4, 0.5]]]).log()
    none = torch.zeros_like(places)
    assert (
        place_loss(places, none, 0.0, 2.0).total - place_loss(places, none, 0.0).total
    ).item() == pytest.approx(-2 * math.log(0.7), abs=1e-5)
    # both stay: that is no move
    still = torch.tensor([[[1.0, 1e-9, 1e-9]] * 2]).log()
    assert place_loss(still, none, 0.0, 2.0).total.item() == pytest.approx(0, abs=1e-5)
    # nearly sure to move alike: the push is no smaller
    logits = torch.tensor([[[0.0, 9.0, 0.0]] * 2], requires_grad=True)
    place_loss(logits.log_softmax(dim=-1), none, 0.0, 1.0).total.backward()
    assert logits.grad[..., 1].min() > 0.4
    empty = torch.zeros(0, 2, 3, requires_grad=True)
    place_loss(empty, empty, 0.0, 1.0).total.backward()
