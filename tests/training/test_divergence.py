import json

import pytest

from dprd_cli.training.divergence import DivergedState, divergence
from training_runs import tiny


@pytest.mark.parametrize("write", [True, False])
def test_what_is_not_finite_is_named_and_written(tmp_path, write):
    (tmp_path / "last.pt").touch()
    state = DivergedState(3, 2e-3, {"loss": float("nan"), "grad_norm": 1.0}, [7, 9])
    error = divergence(tiny(), tmp_path, state, write=write)
    assert str(error).startswith("step 3: not finite, or exploded: loss; lower the learning rate (")
    assert f"dprd train --resume {tmp_path} with it goes on" in str(error)
    path = tmp_path / "diverged.json"
    assert path.exists() == write
    if write:
        written = json.loads(path.read_text())
        assert (written["values"], written["image_ids"]) == ({"loss": "nan", "grad_norm": 1.0}, [7, 9])


def test_what_is_finite_and_far_too_large(tmp_path):
    error = divergence(tiny(), tmp_path, DivergedState(0, 1.0, {"largest weight": 1e9}, []), write=False)
    assert "exploded: largest weight; " in str(error)
    assert "--resume" not in str(error)
