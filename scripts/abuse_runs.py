"""Kill runs, fill their disk, send them signals, through the command line; resume each, and compare.

    python scripts/abuse_runs.py                 # 30 kills, 12 full disks, 20 signals; with 1 and 2 processes

A run that nothing befalls is made first. Then the same run is begun again and again; in each life something
befalls it, at a moment drawn from `--seed`, and it is resumed until it ends. It must leave the same to the
bit: weights, their average, the optimizer's state, metrics, results. Prints a row for each kind, and ends
with 1 if a run differs, or a life hung or ended with anything but one line. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.weights.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"steps": 6, "batch_size": 4, "ema": 0.9, "eval_every": 3, "eval_limit": 2, "log_every": 4}
TIMES = {"seconds_per_step", "data_wait", "seconds_per_image"}
#: How a life may end, by what befell it: its own way, or the system's before it could answer.
ENDS = {
    "kill -9": {0, 1, -9},  # 0 where it was a loader process, 1 where another one of two
    "full disk": {0, 5},
    "signal": {0, 130, 143, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP, 128 + signal.SIGHUP},
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
LONGEST = 240.0  # seconds of a life, beyond which it hangs


class Fault(NamedTuple):
    """What befalls a life after some seconds: a signal, or a disk that holds no larger files (bytes)."""

    number: int = 0
    delay: float = 0.0
    target: float = 1.0  # draws one of the processes, in 0..1; 1 is the one that was started
    largest_file: int = 0


class StraightRun(NamedTuple):
    """A run that nothing befell: its folder, in how many processes it ran, and its seconds."""

    folder: Path
    processes: int
    seconds: float


def command_line(folder: Path, processes: int, workers: int) -> list[str]:
    """Return the command line that begins a run, or continues it if there is something to continue."""
    command = [sys.executable, "-m", "dprd_cli", "train", "--set", f"data.workers={workers}"]
    command += ["--gpus", str(processes), "--device", "cpu"] if processes > 1 else []
    if (folder / "config.toml").exists():
        return [*command, "--resume", str(folder)]
    settings = [f"--set=train.{key}={value}" for key, value in SETTINGS.items()]
    tiny = ["--config", str(ROOT / "tests" / "tiny.toml"), "--backbone-weights", "none"]
    return [*command, *tiny, *settings, "--out", str(folder)]


def family(pid: int) -> list[int]:
    """Return the processes that one has started, and itself, last."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [*(one for child in children for one in family(int(child))), pid]


def is_running(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def befall(members: list[int], fault: Fault) -> None:
    """Let a fault befall a life's processes."""
    with contextlib.suppress(ProcessLookupError):
        if fault.number:
            os.kill(members[min(int(fault.target * len(members)), len(members) - 1)], fault.number)
        if fault.largest_file:
            for pid in members:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (fault.largest_file, fault.largest_file))


def live(command: list[str], fault: Fault) -> tuple[int, str, bool]:
    """Run a command line until all its processes have ended.

    Returns:
        The exit code, or minus the signal; what was printed on stderr; whether the fault befell it.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=ENVIRONMENT)
        started, members, befallen = time.monotonic(), {process.pid}, False
        while process.poll() is None or any(map(is_running, members)):
            members.update(family(process.pid))
            age = time.monotonic() - started
            if not befallen and age > fault.delay and process.poll() is None:
                befall(family(process.pid), fault)
                befallen = fault != Fault()
            if age > LONGEST:
                for pid in filter(is_running, members):
                    os.kill(pid, signal.SIGKILL)
                raise SystemExit(f"hangs: {' '.join(command)}")
            time.sleep(0.02)
        errors.seek(0)
        return process.returncode, errors.read().decode(errors="replace"), befallen


def is_equal(one: Any, other: Any) -> bool:
    """Whether checkpoints, metrics or results are the same to the bit, but for how long things took."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = one.keys() - TIMES
        return keys == other.keys() - TIMES and all(is_equal(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return bool(one == other)


def content(run: Path) -> list[Any]:
    """Return all that a run must leave; the number of loader processes is no part of it."""
    files = [read_checkpoint(run / name) for name in ("last.pt", "previous.pt", "best.pt")]
    for file in files:
        file["config"]["data"]["workers"] = 0
    return [files, read_metrics(run / "metrics.jsonl"), json.loads((run / "results.json").read_text())]


def draw_fault(kind: str, straight: StraightRun, rng: random.Random) -> Fault:
    """Draw a fault of a kind, at any moment of a run, or at any size of a file up to its checkpoint's."""
    delay = rng.uniform(0, straight.seconds)
    if kind == "full disk":
        return Fault(0, delay, largest_file=rng.randint(1000, (straight.folder / "last.pt").stat().st_size))
    if kind == "signal":  # to the process that was started, as Ctrl-C and batch systems do
        return Fault(rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)), delay)
    return Fault(signal.SIGKILL, delay, rng.choice((1.0, rng.random())))


def run_straight(folder: Path, processes: int) -> StraightRun:
    """Make a run that nothing befalls."""
    started = time.monotonic()
    subprocess.run(command_line(folder, processes, 0), check=True, capture_output=True, env=ENVIRONMENT)
    return StraightRun(folder, processes, time.monotonic() - started)


def abuse(
    straight: StraightRun, kind: str, times: int, rng: random.Random
) -> tuple[int, list[Path], Counter[int], list[str]]:
    """Let something befall runs so many times, each resumed until it ends, and compare them.

    Returns:
        How many lives there were; the runs; how the lives ended that something befell; what went wrong.
    """
    lives, runs, ends, wrong, done = 0, list[Path](), Counter[int](), list[str](), True
    while (more := ends.total() < times) or not done:
        if done:
            runs.append(straight.folder.with_name(f"{kind.split()[0]}-{straight.processes}-{len(runs) + 1}"))
        fault = draw_fault(kind, straight, rng) if more else Fault()
        command = command_line(runs[-1], straight.processes, rng.choice((0, 0, 2)))
        code, text, befallen = live(command, fault)
        lives, done = lives + 1, code == 0
        ends[code] += befallen
        if "Traceback" in text or "this is a bug" in text or code not in (ENDS[kind] if befallen else {0}):
            wrong.append(f"{runs[-1]}: {fault}, exit code {code}: {text[-2000:]}")
            if len(wrong) > 5:
                return lives, runs, ends, wrong
    expected = content(straight.folder)
    wrong += [f"{run} differs" for run in runs if not is_equal(content(run), expected)]
    return lives, runs, ends, wrong


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it, for children too
    parser = argparse.ArgumentParser()
    for name, times in (("kills", 30), ("disks", 12), ("signals", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=times)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    asked = parser.parse_args(arguments)
    faults: list[str] = []
    row = "{:>9}  {:9}  {:>5}  {:>5}  {:>4}  {:>5}  {}"
    print(row.format("processes", "what", "times", "lives", "runs", "wrong", "exit codes"), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for processes in asked.processes:
            straight = run_straight(Path(folder) / f"straight-{processes}", processes)
            for kind, times in zip(ENDS, (asked.kills, asked.disks, asked.signals), strict=True):
                rng = random.Random(f"{asked.seed} {kind} {processes}")
                lives, runs, ends, wrong = abuse(straight, kind, times, rng)
                codes = ", ".join(f"{code}: {count}" for code, count in sorted(ends.items()) if count)
                print(row.format(processes, kind, times, lives, len(runs), len(wrong), codes), flush=True)
                faults += wrong
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
