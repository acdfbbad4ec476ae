"""Several processes train as one does, and end together whatever befalls one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_faults import SERVER, TESTS

from dprd_cli.checkpoint import read_checkpoint
from dprd_cli.ranks import rank_slice
from dprd_cli.training.logging import read_metrics

START = ["train", "--config", str(TESTS / "tiny.toml"), "--set", "train.batch_size=6"]
TIMES = ("seconds_per_step", "data_wait", "seconds_per_image")
AT_MOST = 30  # seconds in which all ranks must have ended


class Server:
    """Runs command lines in one or more children of one process that has imported torch already."""

    def __init__(self, folder):
        self.folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
        self.process = subprocess.Popen(
            SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def live(self, ranks, *argv, faults=()):
        """Run a command line; return the ranks' exit codes (or minus the signal) and lines."""
        errors = self.folder / "stderr.txt"
        names = ("rank", "at", "number", "signal")
        order = {"argv": argv, "stderr": str(errors), "kill": AT_MOST, "ranks": ranks}
        order["faults"] = [dict(zip(names, fault, strict=True)) for fault in faults]
        print(json.dumps(order), file=self.process.stdin, flush=True)
        codes = json.loads(self.process.stdout.readline())["code"]
        return codes, [Path(f"{errors}.{rank}").read_text().splitlines() for rank in range(ranks)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.process.stdin.close()
    started.process.wait(timeout=60)


def run(server, ranks, folder, *more, codes=0, faults=()):
    argv = [*START, *more, "--out", str(folder)]
    found, lines = server.live(ranks, *argv, faults=faults)
    expected = [codes] * ranks if isinstance(codes, int) else codes
    assert found == expected, lines
    return lines


def largest_difference(one, other):
    """Of weights and of running statistics."""
    mine, theirs = (read_checkpoint(folder / "last.pt")["model"] for folder in (one, other))
    weights = statistics = 0.0
    for key, value in mine.items():
        apart = (value.double() - theirs[key].double()).abs().max().item()
        if "running" in key or "mean_offsets" in key:
            statistics = max(statistics, apart)
        else:
            weights = max(weights, apart)
    return weights, statistics


def metrics(folder):
    rows = read_metrics(folder / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def results(path):
    return {key: value for key, value in json.loads(path.read_text()).items() if key not in TIMES}


def test_shares_are_even_and_nest():
    for total in range(30):
        for size in range(1, 6):
            shares = [rank_slice(total, rank, size) for rank in range(size)]
            assert [item for share in shares for item in share] == list(range(total))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
            for rank, share in enumerate(shares):
                parts = [rank_slice(total, rank * 3 + part, size * 3) for part in range(3)]
                assert [item for part in parts for item in part] == list(share)


def test_two_ranks_are_one_process_with_two_passes_to_the_bit(server, tmp_path):
    more = ["--set", "train.ema=0.9", "--set", "train.clip_norm=1", "--set", "train.eval_every=2"]
    run(server, 1, tmp_path / "one", *more, "--set", "train.accumulate=2")
    lines = run(server, 2, tmp_path / "two", *more)
    weights, statistics = largest_difference(tmp_path / "one", tmp_path / "two")
    assert weights == 0  # a sum of two has no order
    assert statistics < 1e-6
    assert metrics(tmp_path / "one") == metrics(tmp_path / "two")
    assert results(tmp_path / "one" / "results.json") == results(tmp_path / "two" / "results.json")
    assert "2 processes share the 6 pictures of a step" in lines[0]
    assert lines[1] == []


def test_four_ranks_of_uneven_shares_are_one_process_with_four_passes(server, tmp_path):
    run(server, 1, tmp_path / "one", "--set", "train.accumulate=4")
    run(server, 4, tmp_path / "four")
    # four numbers added in another order; the losses fall in steps of that size
    assert max(largest_difference(tmp_path / "one", tmp_path / "four")) < 1e-5
    for mine, theirs in zip(metrics(tmp_path / "one"), metrics(tmp_path / "four"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_a_run_resumes_in_another_number_of_processes(server, tmp_path):
    halves = ["--set", "train.accumulate=2"]
    run(server, 1, tmp_path / "whole", *halves)
    stop = [(1, "step", 3, int(signal.SIGTERM))]
    lines = run(server, 2, tmp_path / "broken", codes=143, faults=stop)
    assert lines[0][-1].startswith("error: rank 0: stopped at step 3 and saved; continue with: dprd train")
    assert lines[1] == []  # the main rank speaks for all
    codes, lines = server.live(1, "train", "--resume", str(tmp_path / "broken"), *halves)
    assert codes == [0], lines
    assert largest_difference(tmp_path / "whole", tmp_path / "broken")[0] == 0


def test_a_signal_to_one_rank_stops_all_in_the_evaluation_too(server, tmp_path):
    lines = run(server, 2, tmp_path / "run", codes=130, faults=[(1, "detect", 1, int(signal.SIGINT))])
    assert lines[0][-1].startswith("error: rank 0: stopped at step 4 and saved")


LOST = (
    "error: rank {}: another process of this job has ended, or did not answer in time (DPRD_RANK_TIMEOUT); "
    "its own message says why"
)


@pytest.mark.parametrize("dies", [0, 1])
def test_a_rank_that_is_killed_ends_the_others(server, tmp_path, dies):
    started = time.monotonic()
    codes = [1, 1, 1]
    codes[dies] = -9
    lines = run(server, 3, tmp_path / "run", codes=codes, faults=[(dies, "step", 2, int(signal.SIGKILL))])
    assert time.monotonic() - started < AT_MOST
    assert all(lines[rank][-1] == LOST.format(rank) for rank in range(3) if rank != dies)
    assert read_checkpoint(tmp_path / "run" / "last.pt")["step"] == 1


def test_a_rank_that_hangs_ends_the_others(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DPRD_RANK_TIMEOUT", "1")
    own = Server(tmp_path)
    codes, lines = own.live(
        2, *START, "--out", str(tmp_path / "r"), faults=[(1, "step", 2, int(signal.SIGSTOP))]
    )
    own.process.stdin.close()
    assert codes == [1, -9]  # the stopped one is killed by the test, when its time is over
    assert lines[0][-1] == LOST.format(0)


def test_a_data_error_on_one_rank_is_said_by_it(server, tmp_path):
    lines = run(server, 2, tmp_path / "run", codes=[1, 3], faults=[(1, "step", 2, "error")])
    assert lines[0][-1] == LOST.format(0)
    assert lines[1] == ["error: rank 1: sabotage.png: cannot be read"]


def test_a_nan_on_one_rank_ends_all_with_4(server, tmp_path):
    started = time.monotonic()
    lines = run(server, 3, tmp_path / "run", codes=4, faults=[(2, "step", 3, "nan")])
    assert time.monotonic() - started < AT_MOST
    assert lines[0][-1].startswith("error: rank 0: step 2: not finite: loss_")
    assert lines[1] == lines[2] == []
    written = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert len(written["image_ids"]) == 6  # of all ranks
    assert read_checkpoint(tmp_path / "run" / "last.pt")["step"] == 2


def test_fewer_pictures_than_passes_are_refused(server, tmp_path):
    lines = run(server, 2, tmp_path / "run", "--set", "train.accumulate=4", codes=2)
    assert lines[0][-1] == (
        "error: rank 0: train.batch_size=6: the pictures of a step over all processes; at least 8 for 2 "
        "processes with train.accumulate=4"
    )
    assert not (tmp_path / "run").exists()


def test_gpus_is_the_same_command_in_processes(tmp_path):
    started = [sys.executable, "-m", "dprd_cli", *START, "--steps", "1", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*started, "--gpus", "2", "--out", str(tmp_path / "run"), "--set", "train.lr=1e30", "--json"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    # one step from a huge rate: the evaluation of what is not finite finds nothing, and the run is whole
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 1
    assert "2 processes share the 6 pictures of a step" in done.stderr
