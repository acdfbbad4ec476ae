"""For the tests of training: one thread, and a run that nothing disturbs."""

import pytest
import torch

from dprd_cli.training.loop import train
from training_runs import tiny


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A run of four steps that nothing disturbs: its folder and its result."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("straight")
    return folder, train(tiny("train.eval_every=2", "train.eval_limit=2"), folder)
