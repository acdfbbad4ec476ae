"""Mask R-CNN and Cascade Mask R-CNN are Detectron2's: its own numbers, for weights and images by rule.

`mask-rcnn-r50` and `cascade-mask-rcnn-r50` are 320 x 416; `mask-rcnn-x101` has the ResNeXt backbone, and
`cascade-mask-rcnn-r50-1x-seed11` other weights and an upright image whose sides are no multiples of 32.
"""

import json

import pytest
import torch

from dprd_cli import cli
from dprd_cli.benchmark import parity
from dprd_cli.errors import DataError
from paths import PARITY

FIXTURES = PARITY


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.json")), ids=lambda path: path.stem)
def test_detectron2s_numbers(path, capsys):
    assert cli.run(["parity", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert content["ok"]
    assert "within tolerance" in err
    kinds = {row["kind"] for row in content["differences"]}
    losses = set(json.loads(path.read_text())["training"]["losses"])
    assert {"features p2", "features p6", "proposals, logit", "masks, share of IoU 0.98 or less"} <= kinds
    assert losses <= kinds


@pytest.mark.slow
def test_a_difference_is_seen(tmp_path, capsys):
    """A fixture with one loss 1 % off, and every box elsewhere, fails in these two rows."""
    fixture = json.loads((FIXTURES / "mask-rcnn-r50.json").read_text())
    fixture["training"]["losses"]["loss_mask"] *= 1.01
    for detection in fixture["detections"]:
        detection["box"] = [value + 30 for value in detection["box"]]
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(fixture))
    assert cli.run(["parity", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "not within tolerance" in err
    wrong = [line for line in out.splitlines() if "DIFFERS" in line]
    assert len(wrong) == 2
    assert any("loss_mask" in line for line in wrong)
    assert any("detections, share without a partner" in line for line in wrong)


def test_a_partner_is_taken_once():
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    twice = box.repeat(2, 1)
    label = torch.zeros(2)
    assert parity._match(twice, box, label, label[:1]).tolist() == [0, -1]
    assert parity._match(box, box, torch.tensor([1.0]), label[:1]).tolist() == [-1]  # another class


@pytest.mark.parametrize(
    "change",
    [
        {"image": {"height": 0, "width": 0, "seed": 0}},
        {"training": None},
        {"pixel_std": [1.0]},
        {"keys": [["backbone.bottom_up.stem.conv1.weight", [-1, 2]]]},
        {"keys": 3},
    ],
    ids=str,
)
def test_a_broken_fixture_is_one_line(tmp_path, capsys, change):
    fixture = json.loads((FIXTURES / "mask-rcnn-r50.json").read_text())
    fixture["keys"] = []  # no weights to make
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(fixture | change))
    assert cli.run(["parity", str(path)]) in (1, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert "bug" not in line


def test_not_a_fixture(tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text('{"images": []}')
    assert cli.run(["parity", str(path)]) == 3
    assert "not a parity fixture (no keys" in capsys.readouterr().err
    path.write_text("{")
    with pytest.raises(DataError, match="not a JSON file"):
        parity.compare(path)
    with pytest.raises(DataError, match="cannot read the fixture"):
        parity.compare(tmp_path / "gone.json")
