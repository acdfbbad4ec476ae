"""An ONNX file of free sizes, made once."""

import pytest

from dprd_cli.cli import run
from exports import save_model


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return (checkpoint, ONNX file of free sizes), made once."""
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    folder = tmp_path_factory.mktemp("export")
    weights, file = save_model(folder / "dprd.pt", "dprd"), folder / "model.onnx"
    assert run(["export", weights, "--out", str(file)]) == 0
    return weights, file
