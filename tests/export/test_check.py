"""How far an exported file is from PyTorch."""

from pathlib import Path

import torch

from dprd_cli.export.check import ExportDifference, open_exported, to_inputs
from dprd_cli.weights.load import load_model


def test_batches_and_sizes_are_free(exported):
    weights, file = exported
    model, runner = load_model(weights, "cpu"), open_exported(file, "onnx")
    generator = torch.Generator().manual_seed(0)
    for batch, size in ((1, (64, 64)), (3, (150, 101))):
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        outputs = runner(*to_inputs(image, batch, None))
        (found,) = model.detector.detect([image]).detections
        assert outputs["count"].tolist() == [len(found)] * batch
        for row in range(batch):
            boxes = torch.from_numpy(outputs["boxes"][row, : len(found)])
            torch.testing.assert_close(boxes, found.boxes, rtol=1e-4, atol=1e-3)


def test_what_agrees():
    close = {"boxes": 0.4, "scores": 0.001}
    assert ExportDifference(Path("a"), 3, 3, 3, close).agrees
    assert ExportDifference(Path("a"), 0, 0, 0, {}).agrees
    assert not ExportDifference(Path("a"), 3, 4, 3, close).agrees
    assert not ExportDifference(Path("a"), 3, 3, 2, close).agrees
    assert not ExportDifference(Path("a"), 3, 3, 3, {"boxes": 0.6}).agrees
    assert not ExportDifference(Path("a"), 3, 3, 3, {"masks": 0.02}).agrees


def test_inputs_are_copies_padded_with_black_to_multiples_of_32_or_to_the_fixed_size():
    image = torch.full((3, 33, 64), 7, dtype=torch.uint8)
    images, sizes = to_inputs(image, 2, None)
    assert images.shape == (2, 3, 64, 64)
    assert sizes.tolist() == [[33, 64]] * 2
    assert (images[:, :, :33] == 7).all()
    assert not images[:, :, 33:].any()
    assert to_inputs(image, 1, (96, 128))[0].shape == (1, 3, 96, 128)


def test_what_is_told_of_an_image_is_json():
    row = ExportDifference(Path("a.png"), 3, 3, 2, {"boxes": 0.1}).to_json()
    assert row == {
        **{"file": "a.png", "found": 3, "exported": 3, "matched": 2},
        **{"largest": {"boxes": 0.1}, "agrees": False},
    }
