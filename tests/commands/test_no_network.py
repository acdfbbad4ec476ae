"""The built-in data and the demo checkpoint need no network."""

import json
import socket

import pytest

from dprd_cli import cli
from paths import ROOT

TINY = str(ROOT / "tests" / "tiny.toml")
IMAGE = str(ROOT / "assets" / "images" / "val_000000.png")


class NetworkError(AssertionError):
    pass


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Any look-up of a name, or connection to anything but a local process, fails the test."""

    def refuse(*arguments, **_):
        raise NetworkError(f"the network was asked for: {arguments}")

    def guard(method):
        def call(self, *arguments):
            return method(self, *arguments) if self.family == socket.AF_UNIX else refuse(*arguments)

        return call

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, guard(getattr(socket.socket, name)))
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)


def test_the_fixture_blocks():
    with pytest.raises(NetworkError):
        socket.create_connection(("127.0.0.1", 9))
    with pytest.raises(NetworkError), socket.socket() as one:
        one.connect(("127.0.0.1", 9))
    assert cli.run(["predict", "http://127.0.0.1:9/a.png", "--weights", "demo"]) != 0


def test_predicting_with_the_demo_checkpoint(capsys):
    arguments = ["predict", IMAGE, "--weights", "demo", "--save-parts", "--json"]
    assert cli.run(arguments) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert {found["class"] for found in image["objects"]} <= {
        "tadpole", "dumbbell", "flower", "fan", "lizard", "squid"
    }  # fmt: skip
    assert len(image["objects"]) >= 2
    assert all(len(found["part_boxes"]) == 4 for found in image["objects"])


def test_comparing_the_two_demos_where_their_scores_come_from(capsys):
    arguments = ["gradcam", IMAGE, "--weights", "demo", "--compare", "cascade-mrcnn", "--max-objects", "1"]
    assert cli.run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["titles"] == ["Cascade D-PRD", "Cascade Mask R-CNN"]
    (found,) = document["images"][0]["objects"]
    assert all(one["share_in_box"] > 0.5 for one in found["models"].values())


def test_training_and_measuring_on_the_built_in_data(capsys):
    assert cli.run(["train", "--config", TINY, "--steps", "1", "--out", "run"]) == 0
    capsys.readouterr()
    assert cli.run(["eval", "--weights", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 1
