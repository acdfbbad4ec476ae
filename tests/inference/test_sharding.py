"""Shares are whole batches, and what processes found comes together in order."""

from functools import partial

import pytest

from dprd_cli.inference.sharding import merge_in_order, own_batches
from dprd_cli.runtime.ahead import ahead
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_shares_are_disjoint_whole_batches_and_together_all(count, batch_size):
    numbers = range(23)
    shares = [own_batches(numbers, batch_size, index, count) for index in range(count)]
    assert sorted(number for share in shares for number in share) == list(numbers)
    for share in shares:
        for start in range(0, len(share), batch_size):
            batch = share[start : start + batch_size]
            assert batch == list(range(batch[0], batch[0] + len(batch)))
            assert batch[0] % batch_size == 0


class Recorded(ProcessGroup):
    """The main process of a job whose other processes found what is given."""

    def __init__(self, others):
        super().__init__(0, len(others) + 1)
        self.others = [iter(other) for other in others]
        self.meetings = 0

    def gather(self, item):
        self.meetings += 1
        length = len(item)
        return [item, *([next(other) for _ in range(length)] for other in self.others)]

    def all_reduce_max(self, value):
        return int(value)


def found(numbers):
    return [(number, f"image {number}") for number in numbers]


def test_two_processes_give_all_images_in_order():
    numbers = range(64)
    shares = [found(own_batches(numbers, 2, index, 2)) for index in range(2)]
    group = Recorded([shares[1]])
    merged = list(merge_in_order(iter(shares[0]), numbers, 2, group, lambda: False, make=iter))
    assert merged == found(numbers)
    assert group.meetings == 2  # every 16 images of a process


def test_all_stop_together_after_a_meeting():
    numbers = range(64)
    shares = [found(own_batches(numbers, 2, index, 2)) for index in range(2)]
    merged = list(merge_in_order(iter(shares[0]), numbers, 2, Recorded([shares[1]]), lambda: True, make=iter))
    assert merged == found(range(32))


def test_a_single_process_stops_after_the_image_at_hand():
    seen = []

    def stopped():
        return len(seen) == 2

    for item in merge_in_order(iter(found(range(5))), range(5), 1, SINGLE_PROCESS, stopped, make=iter):
        seen.append(item)
    assert seen == found(range(2))


def test_what_was_taken_ahead_is_yielded_when_the_program_stops():
    seen, taken = [], []

    def make(items):
        return ahead((partial(lambda item: taken.append(item) or item, item) for item in items), 1, 2)

    items, numbers = iter(found(range(9))), range(9)
    for item in merge_in_order(items, numbers, 1, SINGLE_PROCESS, lambda: len(seen) == 2, make=make):
        seen.append(item)
    assert seen == taken == found(range(len(seen)))
    assert 2 <= len(seen) <= 5
