"""The detectors that come along."""

import pytest

from dprd_cli.errors import UserError
from dprd_cli.weights import demos
from dprd_cli.weights.demos import demo_of
from dprd_cli.weights.find import find_checkpoint


def test_a_demo_is_found_in_the_package_or_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(demos, "__file__", str(tmp_path / "dprd_cli" / "weights/demos.py"))
    for name, preset in demos.DEMOS.items():
        with pytest.raises(UserError) as caught:
            find_checkpoint(name)
        message = f"the {name} checkpoint is not installed; train one with `dprd train --preset {preset}`"
        assert message in str(caught.value)
    for folder in (tmp_path / "assets", tmp_path / "dprd_cli" / "assets"):
        folder.mkdir(parents=True)
        for name in demos.DEMOS:
            (folder / f"{name}.safetensors").write_bytes(b"")
            assert find_checkpoint(name) == folder / f"{name}.safetensors"


def test_a_demo_is_that_of_its_preset_of_any_size():
    assert demo_of("cascade-mrcnn") == demo_of("cascade-mrcnn-small") == "demo-cascade-mrcnn"
    assert demo_of("cascade-dprd") == "demo"
    assert demo_of("dprd") is None
