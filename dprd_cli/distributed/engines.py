"""What hands pieces to workers: a loop in this process, or Ray on any number of machines."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from dprd_cli.distributed.detect import DetectOptions, ImageDetector
from dprd_cli.distributed.pieces import Piece
from dprd_cli.distributed.results import JobResults
from dprd_cli.errors import UsageError, UserError, one_line
from dprd_cli.runtime.progress import say

_BLOCKS = 10_000  # that Ray keeps track of; what is lost with a worker is done again by the block
_RETRIES = 3  # of a block whose worker ended


@dataclass(frozen=True, slots=True)
class PieceReport:
    """A piece that is done.

    Args:
        number: Which.
        images: How many images it has.
        unreadable: How many of them could not be read.
    """

    number: int
    images: int
    unreadable: int


class PieceWorker(Protocol):
    """Does pieces."""

    def __call__(self, piece: Piece) -> PieceReport:
        """Do a piece whole: when this returns, its file is there."""
        ...


class Engine(Protocol):
    """Has workers do pieces; entered before, and left after."""

    def __enter__(self) -> Engine:
        """Get ready."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the machines."""
        ...

    def run(self, pieces: Sequence[Piece], make: Callable[[], PieceWorker]) -> Iterator[PieceReport]:
        """Yield a report of each piece when it is done, in any order; each once, however often it was begun.

        Args:
            pieces: What is to be done.
            make: Makes a worker; can be pickled.

        Raises:
            UserError: What a worker raised.
        """
        ...


class DetectingWorker:
    """Detects in the images of pieces, and writes their files.

    Args:
        options: How.
        results: Where the files go.
    """

    def __init__(self, options: DetectOptions, results: JobResults) -> None:
        self._results = results
        self._detector = ImageDetector(options)

    def __call__(self, piece: Piece) -> PieceReport:
        """Detect in a piece, and write its file."""
        rows = list(self._detector.rows(piece.items()))
        self._results.write(piece.number, rows)
        return PieceReport(piece.number, len(rows), sum(bool(row.error) for row in rows))


class LoopEngine:
    """Does pieces one after the other, in this process."""

    def __enter__(self) -> LoopEngine:
        """Nothing to get ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to let go of."""

    def run(self, pieces: Sequence[Piece], make: Callable[[], PieceWorker]) -> Iterator[PieceReport]:
        """Yield a report of each piece, in order."""
        worker = make()
        for piece in pieces:
            yield worker(piece)


class RayEngine:
    """Ray Data: an actor for each GPU or core; pieces handed out as they are done, lost ones again.

    Args:
        address: `local` starts Ray on this machine; `auto`, `HOST:PORT` or `ray://HOST:PORT` is a
            cluster that runs. In a program that has called `ray.init`, that is taken.
        actors: How many; by default one for each GPU of the cluster, or where it has none, for each core.
        device: As for `DetectOptions`; on `cpu` no actor takes a GPU.

    Raises:
        UsageError: If Ray is not installed.
    """

    def __init__(self, address: str = "local", actors: int = 0, device: str = "auto") -> None:
        if importlib.util.find_spec("ray") is None:
            raise UsageError("Ray is not installed; install it with: pip install 'dprd-cli[ray]'")
        self.address, self.actors, self.device = address, actors, device
        self._begun = False

    def __enter__(self) -> RayEngine:
        """Join the cluster, or start one.

        Raises:
            UserError: If the cluster does not answer.
        """
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not ray.is_initialized():
            more: dict[str, Any] = {}
            if self.address == "local":  # a core each is what is counted, not what there is
                more = {"include_dashboard": False, "num_cpus": self.actors or None}
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="error", **more)
            except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
                raise UserError(
                    f"--ray {self.address}: no cluster there ({one_line(error, 200)}); start one with "
                    "`ray start --head`, or leave the address out"
                ) from error
            self._begun = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._begun:
            import ray

            ray.shutdown()
            self._begun = False

    def run(self, pieces: Sequence[Piece], make: Callable[[], PieceWorker]) -> Iterator[PieceReport]:
        """Yield a report of each piece when it is done.

        Raises:
            UserError: What a worker raised, or that workers end over and over.
        """
        import ray.data

        class Actor:
            def __init__(self) -> None:
                self.worker = make()

            def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
                try:
                    outcome: PieceReport | UserError = self.worker(pickle.loads(row["piece"]))
                except UserError as error:  # as Ray wraps what is raised, only its text would arrive
                    outcome = error
                return {"outcome": pickle.dumps(outcome)}

        context = ray.data.DataContext.get_current()
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context.enable_progress_bars = context.print_on_execution_start = False
        actors, gpus = self._share()
        actors = min(actors, len(pieces))
        say(f"workers: {actors}, {'a GPU' if gpus else 'a core'} each")
        reports = ray.data.from_items(
            [{"piece": pickle.dumps(piece)} for piece in pieces],
            override_num_blocks=min(len(pieces), _BLOCKS),
        ).map(
            Actor,
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=0 if gpus else 1,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        with _as_user_errors():
            for row in reports.iter_rows():
                outcome: PieceReport | UserError = pickle.loads(row["outcome"])
                if isinstance(outcome, UserError):
                    raise outcome
                yield outcome

    def _share(self) -> tuple[int, int]:
        """Return how many actors there are to be, and how many GPUs each takes."""
        import ray

        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if self.device in ("auto", "cuda") else 0
        return self.actors or gpus or max(1, int(there.get("CPU", 1))), int(gpus > 0)


@contextlib.contextmanager
def _as_user_errors() -> Iterator[None]:
    """Turn what Ray raises into a line.

    Raises:
        UserError: Always, where Ray raises something.
    """
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        raise UserError(
            f"Ray: {one_line(error, 300)}; what was done is whole, the same line goes on"
        ) from error
