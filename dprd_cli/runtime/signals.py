"""Signals that ask a run to stop: noted, and answered where stopping loses nothing."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from dprd_cli.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from dprd_cli.runtime.progress import tell
from dprd_cli.runtime.ranks import rank

#: Signals that ask to stop; SIGHUP comes when the terminal goes away.
ANSWERED = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class StopRequest:
    """While entered, SIGINT, SIGTERM and SIGHUP set `exit_code`; a second SIGINT quits at once.

    Attributes:
        exit_code: What the program should end with; 0 while nothing asked it to stop.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self._owner = os.getpid()
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in ANSWERED:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup or a script's `&` asked for
                    self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a loader process forked from the run: the run decides when it ends
            if number != signal.SIGINT:
                os._exit(EXIT_TERMINATED)
            return
        if number == signal.SIGINT and self.exit_code:
            raise KeyboardInterrupt
        self.exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED
        if rank() == 0:
            tell("stopping after this step, to save; Ctrl-C again quits at once")
