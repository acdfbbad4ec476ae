"""Calls on several threads."""

import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dprd_cli.ops.threads import at_once


@pytest.fixture(params=[1, 2, 4])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_are_in_order_and_without_gradient(threads):
    weight = torch.ones(3, requires_grad=True)
    results = at_once(lambda number, factor: number * factor * weight, [(1, 2.0), (3, 4.0), (5, 6.0)])
    assert [result.tolist() for result in results] == [[2] * 3, [12] * 3, [30] * 3]
    assert not any(result.requires_grad for result in results)
    assert at_once(lambda: None, []) == []


def test_no_more_at_once_than_an_operator_may_have_threads(threads):
    met = threading.Barrier(threads)  # as many have to be there for any to go on
    used = at_once(lambda: (met.wait(20), threading.get_ident())[1], [()] * threads)
    assert len(set(used)) == threads


def test_where_operators_are_watched_all_are_seen(threads):
    class Seen(TorchDispatchMode):
        names = ()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names += (func.overloadpacket.__name__,)
            return func(*args, **kwargs or {})

    with Seen() as seen:
        at_once(torch.sin, [(torch.ones(2),)] * threads)
    assert seen.names.count("sin") == threads


def test_what_a_call_raises_is_raised(threads):
    with pytest.raises(ZeroDivisionError):
        at_once(lambda number: 1 / number, [(1,), (0,)])
