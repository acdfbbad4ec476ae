import pytest
import torch
import torchvision

from dprd_cli.ops.roi_align import FeatureTable, _both_axes, _each_axis, assign_levels, roi_align

STRIDES = (4, 8)


def make_case(num: int = 60, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    features = [rand(2, 5, 20, 30) - 0.5, rand(2, 5, 10, 15) - 0.5]
    center = rand(num, 2) * torch.tensor([140.0, 100.0]) - 10  # some centres lie outside the 120x80 image
    size = rand(num, 2) ** 2 * 90
    boxes = torch.cat((center - size / 2, center + size / 2), dim=1)
    boxes[0, 2:] = boxes[0, :2]  # an empty box
    boxes[1] = torch.tensor([500.0, 500, 600, 600])  # far outside
    image_index = (rand(num) < 0.5).long()
    levels = (rand(num) < 0.5).long()
    return features, boxes, image_index, levels


@pytest.mark.parametrize("sampling_ratio", [1, 2, 3, 0])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("size", [7, 14])
def test_values_equal_torchvision(sampling_ratio: int, aligned: bool, size: int):
    features, boxes, image_index, levels = make_case()
    table = FeatureTable.build(features, STRIDES)
    how = {"sampling_ratio": sampling_ratio, "aligned": aligned}
    out = roi_align(table, boxes, image_index, levels, size, **how)
    for level, feature in enumerate(features):
        mine = levels == level
        rois = torch.cat((image_index[mine, None].double(), boxes[mine]), dim=1)
        expected = torchvision.ops.roi_align(
            feature, rois, size, 1 / STRIDES[level], sampling_ratio or -1, aligned
        )
        torch.testing.assert_close(out[mine], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sampling_ratio", [2, 0])
@pytest.mark.parametrize("aligned", [True, False])
def test_gradcheck_in_features_and_boxes(sampling_ratio: int, aligned: bool):
    features = [torch.randn(2, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))]
    features.append(features[0][..., :3, :4].clone())
    features = [feature.requires_grad_() for feature in features]
    # Coordinates keep clear of cell borders, where bilinear interpolation has a kink
    boxes = torch.tensor(
        [[1.31, 2.17, 17.13, 15.71], [-3.1, -2.3, 9.37, 25.19], [4.57, 3.31, 21.9, 18.3]], dtype=torch.float64
    ).requires_grad_()
    image_index, levels = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])

    def pool(low: torch.Tensor, high: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        table = FeatureTable.build([low, high], STRIDES)
        return roi_align(table, rois, image_index, levels, 3, sampling_ratio=sampling_ratio, aligned=aligned)

    assert torch.autograd.gradcheck(pool, (*features, boxes))


def test_both_axes_in_one_are_each_on_its_own():
    _, boxes, _, _ = make_case()
    size = torch.tensor([20, 30]).expand(len(boxes), 2)
    together, apart = _both_axes(boxes, size, 7, 2), _each_axis(boxes, size, 7, (2, 2), None)
    for (cells, weights), (others, other_weights) in zip(together, apart, strict=True):
        assert torch.equal(cells, others)
        assert torch.equal(weights, other_weights)


def test_usual_roi_align_has_no_box_gradient_and_ours_has():
    feature = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]], requires_grad=True)
    rois = torch.cat((torch.zeros(1, 1), boxes), dim=1)
    torchvision.ops.roi_align(feature, rois, 7, 0.25, 2, True).square().sum().backward()
    assert boxes.grad is None or boxes.grad.abs().sum() == 0
    boxes.grad = None
    index = torch.zeros(1, dtype=torch.int64)
    roi_align(FeatureTable.build([feature], (4,)), boxes, index, index, 7).square().sum().backward()
    assert boxes.grad is not None
    assert boxes.grad.abs().min() > 0


def test_no_rois_stay_connected_to_the_graph():
    feature = torch.randn(1, 3, 8, 8, requires_grad=True)
    boxes = torch.zeros((0, 4), requires_grad=True)
    index = torch.zeros(0, dtype=torch.int64)
    out = roi_align(FeatureTable.build([feature], (4,)), boxes, index, index, 7)
    assert out.shape == (0, 3, 7, 7)
    out.sum().backward()
    assert feature.grad is not None


def test_levels_by_hand():
    # floor(4 + log2(side / 224)): 224 -> 4 (P4), 223 -> 3, 112 -> 3, 56 -> 2, 448 -> 5; clamped to 2..5
    sides = torch.tensor([224.0, 223.0, 112.0, 56.0, 448.0, 10.0, 5000.0])
    boxes = torch.stack((torch.zeros(7), torch.zeros(7), sides, sides), dim=1)
    assert (assign_levels(boxes, 4) + 2).tolist() == [4, 3, 3, 2, 5, 2, 5]
    # with a canonical side of 56, everything belongs two levels higher
    assert (assign_levels(boxes, 4, 56.0) + 2).tolist() == [5, 5, 5, 4, 5, 2, 5]
