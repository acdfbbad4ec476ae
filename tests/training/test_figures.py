import torch
from PIL import Image

from dprd_cli.config.presets import resolve
from dprd_cli.structures.detections import Target
from dprd_cli.training.figures import draw_batch, draw_curves, draw_parts
from dprd_cli.training.setup import set_up
from paths import TINY


def size(path):
    with Image.open(path) as image:
        image.load()
        return image.size


def test_a_batch_is_a_sheet_of_its_images(tmp_path):
    images = [torch.full((3, 64, 64), 40 * n, dtype=torch.uint8) for n in range(1, 4)]
    box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    targets = [Target(boxes=box, labels=torch.tensor([0]), image_size=(64, 64)) for _ in images]
    draw_batch(images, targets, ("cat",), tmp_path / "batch.png")
    width, height = size(tmp_path / "batch.png")
    assert width > 2 * height  # three in a row


def test_parts_are_drawn_even_where_nothing_is_sure(tmp_path):
    config = resolve(config_file=TINY, overrides=["model.backbone.weights=none"])
    setup = set_up(config)
    before = setup.detector.roi_heads.training
    draw_parts(setup.detector, setup.val_set, config, setup.device, tmp_path / "parts.png")
    assert size(tmp_path / "parts.png")[0] > 100
    assert setup.detector.roi_heads.training == before


def test_curves_of_a_run(tmp_path):
    rows = [{"kind": "train", "step": n, "loss": 1.0 / n, "loss_rpn_cls": 0.1} for n in range(1, 4)]
    draw_curves(rows, tmp_path)
    assert (tmp_path / "loss.png").exists()
