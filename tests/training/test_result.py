"""What a training gives: where its checkpoints are, and what `results.json` holds."""

import json

import pytest

from dprd_cli.training.result import TrainResult


class Evaluation:
    def to_json(self):
        return {"bbox": {"AP": 1.0}, "images": 4}


@pytest.fixture
def result(tmp_path):
    return TrainResult(tmp_path, 4, "synthetic val", Evaluation())


def test_the_json_is_of_the_last_checkpoint(result):
    assert json.loads(json.dumps(result.to_json())) == {
        "checkpoint": "last.pt", "step": 4, "data": "synthetic val", "bbox": {"AP": 1.0}, "images": 4,
    }  # fmt: skip


def test_there_is_a_best_checkpoint_where_one_was_measured(result):
    assert result.last == result.folder / "last.pt"
    assert result.best is None
    (result.folder / "best.pt").touch()
    assert result.best == result.folder / "best.pt"


def test_a_trained_run_says_what_its_file_says(straight):
    folder, result = straight
    assert json.loads((folder / "results.json").read_text()) == result.to_json()
    assert (result.folder, result.step, result.best) == (folder, 4, folder / "best.pt")
