import numpy as np
import pytest
import torch

from dprd_cli.errors import UserError
from dprd_cli.gradcam.explainer import METHODS, ClassScores, Explainer, _spread, rescale
from tiny_model import IMAGE, PRESETS, tiny_model


@pytest.mark.parametrize("preset", PRESETS)
def test_the_logits_give_the_scores_back_and_their_gradient_reaches_the_layers(preset):
    model = tiny_model(preset, with_masks=preset != "dprd-small")
    explainer = Explainer(model)
    view = explainer.look(IMAGE)
    assert len(view.found) > 0
    logits = model.detector.class_logits(view.image, view.trace)
    probs = logits.softmax(dim=2).mean(dim=1).gather(1, view.found.labels[:, None])[:, 0]
    torch.testing.assert_close(probs, view.found.scores)
    outputs = []
    layer = explainer.layers[explainer.explain(view, 0).layer.split("+")[0]]
    hook = layer.register_forward_hook(lambda module, given, output: outputs.append(output))
    scores = ClassScores(model.detector, view.found, view.trace)(view.image[None].requires_grad_())
    hook.remove()
    assert scores.shape == (1, len(view.found))
    (gradient,) = torch.autograd.grad(scores[0, 0], outputs[0])
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_in_the_image_s_frame_from_0_to_1(method):
    explainer = Explainer(tiny_model(), method=method)
    view = explainer.look(IMAGE)
    values = explainer.explain(view, 0).values
    assert values.shape == IMAGE.shape[:2]
    assert values.min() >= 0
    assert values.max() == pytest.approx(1) or not values.any()
    assert not any(module._forward_hooks for module in explainer.detector.modules())


def test_a_linear_score_gives_the_map_that_the_formula_gives(monkeypatch):
    """A score of sum(w_c A_c) has the weights w, so the map is relu(sum_c w_c A_c)."""
    explainer = Explainer(tiny_model(), layer="p3", method="gradcam")
    view = explainer.look(IMAGE)
    kept, weights = {}, torch.linspace(-1, 1, 16)
    explainer.layers["p3"].register_forward_hook(lambda module, given, output: kept.update(p3=output))

    def linear(self, images):
        self.detector.class_logits(
            images[0, :, : self.found.image_size[0], : self.found.image_size[1]], self.trace
        )
        return (kept["p3"] * weights[:, None, None]).sum()[None, None]

    monkeypatch.setattr(ClassScores, "forward", linear)
    values = explainer.explain(view, 0).values
    expected = (kept["p3"][0] * weights[:, None, None]).sum(dim=0).detach().numpy()  # [8, 12]
    # the network's image is 64 x 82, padded to 64 x 96, so 82 / 8 = 10.25 of the 12 columns are seen
    peak = np.unravel_index(expected[:, :10].argmax(), (8, 10))
    y, x = (int((cell + 0.5) * 8 * 70 / 64) for cell in peak)
    assert values[y, x] > 0.8
    assert (
        np.corrcoef(values[4:-4:9, 4:-4:9].ravel(), _stretched(expected)[4:-4:9, 4:-4:9].ravel())[0, 1] > 0.99
    )


def _stretched(cells):
    import cv2

    return cv2.resize(cv2.resize(cells, (96, 64)).clip(min=0)[:, :82], (90, 70))


def test_backbone_layers_are_found_even_where_frozen_and_wrong_ones_named():
    model = tiny_model("mask-rcnn-small")
    model.detector.backbone.requires_grad_(False)
    explainer = Explainer(model, layer="features.18")
    assert explainer.explain(explainer.look(IMAGE), 0).values.any()
    with pytest.raises(UserError, match=r"--layer p6: tiny\.pt has no such layer.*p2, p3, p4, p5"):
        Explainer(model, layer="p6")


def test_a_level_that_the_object_is_not_pooled_from_gives_an_empty_map():
    explainer = Explainer(tiny_model("mask-rcnn-small"), layer="p5")
    values = explainer.explain(explainer.look(IMAGE), 0).values
    assert not values.any()


def test_without_a_layer_all_levels_that_are_pooled_from_count_by_what_they_give():
    """hirescam's signed sums are parts of one first-order sum: levels add up before the cut at 0."""
    explainer = Explainer(tiny_model(), method="hirescam")
    view = explainer.look(IMAGE)
    found = explainer.explain(view, 0)
    names = found.layer.split("+")
    assert set(names) <= {"p2", "p3", "p4", "p5"}
    assert explainer.pooled_from(view.trace[:1]) in names
    padded = torch.nn.functional.pad(view.image[None], (0, 14, 0, 0)).requires_grad_()  # 64 x 82 to 64 x 96
    scores = ClassScores(explainer.detector, view.found[:1], view.trace[:1])
    maps = explainer._maps(padded, scores, explainer.levels)
    assert [name for name, cells in maps.items() if cells.any()] == names
    assert _spread(np.ones((8, 12), np.float32), padded).sum() == pytest.approx(8 * 12)
    assert not any(module._forward_hooks for module in explainer.detector.modules())


def test_rescale_keeps_zeros_and_drops_what_is_not_finite():
    assert rescale(np.zeros((2, 2), np.float32)).tolist() == [[0, 0], [0, 0]]
    assert rescale(np.array([[np.nan, 2], [4, -1]], np.float32)).tolist() == [[0, 0.5], [1, 0]]
