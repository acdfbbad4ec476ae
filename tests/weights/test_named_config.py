"""The configuration that a name stands for."""

import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError
from dprd_cli.weights.checkpoint import save_checkpoint
from dprd_cli.weights.named_config import compare_configs, named_base
from dprd_cli.weights.published import published_config
from dprd_cli.weights.zoo import ZOO
from paths import TINY


def test_presets_and_files_are_named_by_what_they_are(tmp_path):
    assert named_base("dprd-small").preset == "dprd-small"
    assert named_base("").preset is None
    assert named_base(str(TINY)).file == TINY
    (tmp_path / "config.toml").write_text('preset = "dprd"\n')
    assert named_base(str(tmp_path)).file == tmp_path / "config.toml"  # a run folder


def test_a_checkpoint_gives_the_configuration_inside(tmp_path, payload):
    path = tmp_path / "x.pt"
    save_checkpoint(path, payload)
    base = named_base(str(path))
    assert base.tree == payload["config"]
    assert base.preset == resolve(config_file=TINY).preset


def test_published_weights_give_that_of_their_network():
    name = "torchvision:maskrcnn_resnet50_fpn_v2"
    assert named_base(name).tree == published_config(ZOO[name]).model_dump(mode="json")


def test_what_stands_for_nothing_is_an_error_with_a_suggestion():
    with pytest.raises(UsageError, match=r"'dprd-smal': no such preset.*did you mean 'dprd-small'"):
        named_base("dprd-smal")


def test_two_names_are_compared_and_one_with_its_own_preset(tmp_path):
    found = compare_configs("dprd", "mask-rcnn")
    assert (found.first, found.second) == ("dprd", "mask-rcnn")
    assert found.differences["model.parts.mode"] == ("deformable", "none")
    path = tmp_path / "a.toml"
    path.write_text('preset = "dprd"\nschedule = "3x"\n[train]\nseed = 5\n')
    assert compare_configs(str(path)).to_json() == {
        "first": "preset dprd, schedule 3x",
        "second": str(path),
        "differences": [{"key": "train.seed", "first": 0, "second": 5}],
    }
    assert compare_configs("dprd").differences == {}
