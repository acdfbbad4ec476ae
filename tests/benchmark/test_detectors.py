from functools import partial

import torch
from torch._dynamo.utils import counters

from dprd_cli.benchmark.detectors import compile_features
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector


def test_compiled_features_and_gradients_are_the_plain_ones(monkeypatch):
    """Traced, differentiated and run by PyTorch's operations; code generation is PyTorch's own."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch.manual_seed(0)
    detector = build_detector(resolve(preset="mask-rcnn-small").model, num_classes=6).double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    trained = [*detector.backbone.parameters(), *detector.neck.parameters()]

    def run():
        maps = detector.neck(detector.backbone(images))
        loss = sum(level.square().mean() for level in maps)
        return maps, torch.autograd.grad(loss, trained)

    plain, plain_gradients = run()
    compile_features(detector)
    compiled, gradients = run()
    assert counters["stats"]["unique_graphs"] >= 2  # the backbone and the neck
    torch.testing.assert_close(list(compiled), list(plain))
    torch.testing.assert_close(gradients, plain_gradients)
