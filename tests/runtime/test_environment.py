import builtins
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement

from dprd_cli.runtime import environment
from dprd_cli.runtime.environment import (
    REQUIRED,
    describe_environment,
    describe_run_environment,
    without_home,
)
from paths import ROOT


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "dprd_cli").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(environment.dprd_cli, "__file__", str(tmp_path / "dprd_cli" / "__init__.py"))
    return tmp_path


def test_every_declared_dependency_is_told():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert list(REQUIRED) == [Requirement(line).name for line in declared]


def test_what_is_told(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(Path.home() / "torch"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("XDG_CACHE_HOME")
    found = describe_environment()
    assert found.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert found.device in ("cpu", "cuda")
    assert found.threads.keys() == {"intra-op", "inter-op"}
    assert set(REQUIRED) <= found.packages.keys()
    assert found.variables["TORCH_HOME"] == "~/torch"
    assert found.variables["OMP_NUM_THREADS"] == "3"
    assert "XDG_CACHE_HOME" not in found.variables


def test_paths_tell_no_names(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    assert without_home(tmp_path / "ann" / "a" / "b") == "~/a/b"
    assert without_home(tmp_path / "bob" / "b") == ".../b"


def test_a_checkout_s_commit_and_changes(checkout):
    found = describe_environment()
    assert (found.installed, found.commit) == ("package", None)
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "first")
    found = describe_environment()
    assert (found.commit, found.changed) == (git(checkout, "rev-parse", "HEAD"), False)
    assert found.installed.endswith("checkout")
    (checkout / "pyproject.toml").write_text("#")
    assert describe_environment().changed is True


def test_without_git(checkout, monkeypatch):
    (checkout / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    found = describe_environment()
    assert (found.commit, found.changed) == (None, None)


def test_an_installation_from_a_repository(checkout, monkeypatch):
    text = '{"url": "https://a.b/c", "vcs_info": {"vcs": "git", "commit_id": "0123abcd"}}'
    monkeypatch.setattr(
        environment, "distribution", lambda _: SimpleNamespace(version="1", read_text=lambda _: text)
    )
    found = describe_environment()
    assert (found.installed, found.commit, found.changed) == ("package", "0123abcd", None)


def test_broken_installations_are_described(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = describe_environment()
    assert (found.device, found.threads) == (None, {})
    assert found.problems[0].startswith("PyTorch cannot be imported: ")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert "torchvision cannot be imported" in describe_environment().problems[0]


def test_missing_packages_and_two_opencvs(monkeypatch):
    versions = {name: "1" for name in (*REQUIRED, "opencv-python")}
    monkeypatch.setattr(environment, "_version", versions.get)
    assert describe_environment().problems == [
        "opencv-python and opencv-python-headless write the same cv2/: uninstall both, then install "
        "opencv-python-headless"
    ]
    del versions["opencv-python"], versions["rich"]
    found = describe_environment()
    assert found.packages["rich"] is None
    assert found.problems == ["not installed: rich; install dprd-cli again"]


def test_errors_tell_no_paths(monkeypatch):
    error = ImportError("/home/ann/v/lib/libtorch.so.2: undefined symbol: a/b\n(see https://c.d/e)")
    real = builtins.__import__

    def broken(name, *arguments):
        if name == "torch":
            raise error
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", broken)
    assert describe_environment().problems[0] == (
        "PyTorch cannot be imported: .../libtorch.so.2: undefined symbol: a/b (see https://c.d/e)"
    )


def test_a_run_says_what_it_ran_on(checkout, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dprd", "train", "--data", "my pets"])
    found = describe_run_environment(torch.device("cpu"))
    assert (found.commit, found.command, found.device) == (None, "dprd train --data 'my pets'", "cpu")
    assert found.torch == torch.__version__
    assert found.threads == torch.get_num_threads()
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "first")
    commit = git(checkout, "rev-parse", "HEAD")
    assert describe_run_environment(torch.device("cpu")).commit == commit
    (checkout / "pyproject.toml").write_text("#")
    assert describe_run_environment(torch.device("cpu")).commit == f"{commit}-dirty"
