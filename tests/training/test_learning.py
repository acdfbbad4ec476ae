"""The whole of it learns: a short overfit on the built-in data, and parts that move while it does."""

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.data.transforms import prepare
from dprd_cli.evaluation.evaluate import evaluate
from dprd_cli.model.build import build_detector
from dprd_cli.training.optimizer import GradientClipper, build_optimizer, learning_rate, set_learning_rate

STEPS = 160


@pytest.fixture(scope="module")
def overfitted():
    """Cascade D-PRD after some steps on two images; one thread, so that busy machines do not stall it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield _overfit()
    torch.set_num_threads(threads)


def _overfit():
    config = resolve(
        preset="cascade-dprd-small",
        overrides=[
            f"train.steps={STEPS}",
            "train.warmup_steps=10",
            "train.lr=3e-3",
            "data.synthetic_size=96",
            "data.train_min_sizes=[96]",
            "data.test_min_size=96",
            "model.neck.channels=32",
            "model.heads.box_dim=128",
            "model.heads.canonical_size=64.0",
        ],
    )
    torch.manual_seed(0)
    dataset = SyntheticDataset("train", 2, 96)
    images, targets = zip(*(prepare(dataset[i], config.data) for i in range(2)), strict=True)
    detector = build_detector(config.model, num_classes=6)
    optimizer, clip = build_optimizer(detector, config.train), GradientClipper(detector, config.train)
    losses, diagnostics = [], []
    for step in range(STEPS):
        set_learning_rate(optimizer, learning_rate(config.train, step))
        output = detector(list(images), list(targets))
        total = sum(output.losses.values())
        optimizer.zero_grad()
        total.backward()
        clip()
        optimizer.step()
        losses.append(total.item())
        diagnostics.append({name: value.item() for name, value in output.diagnostics.items()})
    # running statistics of so few steps lag behind; a few passes let them catch up
    with torch.no_grad():
        for _ in range(20):
            detector.backbone(detector._batch(list(images))[0])
    result = evaluate(detector, dataset, config)
    return losses, diagnostics, result.metrics


@pytest.mark.slow
def test_the_loss_falls(overfitted):
    losses, _, _ = overfitted
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


@pytest.mark.slow
def test_two_images_are_learned(overfitted):
    _, _, metrics = overfitted
    assert metrics["bbox_AP50"] > 60
    assert metrics["recall50"] > 0.8


@pytest.mark.slow
def test_parts_move(overfitted):
    _, diagnostics, metrics = overfitted
    assert diagnostics[0]["part_iou"] == pytest.approx(1.0)
    assert diagnostics[-1]["part_iou"] < 0.95
    assert metrics["part_iou"] < 0.95
    assert diagnostics[-1]["part_fallback"] < 0.6
