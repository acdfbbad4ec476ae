import json
from types import SimpleNamespace

from dprd_cli.training.result import TrainResult


def test_results_json_begins_with_the_run(tmp_path):
    evaluation = SimpleNamespace(to_json=lambda: {"bbox": {"AP": 12.5}})
    result = TrainResult(tmp_path, 40, "val", evaluation)
    assert json.loads(json.dumps(result.to_json())) == {
        "checkpoint": "last.pt",
        "step": 40,
        "data": "val",
        "bbox": {"AP": 12.5},
    }


def test_the_best_checkpoint_is_named_where_it_is(tmp_path):
    result = TrainResult(tmp_path, 1, "val", None)
    assert result.best is None
    (tmp_path / "best.pt").touch()
    assert result.best == tmp_path / "best.pt"
    assert result.last == tmp_path / "last.pt"
