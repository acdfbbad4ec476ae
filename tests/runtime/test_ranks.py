"""Which of a job's processes this one is."""

import pytest

from dprd_cli.runtime.ranks import (
    is_launched,
    local_rank,
    local_size,
    rank,
    rank_slice,
    restart_count,
    world_size,
)

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def places(monkeypatch, **variables):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return rank(), world_size(), local_rank(), local_size()


def test_torchrun_s_variables_are_read(monkeypatch):
    job = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert places(monkeypatch, **job) == (5, 8, 1, 4)


def test_on_one_machine_the_rank_is_the_local_one(monkeypatch):
    assert places(monkeypatch, RANK="1", WORLD_SIZE="2") == (1, 2, 1, 2)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WORLD_SIZE": "4"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "many"},
        {"RANK": "0", "WORLD_SIZE": "²"},
    ],
)
def test_all_else_is_a_single_process(monkeypatch, variables):
    assert places(monkeypatch, **variables) == (0, 1, 0, 1)


def test_how_often_a_launcher_has_started_the_job_again(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    assert (is_launched(), restart_count()) == (False, 0)
    for text, count in (("0", 0), ("2", 2), ("many", 0)):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", text)
        assert (is_launched(), restart_count()) == (True, count)


def test_shares_are_even_and_nest():
    for total in range(30):
        for size in range(1, 6):
            shares = [rank_slice(total, rank, size) for rank in range(size)]
            assert [item for share in shares for item in share] == list(range(total))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
            for number, share in enumerate(shares):
                parts = [rank_slice(total, number * 3 + part, size * 3) for part in range(3)]
                assert [item for part in parts for item in part] == list(share)
