"""Runs what hostile files are given to, in children with bounds on memory and time; as a program: the server.

Importing torch takes seconds; here it is done once, and each order is a forked child that may map `MEMORY`
bytes more than the program itself. Each line on stdin is a JSON object with

    argv     a command line without `dprd`, or
    attack   the name of a target of `targets.py`, with a `seed` and the numbers of the `first` attempt and of
             the one after the `last`
    folder   the child's working folder
    environ  variables that change; null takes one away
    closed   numbers of the standard streams that are closed

and is answered by one with

    code     exit code, or -signal
    out      what it printed
    err      its lines on stderr
    seconds  how long it took
    peak     bytes that it had in memory at most, above what the program has
    attempt  the attempt that it did last, of an attack
"""

import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
MEMORY = 2**30  # bytes
SECONDS = 10  # of a command
ATTEMPT_SECONDS = 5
PATIENCE = 8  # times as long may pass where other programs want the cores too, or where it waits


class Cage:
    """The server, and what is asked of it.

    Args:
        folder: For files of its own.
    """

    def __init__(self, folder):
        self.folder = folder
        variables = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "CUDA_VISIBLE_DEVICES": ""}
        variables |= {
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS))),
            "PYTHONIOENCODING": "utf-8:strict",
        }
        variables |= {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}  # no network
        variables |= {"TORCH_HOME": str(folder / "torch"), "no_proxy": "", "HF_HUB_OFFLINE": "1"}
        variables |= {"XDG_CACHE_HOME": str(folder / "cache"), "MPLBACKEND": "agg"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | variables,
        )

    def ask(self, **order):
        """Return the answer to an order."""
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def run(self, *argv, folder, **more):
        """Run a command line."""
        return self.ask(argv=list(map(str, argv)), folder=str(folder), **more)

    def close(self):
        """End the server."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


# ---- the server -------------------------------------------------------------------------------------------


def status(name, pid="self"):
    """Return a number of bytes that the system keeps of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def confine(order, folder):
    """Bound what this process may take, and lead its streams to files."""
    limit = status("VmSize") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, value in order.get("environ", {}).items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    os.chdir(order["folder"])
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    for number in order.get("closed", []):
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)


def command(argv):
    """Run a command line as the program would."""
    from dprd_cli import cli

    sys.argv[1:] = argv
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    try:
        cli.main()
    except SystemExit as leave:
        return leave.code or 0
    return 0


def attack(order, folder):
    """Make attempts until one fails; each has its own time."""
    from security import targets

    attempt = targets.TARGETS[order["attack"]]()
    place = os.open(folder / "attempt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for number in range(order["first"], order["last"]):
        os.pwrite(place, str(number).encode(), 0)
        signal.setitimer(signal.ITIMER_PROF, ATTEMPT_SECONDS)
        targets.attempt_once(attempt, f"{order['attack']} {order['seed']} {number}")
    signal.setitimer(signal.ITIMER_PROF, 0)
    return 0


def live(order, folder):
    """Do what is asked for, and return the exit code."""
    code = 70
    try:
        confine(order, folder)
        code = command(order["argv"]) if "argv" in order else attack(order, folder)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else 70)


def wait(pid, seconds):
    """Wait for a child, or kill it; return its exit code, and its peak memory in bytes."""
    deadline, peak = time.monotonic() + seconds, 0
    while True:
        ended, state, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(state), max(peak, usage.ru_maxrss * 1024)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += 60
        time.sleep(0.002)


def load_all():
    """Import now what commands import when they are run."""
    import dprd_cli

    for module in pkgutil.walk_packages(dprd_cli.__path__, "dprd_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("faster_coco_eval", "safetensors.torch", "matplotlib.pyplot", "security.targets"):
        importlib.import_module(name)


def serve(folder):
    """Answer orders until there are no more."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    load_all()
    own = status("VmRSS")
    for line in sys.stdin:
        order = json.loads(line)
        begin = time.monotonic()
        pid = os.fork()
        if pid == 0:
            live(order, folder)
        attempts = order.get("last", 0) - order.get("first", 0)
        code, peak = wait(pid, PATIENCE * max(SECONDS, attempts))
        answer = {"code": code, "seconds": time.monotonic() - begin, "peak": max(0, peak - own)}
        for name in ("out", "err"):
            path = folder / name
            answer[name] = path.read_bytes().decode(errors="backslashreplace") if path.exists() else ""
            path.unlink(missing_ok=True)
        answer["err"] = answer["err"].splitlines()
        if attempts:
            answer["attempt"] = int((folder / "attempt").read_text() or -1)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
