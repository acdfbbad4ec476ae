import json
import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torch

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.weights.backbone_weights import imagenet_file
from dprd_cli.weights.checkpoint import export_safetensors, read_checkpoint, save_checkpoint
from dprd_cli.weights.names import TABLES, candidates
from dprd_cli.weights.published import published_config
from dprd_cli.weights.zoo import ZOO
from networks import make_backbone
from paths import ROOT

IMAGE = str(ROOT / "assets" / "images" / "val_000000.png")
CASCADE = "detectron2:Misc/cascade_mask_rcnn_R_50_FPN_3x"


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """An empty download folder, and no network."""

    def refuse(*_args, **_kwargs):
        raise URLError("network is unreachable")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("dprd_cli.files.downloads.urlopen", refuse)


def run_json(arguments, capsys):
    assert cli.run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_names_everything(capsys, tmp_path):
    rows = run_json(["weights", "list"], capsys)["weights"]
    assert {row["name"] for row in rows} == set(ZOO)
    assert not any(row["fetched"] for row in rows)
    assert cli.run(["weights", "list"]) == 0
    out, err = capsys.readouterr()
    assert all(name in out for name in ZOO)
    assert str(tmp_path / "hub") in err


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (CASCADE, ZOO[CASCADE].url),
        ("detectron2:cascade_mask_rcnn_R_50_FPN_3x", ZOO[CASCADE].url),
        ("imagenet", imagenet_file("r50").url),
    ],
)
def test_fetch_without_a_network(name, url, capsys, tmp_path):
    assert cli.run(["weights", "fetch", name]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"error: cannot download {url} (")
    assert line.endswith(f".p{'th' if name == 'imagenet' else 'kl'} into {tmp_path / 'hub' / 'checkpoints'}")


def test_an_unknown_name(capsys):
    assert cli.run(["weights", "fetch", "detectron2:Misc/cascade_mask_rcnn_R_50_FPN_4x"]) == 2
    assert f"did you mean '{CASCADE}'" in capsys.readouterr().err.replace("1x", "3x")


def test_the_wrong_option_for_a_kind(capsys):
    assert cli.run(["predict", IMAGE, "--weights", "detectron2:MSRA/R-50"]) == 2
    assert "pass them to --backbone-weights" in capsys.readouterr().err
    assert cli.run(["train", "--backbone-weights", CASCADE, "--out", "run"]) == 2
    assert "pass them to --weights" in capsys.readouterr().err


def foreign_file(path, name=CASCADE, classes=80):
    """Write a file with a published network's names and shapes; its numbers are zeros of a byte each."""
    file = ZOO[name]
    with torch.device("meta"):
        own = build_detector(published_config(file).model, num_classes=classes).state_dict()
    state = {}
    for key, value in own.items():
        theirs = candidates(key, TABLES[file.keys])[0]
        if "mask_head" not in key and file.preset == "mask-rcnn":
            theirs = candidates(key, TABLES[file.keys])[-1]
        state[theirs] = torch.zeros(value.shape, dtype=torch.uint8)
    torch.save({"model": state}, path)
    return len(state)


def test_show_tells_what_a_file_is(tmp_path, capsys):
    path = tmp_path / "model.pth"
    count = foreign_file(path)
    found = run_json(["weights", "show", str(path)], capsys)
    assert found["preset"] == "cascade-mrcnn"
    assert found["backbone"] == "r50"
    assert found["tensors"] == found["used"] == count
    assert found["unused"] == found["missing"] == []
    assert found["classes"][:2] == ["person", "bicycle"]
    assert found["origin"]["rpn.deltas.bias"] == "proposal_generator.rpn_head.anchor_deltas.bias"
    assert cli.run(["weights", "show", str(path), "--keys"]) == 0
    assert "neck.lateral.0.weight <- backbone.fpn_lateral2.weight" in capsys.readouterr().out


def test_a_hostile_pickle_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    for command in (["weights", "show"], ["predict", IMAGE, "--weights"], ["train", "--weights"]):
        assert cli.run([*command, str(path)]) == 1
        assert "contains pickled code (os.system); refused" in capsys.readouterr().err
    assert not (tmp_path / "hacked").exists()


def test_a_surplus_tensor_is_named(tmp_path, capsys):
    path = tmp_path / "model.pth"
    foreign_file(path)
    state = torch.load(path, weights_only=True)["model"]
    state["roi_heads.keypoint_head.conv.weight"] = torch.zeros(1)
    del state["proposal_generator.rpn_head.conv.bias"]
    torch.save(state, path)
    assert cli.run(["predict", IMAGE, "--weights", str(path)]) == 1
    err = capsys.readouterr().err
    assert "1 missing (rpn.convs.0.0.bias)" in err
    assert "1 unused (roi_heads.keypoint_head.conv.weight)" in err


def caffe2_backbone(names):
    """Return a Caffe2 file's arrays of r50, with the given names of scale, shift, mean and variance."""
    torch.manual_seed(3)
    body = {
        f"backbone.body.{k}": v for k, v in make_backbone("r50", "frozen_bn", 0).body.state_dict().items()
    }
    arrays = {}
    for key, value in body.items():
        for theirs in candidates(key, TABLES["caffe2"]):
            if theirs.endswith("_w") or theirs.rpartition("_bn_")[2] in names:
                arrays[theirs] = (value + 0.25 * torch.rand(value.shape)).numpy()
    return arrays


@pytest.mark.parametrize(
    "names", [("gamma", "beta", "running_mean", "running_var"), ("s", "b", "rm", "riv"), ("s", "b")]
)
def test_caffe2_backbones(tmp_path, names):
    from dprd_cli.weights.backbone_weights import load_backbone_weights
    from dprd_cli.weights.start import implied_by_backbone

    arrays = caffe2_backbone(names)
    path = tmp_path / "R-50.pkl"
    content = {
        "blobs": arrays | {"fc1000_w": np.zeros((2, 2), np.float32), "conv1_b": np.zeros(64, np.float32)}
    }
    path.write_bytes(pickle.dumps(content, protocol=2))
    implied = implied_by_backbone("r50", str(path))["model"]
    assert implied["backbone"] == {"norm": "frozen_bn", "stride_in_1x1": True, "name": "r50"}
    assert implied["pixel_std"] == [1.0, 1.0, 1.0]
    config = resolve(preset="mask-rcnn-small", schedule="1x", base={"model": implied})
    detector = build_detector(config.model, num_classes=2)
    (line,) = load_backbone_weights(detector, str(path))
    assert "tensors from" in line
    body = detector.backbone.body
    assert torch.equal(body.conv1.weight.flip(1), torch.from_numpy(arrays["conv1_w"]))
    assert torch.equal(body.layer3[5].conv2.weight, torch.from_numpy(arrays["res4_5_branch2b_w"]))
    scale = arrays[f"res5_0_branch1_bn_{names[0]}"]
    assert torch.equal(body.layer4[0].downsample[1].weight, torch.from_numpy(scale))
    variance = body.layer4[0].downsample[1].running_var
    if len(names) == 2:
        assert variance.eq(1).all()
    else:
        assert torch.equal(variance, torch.from_numpy(arrays[f"res5_0_branch1_bn_{names[3]}"]))
    assert body.layer2[0].conv1.stride == (2, 2)


def test_show_tells_what_a_file_says_of_its_making(tmp_path, capsys):
    found = run_json(["weights", "show", "demo"], capsys)["made_by"]
    assert found["command"].startswith("dprd train --preset cascade-dprd-small")
    assert found["bbox_AP"] > 50
    assert cli.run(["weights", "show", "demo"]) == 0
    assert f"commit: {found['commit']}" in capsys.readouterr().out
    odd = tmp_path / "odd.safetensors"
    said = {"command": "one\x1b[2J", "images": [1], "seed": 3}
    export_safetensors(read_checkpoint(ROOT / "assets" / "demo.safetensors"), odd, said)
    assert run_json(["weights", "show", str(odd)], capsys)["made_by"] == {
        "command": said["command"],
        "seed": 3,
    }
    assert cli.run(["weights", "show", str(odd)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_show_tells_whether_a_checksum_was_compared(tmp_path, capsys):
    assert run_json(["weights", "show", "demo"], capsys)["checksum"] == "fits"
    content = read_checkpoint(ROOT / "assets" / "demo.safetensors")
    old = tmp_path / "old.pt"
    torch.save(content, old)
    assert run_json(["weights", "show", str(old)], capsys)["checksum"] == "none (of an older version)"
    new = tmp_path / "new.pt"
    save_checkpoint(new, content)
    assert cli.run(["weights", "show", str(new)]) == 0
    assert "checksum: fits" in capsys.readouterr().out
    data = bytearray(new.read_bytes())
    data[len(data) // 2] ^= 4
    new.write_bytes(data)
    assert cli.run(["weights", "show", str(new)]) == 1
    assert capsys.readouterr().err == (
        f"error: {new}: damaged: its checksum is that of another content; take another copy\n"
    )
