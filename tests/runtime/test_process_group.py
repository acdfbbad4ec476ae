"""What the processes of a job tell each other."""

import pytest
import torch

from dprd_cli.errors import DataError, UsageError
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup, join_process_group, raising_rank_lost
from ranks import collectives, in_ranks, lose_a_rank


def test_every_operation_gives_what_its_name_says():
    found = in_ranks(3, collectives)
    assert [one.pop("main") for one in found] == [True, False, False]
    assert [one.pop("gather") for one in found] == [["of 0", "of 1", "of 2"], [], []]
    assert [one.pop("main_first") for one in found] == [[0], [1], [2]]
    # 0.5 + 1.5 + 2.5; 10, 9 and 8
    assert found == [{"sum": [4.5, 3.0], "max": 10, "broadcast": {"called on": 0}}] * 3


def test_a_single_process_is_a_group_of_one_that_needs_no_connection():
    assert collectives(SINGLE_PROCESS) == {
        "main": True,
        "sum": [0.5, 1.0],
        "max": 10,
        "gather": ["of 0"],
        "broadcast": {"called on": 0},
        "main_first": [0],
    }
    with join_process_group("cpu") as group:
        assert group is SINGLE_PROCESS
    assert not torch.distributed.is_initialized()


def test_a_rank_that_left_is_told_in_a_line():
    here, left = in_ranks(2, lose_a_rank)
    assert left == "left"
    assert here.startswith("another process of this job has ended, or did not answer in time")


def test_the_main_rank_tells_an_error_of_all():
    error = DataError("no images")
    assert ProcessGroup(0, 2).shared_error(error) is error
    silent = ProcessGroup(1, 2).shared_error(error)
    assert isinstance(silent, SystemExit)
    assert silent.code == error.exit_code


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), RuntimeError("can't allocate memory")])
def test_errors_of_the_network_stay_what_they_are(error):
    with pytest.raises(RuntimeError) as caught, raising_rank_lost():
        raise error
    assert caught.value is error


def test_a_timeout_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("DPRD_RANK_TIMEOUT", "soon")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="DPRD_RANK_TIMEOUT=soon: expected a number of seconds"), \
            join_process_group("cpu"):  # fmt: skip
        pass
