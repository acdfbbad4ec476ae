"""The table of published weights."""

import pytest

from dprd_cli.errors import UsageError
from dprd_cli.weights.zoo import ZOO, foreign_file, is_published, published

DETECTORS = [name for name, file in ZOO.items() if file.preset]


def test_every_file_has_an_address_a_name_of_its_own_and_a_known_network():
    assert len({file.file_name for file in ZOO.values()}) == len(ZOO)
    for file in ZOO.values():
        assert file.url.startswith("https://")
        assert file.backbone in {"r50", "r101", "x101"}
        assert "/" not in file.file_name
        assert set(file.to_json()) == {"preset", "backbone", "url", "file", "sha256"}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_know_the_80_classes(name):
    names = [text for text in ZOO[name].classes.values() if text not in ("__background__", "N/A")]
    assert len(set(names)) >= 80
    assert {"person", "toothbrush"} <= set(names)


@pytest.mark.parametrize("name", ZOO)
def test_a_name_is_found_without_its_folder_and_with_the_ending_of_a_config_file(name):
    maker, _, path = name.partition(":")
    assert is_published(name)
    assert published(name) is published(f"{name}.yaml") is ZOO[name]
    assert published(f"{maker}:{path.rpartition('/')[2]}").preset == ZOO[name].preset


def test_another_name_is_an_error_with_a_suggestion():
    with pytest.raises(UsageError, match=r"no published weights 'torchvision:maskrcnn_.*did you mean"):
        published("torchvision:maskrcnn_resnet50")
    assert not is_published("runs/detectron2")


def test_a_foreign_file_is_known_by_its_ending(tmp_path):
    for name in ("a.pkl", "a.pth", "a.pt"):
        (tmp_path / name).touch()
    assert foreign_file(str(tmp_path / "a.pkl")) == tmp_path / "a.pkl"
    assert foreign_file(str(tmp_path / "a.pth")) == tmp_path / "a.pth"
    assert foreign_file(str(tmp_path / "a.pt")) is None  # this project's
    assert foreign_file(str(tmp_path / "gone.pkl")) is foreign_file("") is None
