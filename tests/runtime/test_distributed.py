"""Several processes train as one does, and end together whatever befalls one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.weights.checkpoint import read_checkpoint
from paths import FAULT_SERVER, TESTS
from training_runs import same_state

START = ["train", "--config", str(TESTS / "tiny.toml"), "--set", "train.batch_size=6"]
TIMES = ("seconds_per_step", "data_wait", "seconds_per_image")
AT_MOST = 120  # seconds in which all ranks must have ended, beside other work too


class Server:
    """Runs command lines in one or more children of one process that has imported torch already."""

    def __init__(self, folder):
        self.folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
        self.process = subprocess.Popen(
            FAULT_SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def live(self, ranks, *argv, faults=(), kill=AT_MOST, environment=None):
        """Run a command line; return the ranks' exit codes (or minus the signal) and lines."""
        errors = self.folder / "stderr.txt"
        names = ("rank", "at", "number", "signal")
        order = {"argv": argv, "stderr": str(errors), "kill": kill, "ranks": ranks}
        order["environment"] = environment or {}
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


def test_two_ranks_are_one_process_with_two_passes_to_the_bit(server, tmp_path):
    more = ["--set", "train.ema=0.9", "--set", "train.clip_norm=1", "--set", "train.eval_every=2"]
    run(server, 1, tmp_path / "one", *more, "--set", "train.accumulate=2")
    lines = run(server, 2, tmp_path / "two", *more)
    weights, statistics = largest_difference(tmp_path / "one", tmp_path / "two")
    assert weights == 0  # a sum of two has no order
    assert statistics < 1e-6
    assert metrics(tmp_path / "one") == metrics(tmp_path / "two")
    assert results(tmp_path / "one" / "results.json") == results(tmp_path / "two" / "results.json")
    assert "2 processes share the 6 images of a step" in lines[0]
    assert lines[1] == []


def test_four_ranks_of_uneven_shares_are_one_process_with_four_passes(server, tmp_path):
    # by SGD: AdamW divides by the gradient's size, and makes of a rounding error near zero a whole step
    sgd = ["--set", "train.optimizer=sgd", "--set", "train.lr=1e-3", "--set", "train.clip_norm=1"]
    run(server, 1, tmp_path / "one", *sgd, "--set", "train.accumulate=4")
    run(server, 4, tmp_path / "four", *sgd)
    # four gradients are added in another order
    assert max(largest_difference(tmp_path / "one", tmp_path / "four")) < 1e-6
    for mine, theirs in zip(metrics(tmp_path / "one"), metrics(tmp_path / "four"), strict=True):
        if mine.pop("kind") == theirs.pop("kind") == "train":
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


@pytest.fixture(scope="module")
def never_hit(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("never_hit") / "run"
    run(server, 2, folder)
    return folder


@pytest.mark.parametrize(("dies", "at", "number"), [(1, "step", 3), (0, "step", 2), (0, "file", 1)])
def test_processes_that_are_started_again_end_as_if_none_had_been_killed(
    server, never_hit, tmp_path, dies, at, number
):
    kill = [(dies, at, number, int(signal.SIGKILL))]
    codes = [1, 1]
    codes[dies] = -9
    run(server, 2, tmp_path / "again", codes=codes, faults=kill)
    argv = [*START, "--out", str(tmp_path / "again")]
    ended, lines = server.live(2, *argv, environment={"TORCHELASTIC_RESTART_COUNT": "1"})
    assert ended == [0, 0], lines
    same_state(never_hit / "last.pt", tmp_path / "again" / "last.pt")
    assert metrics(never_hit) == metrics(tmp_path / "again")
    assert results(never_hit / "results.json") == results(tmp_path / "again" / "results.json")


def test_a_signal_to_one_rank_stops_all_in_the_evaluation_too(server, tmp_path):
    lines = run(server, 2, tmp_path / "run", codes=130, faults=[(1, "detect", 1, int(signal.SIGINT))])
    assert lines[0][-1].startswith("error: rank 0: stopped at step 4 and saved")


LOST = (
    "error: rank {}: another process of this job has ended, or did not answer in time (DPRD_RANK_TIMEOUT); "
    "its own message says why"
)


def test_a_rank_that_is_killed_ends_the_others(server, tmp_path):
    dies = 1
    started = time.monotonic()
    codes = [1, 1, 1]
    codes[dies] = -9
    lines = run(server, 3, tmp_path / "run", codes=codes, faults=[(dies, "step", 2, int(signal.SIGKILL))])
    assert time.monotonic() - started < AT_MOST
    assert all(lines[rank][-1] == LOST.format(rank) for rank in range(3) if rank != dies)
    assert read_checkpoint(tmp_path / "run" / "last.pt")["step"] == 1


def test_a_rank_that_hangs_ends_the_others(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DPRD_RANK_TIMEOUT", "6")
    own = Server(tmp_path)
    stop = [(1, "step", 2, int(signal.SIGSTOP))]
    codes, lines = own.live(2, *START, "--out", str(tmp_path / "r"), faults=stop)
    own.process.stdin.close()
    assert codes == [1, -9]  # the stopped one is killed by the test, when the other has ended
    assert lines[0][-1] == LOST.format(0)


def test_a_data_error_on_one_rank_is_said_by_it(server, tmp_path):
    lines = run(server, 2, tmp_path / "run", codes=[1, 3], faults=[(1, "step", 2, "error")])
    assert lines[0][-1] == LOST.format(0)
    assert lines[1] == ["error: rank 1: sabotage.png: cannot be read"]


def test_a_nan_on_one_rank_ends_all_with_4(server, tmp_path):
    started = time.monotonic()
    lines = run(server, 3, tmp_path / "run", codes=4, faults=[(2, "step", 3, "nan")])
    assert time.monotonic() - started < AT_MOST
    assert lines[0][-1].startswith("error: rank 0: step 2: not finite, or exploded: loss_")
    assert lines[1] == lines[2] == []
    written = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert len(written["image_ids"]) == 6  # of all ranks
    assert read_checkpoint(tmp_path / "run" / "last.pt")["step"] == 2


def test_a_rank_without_objects_trains_with_the_others(server, tmp_path):
    run(server, 3, tmp_path / "run", faults=[(1, "step", 2, "empty"), (2, "step", 2, "empty")])
    first = [(rank, "step", 3, "empty") for rank in range(3)]
    run(server, 3, tmp_path / "none", faults=first)
    for folder in (tmp_path / "run", tmp_path / "none"):
        assert read_checkpoint(folder / "last.pt")["step"] == 4
        assert all(row["loss"] is not None for row in metrics(folder) if row["kind"] == "train")
    row = metrics(tmp_path / "none")[2]
    assert row["num_fg"] == row["loss_mask_stage1"] == 0


def test_fewer_images_than_passes_are_refused(server, tmp_path):
    lines = run(server, 2, tmp_path / "run", "--set", "train.accumulate=4", codes=2)
    assert lines[0][-1] == (
        "error: rank 0: train.batch_size=6: the images of a step over all processes; at least 8 for 2 "
        "processes with train.accumulate=4"
    )
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def trained(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(server, 1, folder, "--steps", "1")
    return folder


def test_evaluation_does_not_depend_on_the_number_of_ranks(server, trained, tmp_path):
    argv = ["eval", "--weights", str(trained), "--set", "data.synthetic_val=13", "--device", "cpu"]
    found = []
    for ranks in (1, 2, 3):
        folder = tmp_path / str(ranks)
        more = ["--out", str(folder / "eval.json"), "--save-results", str(folder)]
        codes, lines = server.live(ranks, *argv, *more)
        assert codes == [0] * ranks, lines
        assert all(line == [] for line in lines[1:])
        boxes = json.loads((folder / "bbox.json").read_text())
        found.append((results(folder / "eval.json"), boxes, (folder / "segm.json").read_bytes()))
    assert found[0] == found[1] == found[2]
    assert found[0][0]["images"] == 13
    assert found[0][1]


def test_predictions_do_not_depend_on_the_number_of_ranks(server, trained, tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    for number in range(7):
        shape = (60 + 4 * number, 80, 3)
        noise = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(noise).save(images / f"{number}.png")
    (images / "3.png").write_bytes(b"no image")
    argv = ["predict", str(images), "--weights", str(trained), "--batch-size", "2", "--device", "cpu"]
    argv += ["--save", "images,coco,csv,crops", "--score-thresh", "0.01"]
    found = []
    for ranks in (1, 2, 3):
        codes, lines = server.live(ranks, *argv, "--out", str(tmp_path / f"out{ranks}"))
        assert codes == [3] + [0] * (ranks - 1), lines
        assert "1 of 7 images could not be read" in lines[0][-1]
        said = [line.replace(f"out{ranks}", "out") for line in lines[0]]
        files = sorted(path for path in (tmp_path / f"out{ranks}").rglob("[!.]*") if path.is_file())
        found.append((said[:-1], [(path.name, path.read_bytes()) for path in files]))
    assert found[0][1] == found[1][1] == found[2][1]
    for one in found[1:]:
        assert [line.removeprefix("error: rank 0: ") for line in one[0]] == found[0][0]
    # --shard: the same images in other hands
    shards = []
    for number in (1, 2):
        out = tmp_path / f"shard{number}"
        server.live(1, *argv, "--out", str(out), "--shard", f"{number}/2")
        shards += json.loads((out / "results.json").read_text())
    whole = json.loads((tmp_path / "out1" / "results.json").read_text())
    assert sorted(map(json.dumps, shards)) == sorted(map(json.dumps, whole))


def test_gpus_is_the_same_command_in_processes(tmp_path):
    started = [sys.executable, "-m", "dprd_cli", *START, "--steps", "1", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*started, "--gpus", "2", "--out", str(tmp_path / "run"), "--json"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 1
    assert "2 processes share the 6 images of a step" in done.stderr
