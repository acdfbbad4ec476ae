from pathlib import Path

from dprd_cli.weights.inventory import take_inventory


def test_the_demo_and_an_empty_folder(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(Path.home() / "no such torch"))
    found = take_inventory()
    assert (found.downloads, found.weights, found.demo) == ("~/no such torch/hub/checkpoints", [], True)


def test_published_weights_that_are_here(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "someone" / "torch"))
    folder = tmp_path / "someone" / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth").touch()
    found = take_inventory()
    assert found.weights == ["torchvision:maskrcnn_resnet50_fpn"]
    assert found.downloads == ".../checkpoints"
    assert "someone" not in str(found.to_json())
