"""The detectors that come along."""

import pytest

from dprd_cli.errors import UserError
from dprd_cli.weights import included
from dprd_cli.weights.find import find_checkpoint
from dprd_cli.weights.included import INCLUDED, included_beside


def test_one_is_found_in_the_package_or_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(included, "__file__", str(tmp_path / "dprd_cli" / "weights/included.py"))
    for name, one in INCLUDED.items():
        with pytest.raises(UserError) as caught:
            find_checkpoint(name)
        message = f"the {name} checkpoint is not installed; train one with `dprd train --preset {one.preset}`"
        assert message in str(caught.value)
    for folder in (tmp_path / "assets", tmp_path / "dprd_cli" / "assets"):
        folder.mkdir(parents=True)
        for name in INCLUDED:
            (folder / f"{name}.safetensors").write_bytes(b"")
            assert find_checkpoint(name) == folder / f"{name}.safetensors"


def test_beside_one_stands_that_of_another_preset_with_the_same_classes():
    assert included_beside("demo", "cascade-mrcnn") == "demo-cascade-mrcnn"
    assert included_beside("demo", "cascade-mrcnn-small") == "demo-cascade-mrcnn"
    assert included_beside("demo-cascade-mrcnn", "cascade-dprd") == "demo"
    assert included_beside("voc", "cascade-mrcnn") is None
    assert included_beside("demo", "dprd") is None
    assert included_beside("runs/mine", "cascade-mrcnn") is None
