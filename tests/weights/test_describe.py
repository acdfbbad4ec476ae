"""What a checkpoint of this project is; published weights are tested through `dprd weights show`."""

import json

from dprd_cli.weights.checkpoint import save_checkpoint
from dprd_cli.weights.describe import describe_weights


def test_a_checkpoint_has_every_tensor_under_its_own_name(tmp_path, payload):
    path = tmp_path / "x.pt"
    save_checkpoint(path, payload)
    found = describe_weights(str(path))
    assert (found.file, found.keys, found.classes) == (path, "dprd", ("cat", "dog"))
    assert found.origin == {name: name for name in payload["model"]}
    assert found.tensors == len(payload["model"])
    content = json.loads(json.dumps(found.to_json()))
    assert "unused" not in content  # nothing is translated
    assert content["backbone"] == payload["config"]["model"]["backbone"]["name"]
