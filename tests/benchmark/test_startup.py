"""What starting the program costs over what it cannot do without, by hand."""

import sys

import numpy as np
import pytest

from dprd_cli.benchmark import startup as module
from dprd_cli.benchmark.measure import Timing
from dprd_cli.benchmark.startup import startup
from dprd_cli.errors import UserError


def test_prediction_is_held_against_imports_and_inference(monkeypatch):
    seconds = {"dprd --help": 0.2, "dprd predict": 9.0, 'python -c "import torch, torchvision"': 4.0}
    names = []

    def timed(runs, repetitions, device, progress):
        names.extend(runs)
        for _ in range(2):  # over what it has written
            runs["dprd predict"]()
        return {name: Timing((seconds[name],), 7) for name in runs}

    monkeypatch.setattr(module, "interleave", timed)
    monkeypatch.setattr(module, "_inference", lambda predictor, image, repetitions: Timing((2.0,), None))
    report = startup((64, 80), 1, lambda done, total: None)
    assert set(names) == set(seconds)
    assert report.timings.keys() == {*seconds, "inference"}
    assert all(timing.memory is None for timing in report.timings.values())  # of other processes: not known
    helped, predicted = report.rows
    assert (helped.value, helped.unit, helped.met) == (0.2, "s", True)
    assert (predicted.value, predicted.met) == (9.0 / (4.0 + 2.0), True)


def test_a_process_that_fails_is_no_measurement():
    module._process(sys.executable, "-c", "pass")()
    with pytest.raises(UserError, match="no such thing"):
        module._process(sys.executable, "-c", "import sys; sys.exit('no such thing')")()


def test_inference_is_timed_after_one_call():
    class Predictor:
        calls = 0

        def predict(self, image):
            self.calls += 1

    predictor = Predictor()
    timing = module._inference(predictor, np.zeros((4, 4, 3), np.uint8), 3)
    assert predictor.calls == 4
    assert len(timing.seconds) == 3
