"""The order of training is a function of the seed and of nothing that has happened."""

import numpy as np

from dprd_cli.data.image_order import ImageOrder, Visit

FACTORS = np.array([1.0, 2.4, 1.0, 1.3, 3.8, 1.0])  # sums to 10.5


def epochs(order, count):
    length = order.epoch_length
    return [[order[length * epoch + place] for place in range(length)] for epoch in range(count)]


def test_each_epoch_is_a_permutation():
    seen = epochs(ImageOrder(3, 9), 4)
    assert all(sorted(visit.image for visit in epoch) == list(range(9)) for epoch in seen)
    assert all(visit.epoch == number for number, epoch in enumerate(seen) for visit in epoch)
    assert len({tuple(visit.image for visit in epoch) for epoch in seen}) == 4
    assert all(visit.repeat == 0 for epoch in seen for visit in epoch)


def test_an_epoch_with_repeats():
    order = ImageOrder(3, 6, FACTORS)
    assert order.epoch_length == 11
    seen = epochs(order, 12)
    for epoch in seen:
        assert len(set(epoch)) == len(epoch)  # each repeat has its number
        assert {visit.image for visit in epoch} == set(range(6))
        for image in range(6):
            repeats = sorted(visit.repeat for visit in epoch if visit.image == image)
            assert repeats == list(range(len(repeats)))
            assert len(repeats) >= int(FACTORS[image])
    counts = {tuple(sorted(visit.image for visit in epoch)) for epoch in seen}
    assert len(counts) > 1  # what is repeated is drawn anew


def test_the_order_is_a_function_of_the_seed():
    first, again = ImageOrder(5, 6, FACTORS), ImageOrder(5, 6, FACTORS.copy())
    backwards = [again[position] for position in reversed(range(44))]
    assert [first[position] for position in range(44)] == backwards[::-1]
    other = ImageOrder(6, 6, FACTORS)
    assert [other[position] for position in range(44)] != backwards[::-1]


def test_factors_of_one_leave_the_order_as_it_is():
    plain, repeated = ImageOrder(5, 6), ImageOrder(5, 6, np.ones(6))
    assert [plain[position] for position in range(30)] == [repeated[position] for position in range(30)]


def test_from_a_position_on_the_epoch_comes_round():
    order = ImageOrder(0, 4)
    epoch = epochs(order, 2)[1]
    assert list(order.from_position(6)) == [*epoch[2:], *epoch[:2]]
    assert order[6] == Visit(1, epoch[2].image)
