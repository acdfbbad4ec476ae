"""A detector becomes a file in the folder, named after its preset, that agrees or says where it does not."""

from pathlib import Path

import pytest

from dprd_cli.errors import UserError
from dprd_cli.export.check import ExportDifference
from dprd_cli.export.detector import ExportResult, export_detector
from dprd_cli.export.write import ExportMetadata, ExportOptions
from dprd_cli.weights.load import load_model
from exports import photographs, save_model


@pytest.mark.slow
def test_the_default_name_is_the_preset_s_and_the_result_says_what_was_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_model(save_model(tmp_path / "model.pt", "mask-rcnn"), "cpu")
    options = ExportOptions("torch-export", batch=1, image_size=(224, 224))
    result = export_detector(model, options=options, check=[Path(photographs()[0])])
    assert (result.file, result.checkpoint) == (Path("mask-rcnn-small.pt2"), tmp_path / "model.pt")
    assert result.file.is_file()
    assert result.metadata.to_json()["inputs"]["images"]["shape"] == [1, 3, 224, 224]
    assert [difference.agrees for difference in result.differences] == [True]
    result.raise_for_differences()


def test_a_file_that_differs_is_an_error():
    same = ExportDifference(Path("a"), 1, 1, 1, {})
    other = ExportDifference(Path("b"), 1, 0, 0, {})
    options = ExportOptions()
    metadata = ExportMetadata("dprd", 7, ("cat",), (1,), ("boxes",), options, 128, 224, score_thresh=0.5)
    ExportResult(Path("x.onnx"), "onnx", Path("m.pt"), metadata, (same,)).raise_for_differences()
    result = ExportResult(Path("x.onnx"), "onnx", Path("m.pt"), metadata, (same, other))
    with pytest.raises(UserError, match=r"^x.onnx: differs from PyTorch on 1 of 2 images$"):
        result.raise_for_differences()
    assert [row["agrees"] for row in result.to_json()["check"]] == [True, False]
