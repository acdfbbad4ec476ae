"""kill -9, signals, a full disk: what is resumed ends as a run that nothing befell, to the bit."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
import torch

from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.weights.checkpoint import read_checkpoint
from paths import FAULT_SERVER, TESTS

# eight steps, of which patience leaves six: nothing this small finds a box at IoU 0.75
SETTINGS = {
    "train.steps": 8,
    "train.accumulate": 2,
    "train.ema": 0.9,
    "train.eval_every": 2,
    "train.eval_limit": 2,
    "train.best_metric": "bbox_AP75",
    "train.patience": 2,
    "train.log_every": 3,
    "model.backbone.norm": "bn",
    "data.train_min_sizes": "[48, 56, 64]",
    "data.scale_jitter": "[0.8, 1.2]",
    "data.crop": 0.5,
    "data.flip": 0.5,
    "data.color_jitter": 0.2,
}
JITTER = ["--set", "data.lsj_size=64", "--set", "data.scale_jitter=[0.5, 2.0]"]
for change in ("vflip=0.5", "quarter_turns=0.5", "rotate=10", "copy_paste=0.7", "repeat_threshold=0.8"):
    JITTER += ["--set", f"data.{change}"]
START = ["train", "--config", str(TESTS / "tiny.toml")]
START += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
LAST_STEP = 6
KILLS = 30
TIMES = ("seconds_per_step", "data_wait", "seconds_per_image")


class Server:
    """Runs command lines in children of one process that has imported torch already."""

    def __init__(self, folder):
        self.folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
        self.process = subprocess.Popen(
            FAULT_SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def live(self, *argv, faults=(), max_file=None, kill_after=None):
        """Run a command line to its end; return its exit code (or minus the signal) and its lines."""
        errors = self.folder / "stderr.txt"
        names = ("at", "number", "signal")
        order = {"argv": argv, "stderr": str(errors), "max_file": max_file, "kill": kill_after}
        order["faults"] = [dict(zip(names, fault, strict=True)) for fault in faults]
        print(json.dumps(order), file=self.process.stdin, flush=True)
        code = json.loads(self.process.stdout.readline())["code"]
        return code, errors.read_text().splitlines()

    def events(self):
        """Return how many events of each kind the last child had."""
        return json.loads((self.folder / "stderr.txt.events").read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.process.stdin.close()
    started.process.wait(timeout=60)


@pytest.fixture(scope="module")
def straight(server, tmp_path_factory):
    """A run that nothing befalls: its folder, the events in it, and its seconds."""
    folder = tmp_path_factory.mktemp("straight")
    started = time.monotonic()
    code, lines = server.live(*START, "--out", str(folder), faults=[("call", -1, 0)])
    assert code == 0, lines
    assert f"stopped at step {LAST_STEP} of 8: no better bbox_AP75 in 2 evaluations (train.patience)" in lines
    return folder, server.events(), time.monotonic() - started


@pytest.fixture(scope="module")
def jittered(server, tmp_path_factory):
    """The same with large-scale jitter, turns, pasted objects and repeated images."""
    folder = tmp_path_factory.mktemp("jittered")
    code, lines = server.live(*START, *JITTER, "--out", str(folder))
    assert code == 0, lines
    return folder


def equal(one, other):
    """Whether two checkpoints or metrics are the same to the bit, but for how long things took."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = one.keys() - set(TIMES)
        return keys == other.keys() - set(TIMES) and all(equal(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def assert_same_run(folder, other):
    """Compare all that two runs left."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in other.iterdir()}
    for name in ("last.pt", "previous.pt", "best.pt"):
        mine, theirs = read_checkpoint(folder / name), read_checkpoint(other / name)
        mine["config"]["data"]["workers"] = theirs["config"]["data"]["workers"]
        assert equal(mine, theirs), name
    assert equal(read_metrics(folder / "metrics.jsonl"), read_metrics(other / "metrics.jsonl"))
    header = (other / "metrics.csv").read_text().splitlines()[0]
    assert (folder / "metrics.csv").read_text().splitlines()[0] == header
    results = [json.loads((run / "results.json").read_text()) for run in (folder, other)]
    assert equal(*results)


def resume(server, folder, *more, **how):
    return server.live("train", "--resume", str(folder), *more, **how)


def test_the_straight_run_used_all_that_must_be_resumed(straight):
    folder, events, _ = straight
    last = read_checkpoint(folder / "last.pt")
    assert last["step"] == LAST_STEP
    assert set(last) >= {"model", "trained", "optimizer", "interval", "best"}
    assert not equal(last["model"], last["trained"])
    assert read_checkpoint(folder / "previous.pt")["interval"]["loss"][1] == 2  # of the row of step 6
    assert all(events[kind] > 0 for kind in ("call", "write", "file", "step", "detect"))


def test_thirty_kills_leave_no_trace(server, straight, tmp_path):
    """After each kill -9 the run is resumed; when it ends, another is begun, until there were thirty.

    The moments: any call in the package; any write of a checkpoint, plot or table, half of which is written;
    any opening, syncing or renaming of such a file; and any time at all, by the clock. Where they fall in the
    first three is fixed by the seed. What no test of processes can show is a power cut, which takes
    what the system had not yet written.
    """
    folder, events, seconds = straight
    rng = random.Random(20)
    kinds = [kind for kind in ("call", "write", "file", "clock") for _ in range(KILLS // 4 + 1)][:KILLS]
    rng.shuffle(kinds)
    runs = [tmp_path / "1"]
    command = [*START, "--out", str(runs[0])]
    kills = 0
    while kills < KILLS:
        kind = kinds[kills]
        # workers cost a second a life, so only some have them
        workers = ["--set", f"data.workers={2 if kills % 10 == 5 else 0}"]
        how = {"kill_after": rng.uniform(0.02, seconds / 3)}
        if kind != "clock":
            how = {"faults": [(kind, rng.randint(1, events[kind] // 3), signal.SIGKILL)]}
        code, lines = server.live(*command, *workers, **how)
        assert code in (0, -signal.SIGKILL), lines
        if code == 0:
            runs.append(tmp_path / str(len(runs) + 1))
        else:
            kills += 1
        begun = (runs[-1] / "config.toml").exists()
        command = ["train", "--resume", str(runs[-1])] if begun else [*START, "--out", str(runs[-1])]
        if not begun and runs[-1].exists():  # killed before there was anything to continue
            for left in runs[-1].iterdir():
                left.unlink()
    code, lines = server.live(*command)
    assert code == 0, lines
    for run in runs:
        assert_same_run(run, folder)


@pytest.mark.parametrize(("killed_at", "workers"), [(1, (0, 1)), (3, (2, 0)), (6, (1, 2))])
def test_large_scale_jitter_and_any_number_of_workers(server, jittered, tmp_path, killed_at, workers):
    run = tmp_path / "run"
    before, after = (["--set", f"data.workers={number}"] for number in workers)
    kill = [("step", killed_at, signal.SIGKILL)]
    assert server.live(*START, *JITTER, *before, "--out", str(run), faults=kill)[0] == -signal.SIGKILL
    assert resume(server, run, *after)[0] == 0
    assert_same_run(run, jittered)


#: What befalls one run, life after life; steps and batches of an evaluation are counted in each.
SIGNALS = [
    ([("step", 1, signal.SIGINT)], 130, "stopped at step 1 and saved; continue with: dprd train --resume"),
    ([("detect", 1, signal.SIGTERM)], 143, "stopped at step 2 and saved"),
    ([("detect", 1, signal.SIGINT)], 130, "stopped at step 2 and saved"),
    # a batch system sends it again and again
    ([("detect", 1, signal.SIGTERM)] * 2, 143, "stopped at step 2 and saved"),
    # a second Ctrl-C quits at once: in an evaluation, in a step, in the middle of saving
    ([("detect", 1, signal.SIGINT)] * 2, 130, "interrupted"),
    ([("step", 1, signal.SIGTERM)] * 2, 143, "stopped at step 3 and saved"),
    ([("step", 1, signal.SIGINT)] * 2, 130, "interrupted"),
    ([("write", 3000, signal.SIGINT)] * 2, 130, "interrupted"),
    ([("write", 3000, signal.SIGINT)], 130, "stopped at step "),
    ([("file", 14, signal.SIGTERM)], 143, "stopped at step "),
]


def test_signals_in_training(server, straight, tmp_path):
    run = tmp_path / "run"
    command = [*START, "--out", str(run)]
    for faults, code, message in SIGNALS:
        ended, lines = server.live(*command, faults=faults)
        assert (ended, faults) == (code, faults), lines
        assert lines[-1].startswith(f"error: {message}"), faults
        assert not any("Traceback" in line for line in lines)
        command = ["train", "--resume", str(run)]
    assert server.live(*command)[0] == 0
    assert_same_run(run, straight[0])


@pytest.mark.parametrize(("faults", "code"), [([signal.SIGINT], 130), ([signal.SIGTERM], -signal.SIGTERM)])
def test_signals_in_eval_leave_no_half_results(server, straight, tmp_path, faults, code):
    command = ["eval", "--weights", str(straight[0]), "--out", str(tmp_path / "results.json")]
    command += ["--set", "data.synthetic_val=6"]
    for times in (1, 2):
        chosen = [("detect", 2, number) for number in faults * times]
        ended, lines = server.live(*command, faults=chosen)
        assert ended == code, lines
        assert not any("Traceback" in line for line in lines)
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert left <= ({".lock"} if code < 0 else set())  # one that nobody holds
    assert server.live(*command)[0] == 0
    assert ".lock" not in {path.name for path in tmp_path.rglob("*")}
    if code == 130:
        assert lines[-1] == "error: interrupted"


def test_a_full_disk_stops_the_run_and_loses_nothing(server, straight, tmp_path):
    run = tmp_path / "run"
    assert server.live(*START, "--out", str(run), faults=[("step", 3, signal.SIGTERM)])[0] == 143
    before = {path.name: path.read_bytes() for path in run.glob("*.pt")}
    size = len(before["last.pt"])
    places = (
        ({"max_file": size // 2}, "last.pt: cannot save"),
        ({"faults": [("write", 1, 0)]}, "config.toml: cannot save"),
        ({"faults": [("write", 4, 0)]}, "last.pt: cannot save"),
    )
    for how, what in places:
        code, lines = resume(server, run, **how)
        assert code == 5, lines
        assert lines[-1].startswith(f"error: {run}/{what} (")
        assert lines[-1].endswith("the old file is untouched")
        assert {path.name: path.read_bytes() for path in run.glob("*.pt")} == before
        assert not list(run.glob(".*"))
    assert resume(server, run)[0] == 0
    assert_same_run(run, straight[0])


def test_a_disk_too_small_for_the_first_checkpoint(server, tmp_path):
    run = tmp_path / "run"
    code, lines = server.live(*START, "--out", str(run), max_file=100_000)
    assert code == 5
    assert lines[-1].startswith(f"error: {run}/last.pt: cannot save (")
    assert not any("Traceback" in line for line in lines)
