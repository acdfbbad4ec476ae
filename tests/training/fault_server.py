"""Runs `dprd` command lines in forked children, and lets what the test asks for befall them.

Importing torch takes seconds; here it is done once. Each line on stdin is a JSON object:

    argv      the command line without `dprd`
    stderr    file for what it prints
    faults    list of {"at": kind, "number": n, "signal": s}: the signal that the n-th event of a kind sends;
              0 is a full disk there
    kill      seconds after which it is killed; of several processes a stopped one is when the others ended
    max_file  largest file that it can write, in bytes (the write that crosses it fails, as on a full disk)
    ranks     in how many processes it runs, as torchrun would start them; the answer then has a list of
              codes, and each writes a file for stderr of its own, with its number appended. A fault with a
              "rank" befalls that one alone. `environment` is added to theirs.

The answer, when it has ended, is {"code": exit code, or -signal}. A child that was not killed leaves the
counts of its events beside the file for stderr. In the place of a signal, "nan" makes the losses of that step
not finite, "empty" takes the objects away, and "error" raises one.

So that a life takes half a second, the backbone has a block a stage and few channels, and the curves drawn
at a run's end are left blank.

Kinds of events: `call`, a call of or from a function of this package; `write`, a write into a file that is
saved atomically (half of it is written before the signal is sent); `file`, that such a file is opened, synced
or renamed; `step`, an optimiser step; `detect`, a batch of an evaluation.
"""

import dataclasses
import errno
import functools
import importlib
import json
import os
import pathlib
import pkgutil
import resource
import signal
import socket
import sys
import time
from collections import Counter

import torch
import torchvision

import dprd_cli
from dprd_cli import cli
from dprd_cli.errors import DataError
from dprd_cli.files.atomic import write_atomically
from dprd_cli.model import torchvision_backbones
from dprd_cli.model.detector import Detector
from dprd_cli.training import figures
from dprd_cli.training.learner import Learner

PACKAGE = str(pathlib.Path(dprd_cli.__file__).parent)
# (expansion, channels, blocks, stride), of which a quarter is built: 8 channels but for the last block's 80
BLOCKS = [(1, 16, 1, 1), (2, 24, 1, 2), (2, 32, 1, 2), (2, 32, 1, 2), (2, 320, 1, 2)]


def load_all():
    """Import now what commands import when they are run."""
    for module in pkgutil.walk_packages(dprd_cli.__path__, "dprd_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("faster_coco_eval")


def make_small():
    """Replace what takes long and is not under test."""
    usual = torchvision.models.mobilenet_v2
    torchvision.models.mobilenet_v2 = functools.partial(
        usual, width_mult=0.25, inverted_residual_setting=BLOCKS
    )
    torchvision_backbones._MOBILENET_CUTS = (0, 2, 3, 4, 5, 7)
    torchvision_backbones._MOBILENET_CHANNELS = (8, 8, 8, 1280)

    def blank(rows, folder):
        for name in ("loss.png", "ap.png", "parts.png"):
            write_atomically(folder / name, lambda file: file.write(b"blank"))

    figures.draw_curves, figures._SHARE = blank, float("inf")  # at every evaluation, however short


class Events:
    """Counts events and sends the signals that are due; in the run's own process only."""

    def __init__(self, faults):
        self.counts = Counter()
        self.faults = {(fault["at"], fault["number"], i): fault["signal"] for i, fault in enumerate(faults)}
        self.owner = os.getpid()
        self.poisoned = self.emptied = False

    def happen(self, kind, just_before=lambda: None):
        if os.getpid() != self.owner:
            return
        self.counts[kind] += 1
        due = [key for key in self.faults if key[:2] == (kind, self.counts[kind])]
        if due:
            just_before()
        for key in due:
            number = self.faults.pop(key)
            if number == "nan":
                self.poisoned = True
            elif number == "empty":
                self.emptied = True
            elif number == "error":
                raise DataError("sabotage.png: cannot be read")
            elif not number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            else:
                os.kill(os.getpid(), number)


class TornFile:
    """A file whose writes are events."""

    def __init__(self, file, events):
        self._file, self._events = file, events

    def write(self, data):
        whole = memoryview(data).cast("B")
        half = len(whole) // 2

        def tear():
            self._file.write(whole[:half])
            self._file.flush()

        before = self._file.tell()
        self._events.happen("write", tear)
        self._file.write(whole[self._file.tell() - before :])
        return len(whole)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


def without_objects(target):
    """Return the target of the same image, had it no objects."""
    return dataclasses.replace(
        target,
        boxes=target.boxes[:0],
        labels=target.labels[:0],
        has_mask=target.has_mask[:0],
        masks=None if target.masks is None else target.masks[:0],
    )


def instrument(events):
    """Let the events of a process be counted."""

    def before(owner, name, kind):
        usual = getattr(owner, name)

        def counted(*args, **kwargs):
            events.happen(kind)
            return usual(*args, **kwargs)

        setattr(owner, name, counted)

    usual_open = pathlib.Path.open

    def opened(path, mode="r", *args, **kwargs):
        file = usual_open(path, mode, *args, **kwargs)
        if not path.name.endswith(".tmp"):
            return file
        events.happen("file")
        return TornFile(file, events)

    pathlib.Path.open = opened
    before(os, "fsync", "file")
    before(os, "replace", "file")
    before(Learner, "step", "step")
    before(Detector, "detect", "detect")

    usual_forward = Detector.forward

    def forward(detector, images, targets, progress):
        if events.emptied:
            events.emptied = False
            targets = [without_objects(target) for target in targets]
        output = usual_forward(detector, images, targets, progress)
        if not events.poisoned:
            return output
        events.poisoned = False
        return output._replace(losses={key: loss * float("nan") for key, loss in output.losses.items()})

    Detector.forward = forward

    def profile(frame, event, argument):
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(PACKAGE):
            events.happen("call")

    if any(kind == "call" for kind, *_ in events.faults):
        sys.setprofile(profile)


def live(order):
    """Run a command line, as a process of its own would, and return its exit code."""
    errors = os.open(order["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    if order.get("max_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["max_file"], order["max_file"]))
    own = [fault for fault in order.get("faults", []) if fault.get("rank") in (None, order.get("rank"))]
    events = Events(own)
    instrument(events)
    code = cli.run(order["argv"])
    sys.setprofile(None)
    sys.stdout.flush()
    with open(order["stderr"] + ".events", "w") as file:
        json.dump(events.counts, file)
    return code


def end_all(pids, kill):
    """Wait until all children end, and return their statuses; kill a stopped one when the others have ended.

    And any after so many seconds, if there are any.
    """
    statuses, stopped = {}, set()
    deadline = time.monotonic() + (kill or float("inf"))
    while living := set(pids) - statuses.keys():
        if stopped >= living or time.monotonic() > deadline:
            for pid in living:
                os.kill(pid, signal.SIGKILL)
        for pid in living:
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                stopped.add(pid)
            elif found:
                statuses[pid] = status
        time.sleep(0.002)
    return [statuses[pid] for pid in pids]


def live_in_ranks(order):
    """Run a command line in several processes, and return their exit codes."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    pids = []
    for rank in range(order["ranks"]):
        pid = os.fork()
        if pid == 0:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank)}
            os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(order["ranks"])}
            os.environ |= order.get("environment", {})
            code = 70
            try:
                code = live(order | {"rank": rank, "stderr": f"{order['stderr']}.{rank}"})
            finally:
                os._exit(code)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(status) for status in end_all(pids, order["kill"])]


def serve():
    # a shell's background jobs ignore Ctrl-C, and so would Python
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    make_small()
    load_all()
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("ranks"):
            print(json.dumps({"code": live_in_ranks(order)}), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = live(order)
            finally:
                os._exit(code)
        (status,) = end_all([pid], order["kill"])
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    serve()
