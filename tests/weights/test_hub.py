"""Weights on the hub, against a server on this machine that speaks its protocol."""

import builtins
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from dprd_cli import load
from dprd_cli.config.schema import Config
from dprd_cli.errors import UsageError, UserError
from dprd_cli.training.start import TrainOptions, new_config
from dprd_cli.weights import hub as hub_module
from dprd_cli.weights.checkpoint import export_safetensors, read_checkpoint
from dprd_cli.weights.find import find_checkpoint
from dprd_cli.weights.hub import fetch_hub, is_hub
from hub_server import TOKEN, serve_hub, sha256, use_hub
from paths import ROOT

IMAGE = ROOT / "assets" / "images" / "val_000000.png"
DETECT = """
import sys, numpy, torch
from dprd_cli import load
torch.set_num_threads(int(sys.argv[3]))
found = load(sys.argv[1], device="cpu").predict(sys.argv[2], score_thresh=0.0)
numpy.savez(sys.argv[4], boxes=found.boxes, scores=found.scores, masks=found.masks)
"""


@pytest.fixture
def hub():
    with serve_hub() as server:
        yield server


@pytest.fixture
def weights(tiny_checkpoint, tmp_path):
    """Return the bytes of a packed network."""
    path = tmp_path / "packed.safetensors"
    export_safetensors(read_checkpoint(hub_module.Path(tiny_checkpoint)), path, {})
    return path.read_bytes()


@pytest.fixture
def cache(hub, tmp_path, monkeypatch):
    use_hub(monkeypatch, hub.endpoint, tmp_path / "cache")
    return tmp_path / "cache"


def test_a_name_is_pinned_to_the_commit_that_it_is(hub, weights, cache, caplog):
    caplog.set_level("INFO", "dprd_cli")
    commit = hub.repository("org/name").add(model__safetensors=weights)
    found = fetch_hub("hf:org/name")
    assert (found.repository, found.commit, found.pinned) == ("org/name", commit, f"hf:org/name@{commit}")
    assert found.path.read_bytes() == weights
    assert cache in found.path.parents
    assert caplog.messages == [f"hf:org/name is commit {commit}; hf:org/name@{commit} stays that"]
    newer = hub.repository("org/name").add(model__safetensors=weights, README__md=b"new")
    assert fetch_hub("hf:org/name@main").commit == newer != commit
    before = len(hub.requests)
    assert fetch_hub(found.pinned) == found
    assert len(hub.requests) == before, "what is pinned and there needs no network"
    assert len(caplog.messages) == 2, "and nothing to say"


def test_what_was_fetched_loads_without_a_network(hub, weights, cache, monkeypatch):
    hub.repository("org/name").add(model__safetensors=weights)
    found = fetch_hub("hf:org/name")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    assert fetch_hub("hf:org/name") == found
    assert find_checkpoint(found.pinned) == found.path
    assert load("hf:org/name").class_names[0] == "tadpole"
    with pytest.raises(UserError, match=r"^hf:org/other: the hub cannot be reached \(.*\), and the cache"):
        fetch_hub("hf:org/other")
    assert len(hub.requests) == before


def test_a_training_keeps_the_commit(hub, weights, cache):
    commit = hub.repository("org/name").add(model__safetensors=weights)
    config = new_config(TrainOptions(weights="hf:org/name"))
    assert isinstance(config, Config)
    assert config.train.weights == f"hf:org/name@{commit}"
    assert config.model.backbone.name == "mobilenet_v2"
    config = new_config(TrainOptions(overrides=("train.weights=hf:org/name@main",)))
    assert config.train.weights == f"hf:org/name@{commit}"


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("hf:org/none", "no such repository, or a private one: log in with `hf auth login`, or set HF_TOKEN"),
        ("hf:org/secret", "no such repository, or a private one: log in with"),
        ("hf:org/gated", "the hub asks for consent first; give it there, and log in with"),
        ("hf:org/name@gone", "the repository has no such branch, tag or commit"),
        ("hf:org/pickle", "the repository has no model.safetensors, and nothing else is read from a hub; "),
        ("hf:org/disguised", "model.safetensors is no safetensors file; refused, as all else from a hub is"),
        ("hf:name", "expected ORG/NAME, a repository on the hub"),
        ("hf:org/../name", "expected ORG/NAME, a repository on the hub"),
        ("hf:org/name@", "expected a branch, tag or commit after the @"),
        ("hf:org/name@a b", "expected a branch, tag or commit after the @"),
    ],
)
def test_what_is_refused(spec, line, hub, weights, cache):
    pickled = pickle.dumps({"model": os.getcwd()})
    hub.repository("org/name").add(model__safetensors=weights)
    hub.repository("org/secret", private=True).add(model__safetensors=weights)
    hub.repository("org/gated", gated=True).add(model__safetensors=weights)
    hub.repository("org/pickle").add(best__pt=pickled)
    hub.repository("org/disguised").add(model__safetensors=pickled)
    with pytest.raises(UserError) as caught:
        fetch_hub(spec)
    assert line in str(caught.value)
    assert spec in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_private_repository_opens_to_its_token(hub, weights, cache, monkeypatch):
    hub.repository("org/secret", private=True).add(model__safetensors=weights)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch_hub("hf:org/secret").path.read_bytes() == weights


def test_a_changed_file_is_refused_and_a_large_one_not_fetched(hub, weights, cache, monkeypatch):
    hub.repository("org/name").add(model__safetensors=weights)
    found = fetch_hub("hf:org/name")
    blob = found.path.resolve()
    blob.write_bytes(b"x" + weights[1:])
    with pytest.raises(
        UserError, match=rf"its SHA-256 is \w+..., expected {sha256(weights)[:16]}...; delete"
    ):
        fetch_hub("hf:org/name")
    blob.write_bytes(weights)
    monkeypatch.setattr(hub_module, "LARGEST_FILE", len(weights) - 1)
    hub.requests.clear()
    with pytest.raises(UserError, match=r"files of up to 0 GiB are taken"):
        fetch_hub("hf:org/name")
    assert not any("cdn" in one for one in hub.requests)


def test_without_the_library_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args):
        if name == "huggingface_hub":
            raise ImportError
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        UsageError, match=r"huggingface_hub is not installed; .* pip install 'dprd-cli\[hub\]'"
    ):
        fetch_hub("hf:org/name")


def test_other_names_are_not_of_the_hub():
    assert is_hub("hf:org/name")
    assert not any(map(is_hub, ("demo", "runs/hf", "torchvision:maskrcnn_resnet50_fpn", "")))


def test_another_machine_gets_the_same_detections_to_the_bit(hub, weights, tiny_checkpoint, tmp_path):
    hub.repository("org/name").add(model__safetensors=weights)
    home = tmp_path / "home"
    home.mkdir()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_", "TORCH_"))}
    environment = clean | {"HOME": str(home), "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1"}
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-c", DETECT, "hf:org/name", str(IMAGE), threads, str(tmp_path / "there.npz")]
    subprocess.run(command, env=environment, cwd=home, check=True, capture_output=True, timeout=600)
    there = np.load(tmp_path / "there.npz")
    here = load(tiny_checkpoint, device="cpu").predict(IMAGE, score_thresh=0.0)
    assert len(here.scores) > 0
    for name in ("boxes", "scores", "masks"):
        assert getattr(here, name).tobytes() == there[name].tobytes()
    assert any(home.rglob("model.safetensors")), "it came into a cache of its own"
