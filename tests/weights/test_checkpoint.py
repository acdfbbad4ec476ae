import errno
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.errors import ResourceError, UserError
from dprd_cli.weights.checkpoint import (
    export_safetensors,
    load_state,
    read_checkpoint,
    read_tensors,
    save_checkpoint,
)
from dprd_cli.weights.load import load_model
from paths import TINY


class Attack:
    """Unpickles by creating a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def small(**changes):
    base = {
        "config": {},
        "class_names": ["a"],
        "category_ids": [1],
        "with_masks": False,
        "model": {"w": torch.ones(2)},
        "step": 1,
    }
    return base | changes


def message(path):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_save_and_read_give_the_same_content_and_leave_no_other_file(tmp_path):
    save_checkpoint(tmp_path / "last.pt", small())
    content = read_checkpoint(tmp_path / "last.pt")
    assert content["format"] == "dprd-checkpoint"
    assert content["version"] == 1
    assert content["step"] == 1
    assert torch.equal(content["model"]["w"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_save_keeps_the_previous_one_where_asked(tmp_path):
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    for step in (1, 2, 3):
        save_checkpoint(last, small(step=step), previous=previous)
    assert read_checkpoint(last)["step"] == 3
    assert read_checkpoint(previous)["step"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, small(step=1))
    (tmp_path / ".last.pt.tmp").symlink_to("/dev/full")  # every write to it fails with ENOSPC
    with pytest.raises(ResourceError) as caught:
        save_checkpoint(path, small(step=2), previous=tmp_path / "previous.pt")
    assert str(caught.value) == f"{path}: cannot save (No space left on device); the old file is untouched"
    assert caught.value.exit_code == 5
    assert read_checkpoint(path)["step"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.pt"]


def test_saving_into_a_missing_folder_is_a_clear_error(tmp_path):
    path = tmp_path / "gone" / "last.pt"
    with pytest.raises(ResourceError) as caught:
        save_checkpoint(path, small())
    assert (
        str(caught.value) == f"{path}: cannot save ({os.strerror(errno.ENOENT)}); the old file is untouched"
    )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_never_run(tmp_path, zipped, protocol):
    trap, path = tmp_path / "trap", tmp_path / "evil.pt"
    content = small(config=Attack(trap))
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert message(path) == f"{path}: contains pickled code; refused"
    assert not trap.exists()


def test_a_plain_pickle_with_code_is_refused(tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Attack(trap), protocol=2))
    assert message(path) == f"{path}: contains pickled code; refused"
    assert not trap.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_gets_one_line(tmp_path, share):
    path = tmp_path / "last.pt"
    save_checkpoint(path, small(model={"w": torch.randn(1000)}))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert (
        message(path) == f"{path}: not a checkpoint, or truncated; pass a .pt or .safetensors file of a run"
    )


def test_a_checkpoint_with_flipped_bytes_in_its_pickle_gets_one_line(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, small())
    with zipfile.ZipFile(path) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, b"\x80\x02garbage" if name.endswith("data.pkl") else data)
    assert str(path) in message(path)


def test_other_files_are_told_apart(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no checkpoint at all")
    assert message(text).startswith(f"{text}: not a checkpoint, or truncated")
    bare = tmp_path / "resnet.pth"
    torch.save(nn.Linear(2, 2).state_dict(), bare)
    hint = "backbone weights go to --backbone-weights"
    assert message(bare) == (
        f"{bare}: not a dprd checkpoint but a bare state dict of 2 tensors (first: weight); {hint}"
    )
    stretched = tmp_path / "stretched.pth"
    torch.save({"bias": torch.ones(2), "weight": torch.ones(()).expand(99, 99)}, stretched)
    with pytest.raises(UserError, match="tensors of which weight is sparse, quantized, complex or not all"):
        read_tensors(stretched)
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {}, "epoch": 3}, other)
    assert message(other) == (
        f"{other}: not a dprd checkpoint but a checkpoint of another program "
        f"(keys: state_dict, epoch); {hint}"
    )
    listed = tmp_path / "list.pth"
    torch.save([1, 2], listed)
    assert message(listed) == f"{listed}: not a dprd checkpoint but a saved list; {hint}"
    gone = tmp_path / "gone.pt"
    assert message(gone) == f"{gone}: cannot read the checkpoint (No such file or directory)"
    assert message(tmp_path) == f"{tmp_path}: cannot read the checkpoint (Is a directory)"


def test_versions_and_missing_keys_are_named(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"format": "dprd-checkpoint", "version": 2}, path)
    assert message(path) == f"{path}: checkpoint version 2; version 1 expected"
    torch.save({"format": "dprd-checkpoint", "version": 1, "config": {}, "class_names": []}, path)
    assert message(path) == f"{path}: the checkpoint is incomplete (no category_ids, with_masks, model, step)"


def test_safetensors_hold_the_same_model_and_where_it_came_from(tmp_path, payload):
    path = tmp_path / "demo.safetensors"
    export_safetensors(payload, path, {"command": "dprd train", "bbox_AP": 51.0})
    content = read_checkpoint(path)
    assert content["provenance"] == {"command": "dprd train", "bbox_AP": 51.0}
    assert {key: content[key] for key in payload if key != "model"} == {
        key: payload[key] for key in payload if key != "model"
    }
    assert content["model"].keys() == payload["model"].keys()
    assert all(torch.equal(content["model"][key], tensor) for key, tensor in payload["model"].items())


def test_packed_safetensors_are_read_as_float32_and_keep_vectors_whole(tmp_path, payload):
    whole, path = tmp_path / "whole.safetensors", tmp_path / "demo.safetensors"
    export_safetensors(payload, whole, {})
    export_safetensors(payload, path, {}, packed=True)
    assert path.stat().st_size < 0.4 * whole.stat().st_size
    stored = read_checkpoint(path)["model"]
    assert stored.keys() == payload["model"].keys()
    for key, tensor in payload["model"].items():
        assert stored[key].dtype == tensor.dtype
        assert tensor.ndim > 1 or torch.equal(stored[key], tensor)
        torch.testing.assert_close(stored[key], tensor, rtol=0, atol=float(tensor.abs().max()) / 250)
    load_model(str(path), "cpu")


def test_packed_safetensors_whose_scales_do_not_fit_get_one_line(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    tensors = {"w": torch.ones(2, 2, dtype=torch.int8), "w.scale": torch.ones(2)}
    save_file(tensors, path, metadata={"format": "dprd-checkpoint", "content": "{}"})
    assert message(path) == f"{path}: not a safetensors checkpoint, or truncated"


def test_broken_and_foreign_safetensors_get_one_line(tmp_path, payload):
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    export_safetensors(payload, path, {})
    path.write_bytes(path.read_bytes()[:1000])
    assert message(path) == f"{path}: not a safetensors checkpoint, or truncated"
    save_file({"w": torch.ones(1)}, path)
    assert "a bare state dict of 1 tensors (first: w)" in message(path)


def compressed(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))


def code_in(path):
    torch.save(small(model={"w": Attack(path.with_suffix(".trap"))}), path)


HOSTILE = {
    "empty": (lambda path: path.write_bytes(b""), "not a checkpoint, or truncated"),
    "text": (lambda path: path.write_text("hello\n" * 99), "not a checkpoint, or truncated"),
    "code": (code_in, "contains pickled code; refused"),
    "bomb": (compressed, "holds more than its size, as no checkpoint of PyTorch does; refused"),
    "strings for tensors": (
        lambda path: torch.save({"format": "dprd-checkpoint", "version": 1, **small(model={"w": "x"})}, path),
        "the checkpoint is malformed (model)",
    ),
    "a score that is none": (
        lambda path: save_checkpoint(path, small(score_thresh=1.5)),
        "the checkpoint is malformed (score_thresh)",
    ),
    "odd classes": (
        lambda path: save_checkpoint(path, small(class_names=[3], category_ids=["a"])),
        "the checkpoint is malformed (class_names, category_ids)",
    ),
    "unknown config": (
        lambda path: save_checkpoint(path, small(config={"model": {"x": 1}})),
        "no config key 'model.x'",
    ),
    "shapes": (
        lambda path: save_checkpoint(path, small(config=resolve(config_file=TINY).model_dump(mode="json"))),
        "checkpoint of another model or class count",
    ),
}


@pytest.mark.parametrize(
    ("kind", "command"),
    # a warm start takes the shapes that fit
    [
        (kind, command)
        for kind in HOSTILE
        for command in ("eval", "train")
        if (kind, command) != ("shapes", "train")
    ],
)
def test_a_hostile_checkpoint_gets_one_line_and_runs_nothing(tmp_path, capsys, kind, command):
    write, expected = HOSTILE[kind]
    path = tmp_path / "x.pt"
    write(path)
    arguments = {"eval": [], "train": ["--config", str(TINY), "--out", str(tmp_path / "run")]}[command]
    assert cli.run([command, "--weights", str(path), *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"error: {path}: {expected}")
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == [path]


def test_load_state_names_the_first_differences():
    layer = nn.Linear(2, 3)
    with pytest.raises(UserError) as caught:
        load_state(layer, {"weight": torch.ones(3, 5), "extra": torch.ones(1)}, Path("x.pt"))
    assert str(caught.value) == (
        "x.pt: checkpoint of another model or class count (no bias; unexpected extra and 1 more)"
    )
    with pytest.raises(UserError, match=r"\(weight is \[3, 5\], expected \[3, 2\]\)"):
        load_state(layer, {"weight": torch.ones(3, 5), "bias": torch.ones(3)}, Path("x.pt"))


def test_checkpoints_are_read_to_the_cpu_without_running_the_optimizer_code(tmp_path):
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    save_checkpoint(tmp_path / "x.pt", small(optimizer=optimizer.state_dict()))
    assert read_checkpoint(tmp_path / "x.pt")["optimizer"]["state"].keys() == {0, 1}


@pytest.mark.parametrize("wrong", [{"cpu": "fp16"}, {"cpu": ["bf16"]}, "bf16"])
def test_a_malformed_precision_is_refused(tmp_path, payload, wrong):
    path = tmp_path / "x.pt"
    save_checkpoint(path, {**payload, "precision": wrong})
    with pytest.raises(UserError, match=r"malformed \(precision\)"):
        read_checkpoint(path)
