"""`--gpus N`: the same command in N processes on this machine, as torchrun would start them.

torchrun itself is for several machines. It ends with 1 whatever happened, and prints a traceback of its own;
this one ends with the exit code that the command has in a single process, and lets the ranks' lines speak.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from dprd_cli.errors import EXIT_FAILED, ResourceError, UserError
from dprd_cli.runtime.cores import available_cores
from dprd_cli.runtime.progress import tell
from dprd_cli.runtime.signals import ANSWERED

_GRACE = 10.0  # seconds in which the others notice that one has failed
_END = 5.0  # seconds from SIGTERM to SIGKILL
_PAUSE = 0.05
_OF_SHELL = 128  # and the signal's number


def launch(count: int, arguments: Sequence[str], *, max_restarts: int = 0) -> int:
    """Run a command line in several processes, and return the exit code of a rank that knows the reason.

    SIGINT, SIGTERM and SIGHUP are passed on; where one process fails, the others are ended within 15 seconds.

    Args:
        count: How many; each gets its number in `RANK`, as from torchrun.
        arguments: The command line without the program's name.
        max_restarts: How often all are started again where one was killed, or failed for no reason that it
            knows; each finds in `TORCHELASTIC_RESTART_COUNT` how often, as from torchrun.

    Raises:
        ResourceError: If not all can be started.
        UserError: If a process was killed, and they are not started again.
    """
    for restart in range(max_restarts + 1):
        codes, asked = _run(count, arguments, restart)
        killed = [(rank, -code) for rank, code in enumerate(codes) if code < 0 and -code not in ANSWERED]
        # one that was asked to stop before it could answer ends as a shell shows it
        failed = [_OF_SHELL - code if code < 0 else code for code in codes if code]
        code = next((code for code in failed if code > EXIT_FAILED), EXIT_FAILED if failed else 0)
        if restart == max_restarts or asked or not (killed or code == EXIT_FAILED):
            break
        why = f"rank {killed[0][0]} was ended by {_signal_name(killed[0][1])}" if killed else "a rank failed"
        tell(f"{why}; all are started again ({restart + 1} of {max_restarts})")
    if killed:
        rank, number = killed[0]
        raise UserError(
            f"rank {rank} was ended by {_signal_name(number)} (by hand, or memory was short?); "
            "training goes on with --resume"
        )
    return code


def _signal_name(number: int) -> str:
    return signal.Signals(number).name


def _run(count: int, arguments: Sequence[str], restart: int) -> tuple[list[int], list[int]]:
    """Start the ranks and wait for them; return their exit codes, and the signals that asked them to stop."""
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "TORCHELASTIC_RESTART_COUNT": str(restart),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, available_cores() // count))),
    }
    command = [sys.executable, "-m", "dprd_cli", *arguments]
    ranks: list[subprocess.Popen[bytes]] = []
    with _passing_on(ranks) as asked:
        try:
            for rank in range(count):
                environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                ranks.append(
                    # in sessions of their own: Ctrl-C reaches them from here, once
                    subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_PREPARE)
                )
        except (OSError, subprocess.SubprocessError) as error:
            for one in ranks:  # which would wait for the others
                one.kill()
            raise ResourceError(
                f"only {len(ranks)} of {count} processes could be started ({error})"
            ) from error
        for number in asked:  # while they were started
            _send(ranks, number)
        return _wait(ranks), asked


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait until all have ended; those that outlive a failed one for too long are ended, then left."""
    deadline, ends = None, [subprocess.Popen.terminate, subprocess.Popen.kill]
    killed: set[int] = set()
    while None in [rank.poll() for rank in ranks]:  # all are asked: a later one may have failed
        if deadline is None and any(rank.returncode for rank in ranks):
            deadline = time.monotonic() + _GRACE
        if deadline is not None and time.monotonic() > deadline:
            if not ends:  # the system itself does not end them
                break
            end, deadline = ends.pop(0), time.monotonic() + _END
            for index, rank in enumerate(ranks):
                if rank.poll() is None:
                    end(rank)
                    killed.add(index)
        time.sleep(_PAUSE)
    # what was ended from here failed because of another one
    return [EXIT_FAILED if index in killed else rank.returncode for index, rank in enumerate(ranks)]


def _send(ranks: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for rank in ranks:
        # Windows sends no Ctrl-C on (a ValueError): its console has told them all
        with contextlib.suppress(ProcessLookupError, ValueError):
            rank.send_signal(number)


@contextlib.contextmanager
def _passing_on(ranks: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """While entered, pass signals that ask to stop on, and note them; those that are ignored stay ignored."""
    asked: list[int] = []

    def handle(number: int, _: object) -> None:
        asked.append(number)
        _send(ranks, number)

    heard = [number for number in ANSWERED if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    """Ask the system for a SIGTERM when the parent ends, however."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


_PREPARE = _end_with_parent if sys.platform == "linux" else None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
