"""What a run is trained in: said, kept when it is resumed, and resumed to the bit in bfloat16 too."""

import pytest
import torch

from dprd_cli.runtime import precision
from dprd_cli.runtime.precision import Bf16Support
from dprd_cli.training import setup
from dprd_cli.training.loop import train
from dprd_cli.training.setup import set_up
from dprd_cli.training.trainer import Trainer
from dprd_cli.weights.checkpoint import read_checkpoint
from training_runs import losses, same_state, tiny

pytestmark = pytest.mark.usefixtures("one_thread")


class StopError(Exception):
    pass


@pytest.fixture
def speed(monkeypatch):
    """Let the CPU be so many times as fast in bfloat16 from now on."""

    def pretend(ratio):
        monkeypatch.setattr(precision, "cpu_support", lambda: Bf16Support("AMX", ratio))

    return pretend


def test_a_run_in_bfloat16_resumes_to_the_bit_though_the_measurement_turned(tmp_path, monkeypatch, speed):
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    speed(2.0)
    train(tiny(), tmp_path / "straight")
    usual = Trainer.train_step

    def stops_at_2(self, images, targets):
        if self.step == 2:
            raise StopError
        usual(self, images, targets)

    with monkeypatch.context() as stopping:
        stopping.setattr(Trainer, "train_step", stops_at_2)
        with pytest.raises(StopError):
            train(tiny(), tmp_path / "stopped")
    speed(1.0)
    train(tiny(), tmp_path / "stopped", resume=True)
    same_state(tmp_path / "straight" / "last.pt", tmp_path / "stopped" / "last.pt")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "straight")
    saved = read_checkpoint(tmp_path / "stopped" / "last.pt")
    assert (saved["config"]["train"]["precision"], saved["precision"]) == ("auto", {"cpu": "bf16"})
    assert all(value.dtype != torch.bfloat16 for value in saved["model"].values())


@pytest.mark.parametrize(
    ("then", "kept", "now", "expected"),
    [
        ({"precision": "auto"}, {"cpu": "fp32"}, "auto", "fp32"),
        ({"precision": "auto"}, {"cuda": "fp32"}, "auto", "bf16"),  # it was elsewhere: decided here
        ({"precision": "auto"}, {"cpu": "bf16"}, "fp32", "fp32"),  # asked for anew
        ({"precision": "fp32"}, {"cpu": "fp32"}, "auto", "bf16"),
        ({"amp": "auto"}, None, "auto", "fp32"),  # of a version that knew no bfloat16 on a CPU
        ({"amp": "on"}, None, "auto", "fp32"),
        ({"amp": "off"}, None, "fp32", "fp32"),
        ({}, None, "auto", "fp32"),
    ],
)
def test_what_a_run_resumes_in(speed, then, kept, now, expected):
    speed(3.0)
    saved = {"config": {"train": then}} | ({} if kept is None else {"precision": kept})
    assert setup._precision(tiny(f"train.precision={now}"), saved, torch.device("cpu")) == expected


def test_an_old_run_on_a_gpu_stays_in_bfloat16():
    saved = {"config": {"train": {"amp": "auto"}}}
    assert setup._precision(tiny(), saved, torch.device("cuda")) == "bf16"
    assert setup._precision(tiny("train.precision=fp32"), saved, torch.device("cuda")) == "fp32"


def test_it_is_said(caplog, speed):
    speed(0.5)
    with caplog.at_level("INFO", logger="dprd_cli"):
        assert set_up(tiny()).precision == "fp32"
    assert "on cpu, in float32 (AMX: a 3x3 convolution in bfloat16 is 0.5 times as fast)" in caplog.messages
