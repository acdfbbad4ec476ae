"""Runs functions in several processes that are the ranks of one job; on the import path of every test.

A server that has imported torch forks them. It finds what they run here, by name.
"""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import torch
from torch import nn

from dprd_cli.config.schema import TrainConfig
from dprd_cli.model.losses import LossOutput
from dprd_cli.runtime.process_group import RankLostError, join_process_group
from dprd_cli.structures.detections import Target
from dprd_cli.training.learner import Learner
from dprd_cli.training.rank_sums import RunningStatistics, ScalarSums
from paths import ROOT, TESTS

SECONDS = 120  # in which the ranks must have ended


def in_ranks(size, call, *arguments):
    """Return what `call(group, *arguments)` returns on each rank of a job on a CPU, by way of JSON."""
    server = _server()
    print(json.dumps([call.__name__, size, arguments]), file=server.stdin, flush=True)
    found = json.loads(server.stdout.readline())
    assert None not in found, "a rank failed; its traceback is on stderr"
    return found


@functools.cache
def _server():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"}
    # it ends when this process does, and with it its stdin
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def _serve():
    torch.set_num_threads(1)
    for line in sys.stdin:
        name, size, arguments = json.loads(line)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        ranks = [_fork(rank, size, port, globals()[name], arguments) for rank in range(size)]
        deadline = time.monotonic() + SECONDS
        print(json.dumps([_result(*rank, deadline) for rank in ranks]), flush=True)


def _fork(rank, size, port, call, arguments):
    """Start a rank; return its process and where its result comes from."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid:
        os.close(sink)
        return pid, source
    try:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DPRD_RANK_TIMEOUT": "60"}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
        with join_process_group("cpu") as group, os.fdopen(sink, "w") as file:
            json.dump(call(group, *arguments), file)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(0)


def _result(pid, source, deadline):
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    with os.fdopen(source) as file:
        return json.loads(file.read() or "null")


def collectives(group):
    """Return what each of a group's operations gives."""
    tensor = torch.tensor([group.rank + 0.5, 1.0])
    group.all_reduce_sum(tensor)
    group.barrier()
    order = []
    group.main_first(lambda: order.append(group.rank))
    return {
        "main": group.is_main,
        "sum": tensor.tolist(),
        "max": group.all_reduce_max(10 - group.rank),
        "gather": group.gather(f"of {group.rank}"),
        "broadcast": group.broadcast(lambda: {"called on": group.rank}),
        "main_first": order,
    }


def lose_a_rank(group):
    """Return what a rank says whose neighbour has left."""
    if group.rank == 1:
        return "left"
    try:
        while True:
            group.barrier()
    except RankLostError as error:
        return str(error)


def scalar_sums(group, rows):
    """Return the sums of a list of steps' scalars; `rows` has a rank's in its place."""
    sums = ScalarSums(torch.device("cpu"), group)
    steps = [{key: torch.tensor(value) for key, value in row.items()} for row in rows[group.rank]]
    return [{key: value.item() for key, value in sums(step).items()} for step in steps]


class Norm(nn.Module):
    """A BatchNorm, and a running mean such as the parts' offsets."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("mean", torch.zeros(3))

    @property
    def running_means(self):
        return [(self.mean, 0.1)]

    def forward(self, rows):
        self.mean.lerp_(rows.mean().expand(3), 0.1)
        return self.norm(rows)


def running_statistics(group, passes):
    """Return the statistics after two steps of 4 passes, shared among the ranks."""
    module = Norm()
    statistics = RunningStatistics(module, passes // group.size, group)
    draw = torch.Generator().manual_seed(0)
    for _ in range(2):
        batches = [torch.randn((5, 2), generator=draw) for _ in range(passes)]
        each = passes // group.size
        statistics.begin()
        for batch in batches[group.rank * each : (group.rank + 1) * each]:
            module(batch)
        statistics.end()
    return {key: value.tolist() for key, value in module.state_dict().items()}


class Line(nn.Module):
    """Its loss is the mean over the images of (w x - n)^2, with x an image's mean and n its objects.

    Images without objects have no second loss, and no second parameter but through an empty sum.
    """

    running_means = ()

    def __init__(self, start=2.0):
        super().__init__()
        self.backbone = nn.Identity()
        self.w = nn.Parameter(torch.tensor([start]))
        self.head = nn.Parameter(torch.ones(2, 3, 1, 1).contiguous(memory_format=torch.channels_last))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images, targets, progress):
        self.seen += len(images)
        means = torch.stack([image.float().mean() for image in images])
        counts = torch.tensor([float(len(target)) for target in targets])
        objects = self.head * means[counts > 0][:, None, None, None, None]
        losses = {"loss_box": (self.w * means - counts).square().mean()}
        losses["loss_mask"] = objects.square().sum() / len(images)
        return LossOutput(losses, {"num_fg": counts.sum()} if counts.any() else {})


def learn_without_objects(group):
    """Return what `learn` does of images without objects."""
    return learn(group, 2, {}, 2, every=0)


def learn(group, steps, settings, batch_size, every=3):
    """Return weights, what is logged, and images seen after some steps of a tiny network.

    An image holds one number, and every third has an object (`every`; 0: none has). Ranks begin with weights
    of their own, so that all must take the main one's.
    """
    detector = Line(start=2.0 + group.rank)
    plain = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0}
    learner = Learner(detector, TrainConfig(**plain, batch_size=batch_size, **settings), group)
    rows = []
    for step in range(steps):
        own = range(group.rank * batch_size // group.size, (group.rank + 1) * batch_size // group.size)
        images = [torch.full((3, 2, 2), 1 + (step + n) % 5, dtype=torch.uint8) for n in own]
        counts = [int(every > 0 and n % every == 1) for n in own]
        targets = [Target(torch.ones(n, 4), torch.zeros(n, dtype=torch.int64), (2, 2)) for n in counts]
        values = learner.step(step, 0.001, images, targets)
        rows.append({key: float(value) for key, value in values.items()})
    weights = {key: value.flatten().tolist() for key, value in detector.state_dict().items() if key != "seen"}
    return {"weights": weights, "rows": rows, "seen": detector.seen.item(), "own": len(own) * steps}


if __name__ == "__main__":
    _serve()
