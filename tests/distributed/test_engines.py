"""What hands out pieces: each is done, and what a worker raises arrives."""

import sys
from functools import partial

import pytest

from dprd_cli.distributed.engines import LoopEngine, PieceReport, RayEngine
from dprd_cli.distributed.pieces import NamedImages, numbered_pieces
from dprd_cli.errors import ResourceError, UsageError

PIECES = list(numbered_pieces(NamedImages((name,)) for name in "abcde"))


class Worker:
    """Notes what it does."""

    def __init__(self, folder, fails=-1):
        self.folder, self.fails = folder, fails

    def __call__(self, piece):
        if piece.number == self.fails:
            raise ResourceError("disk: no space left")
        (self.folder / str(piece.number)).touch()
        return PieceReport(piece.number, len(list(piece.items())), 0)


def test_a_loop_does_the_pieces_in_order(tmp_path):
    with LoopEngine() as engine:
        reports = list(engine.run(PIECES, partial(Worker, tmp_path)))
    assert reports == [PieceReport(number, 1, 0) for number in range(5)]


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as caught:
        RayEngine()
    assert str(caught.value) == "Ray is not installed; install it with: pip install 'dprd-cli[ray]'"


@pytest.mark.slow
def test_ray_does_every_piece_and_hands_on_what_a_worker_raises(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", f"{__import__('paths').ROOT}:{__import__('paths').TESTS}")
    with RayEngine(actors=2) as engine:
        reports = sorted(engine.run(PIECES, partial(Worker, tmp_path)), key=lambda one: one.number)
        assert reports == [PieceReport(number, 1, 0) for number in range(5)]
        with pytest.raises(ResourceError, match="disk: no space left"):
            list(engine.run(PIECES, partial(Worker, tmp_path, fails=3)))
