"""What the ranks of a job put together in a step."""

import pytest

from dprd_cli.runtime.process_group import SINGLE_PROCESS
from ranks import in_ranks, running_statistics, scalar_sums


def test_scalars_are_summed_and_a_rank_may_lack_some():
    first = [{"loss": 1.0}, {"loss": 1.0, "num_fg": 4.0}, {"loss": 2.0}]
    second = [{"loss": 0.5, "part_iou": 0.25}, {"loss": 3.0}, {"loss": 0.0}]
    expected = [{"loss": 1.5, "part_iou": 0.25}, {"loss": 4.0, "num_fg": 4.0}, {"loss": 2.0}]
    assert in_ranks(2, scalar_sums, [first, second]) == [expected, expected]
    assert scalar_sums(SINGLE_PROCESS, [first]) == first


@pytest.mark.parametrize("size", [2, 4])
def test_running_statistics_go_on_as_if_the_passes_had_followed_each_other(size):
    one = running_statistics(SINGLE_PROCESS, 4)
    several = in_ranks(size, running_statistics, 4)
    assert all(statistics == several[0] for statistics in several)
    assert one["norm.num_batches_tracked"] == several[0]["norm.num_batches_tracked"] == 8
    for key, values in one.items():
        assert several[0][key] == pytest.approx(values, abs=1e-6)
