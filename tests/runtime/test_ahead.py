from itertools import count

import pytest

from dprd_cli.errors import DataError
from dprd_cli.runtime.ahead import ahead


def test_reading_ahead_keeps_order_and_stops_when_left():
    started = []

    def task(number):
        started.append(number)
        return number

    tasks = (lambda number=number: task(number) for number in count())
    found = ahead(tasks, workers=3, depth=4)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    found.close()
    assert 5 <= len(started) <= 10  # five taken, at most four more and one on its way
    assert list(ahead([], workers=2, depth=2)) == []


def test_an_error_while_reading_ahead_comes_at_its_turn():
    def fail():
        raise DataError("second")

    found = ahead([lambda: 1, fail, lambda: 3], workers=2, depth=2)
    assert next(found) == 1
    with pytest.raises(DataError, match="second"):
        next(found)
