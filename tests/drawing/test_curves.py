import numpy as np
import pytest
from PIL import Image

from dprd_cli.drawing.curves import curve, group_losses, plot_training, smooth
from dprd_cli.errors import ResourceError


def train_row(step):
    losses = {
        "loss_rpn_cls": 0.5,
        "loss_rpn_reg": 0.25,
        "loss_cls_stage1": 1.0,
        "loss_cls_stage3": 2.0,
        "loss_reg_stage1": 0.5,
        "loss_mask_stage1": 0.75,
        "loss_mask_iou_stage1": 0.125,
        "loss_part_cls_stage1": 1.5,
        "loss_part_mask_stage3": 0.5,
    }
    parts = {"part_iou": 0.9, "part_fallback": 0.0, "part_grad_norm": 4.0, "grad_norm": 2.0}
    return {"kind": "train", "step": step, "lr": 1e-3, "loss": sum(losses.values()), **losses, **parts}


EVAL_ROW = {"kind": "eval", "step": 20, "bbox_AP": 12.5, "segm_AP": None, "recall50": 0.5, "part_iou": 0.8}


def sizes(paths):
    return {path.name: Image.open(path).size for path in paths}


def test_three_figures(tmp_path):
    written = plot_training([train_row(step) for step in range(1, 30)] + [EVAL_ROW], tmp_path)
    assert [path.name for path in written] == ["loss.png", "ap.png", "parts.png"]
    assert all(width > 900 and height > 500 for width, height in sizes(written).values())
    for path in written:
        assert np.asarray(Image.open(path).convert("RGB")).std() > 5  # not blank


def test_only_what_there_is_is_drawn(tmp_path):
    assert plot_training([], tmp_path) == []
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}]
    assert [path.name for path in plot_training(rows, tmp_path)] == ["loss.png"]
    assert [path.name for path in plot_training([EVAL_ROW], tmp_path)] == ["ap.png"]


def test_zero_gradients_do_not_break_the_logarithm(tmp_path):
    rows = [{**train_row(step), "part_grad_norm": 0.0, "grad_norm": 0.0} for step in range(3)]
    assert len(plot_training(rows, tmp_path)) == 2


def test_losses_are_summed_over_stages_in_groups():
    groups = {label: values.tolist() for label, (_, values) in group_losses([train_row(5)]).items()}
    assert groups == {
        "part losses": [2.0],
        "class": [3.0],
        "box": [0.5],
        "MaskIoU": [0.125],
        "mask": [0.75],
        "RPN": [0.75],
    }


def test_a_curve_leaves_out_missing_and_null_values():
    steps, values = curve(
        [{"step": 1, "a": 2.0}, {"step": 2}, {"step": 3, "a": None}, {"step": 4, "a": 0.0}], "a"
    )
    assert (steps.tolist(), values.tolist()) == ([1, 4], [2.0, 0.0])


def test_smoothing_keeps_constants_lines_and_ends():
    line = np.arange(100.0)
    np.testing.assert_allclose(smooth(line), line)  # a centred mean of a line is the line
    np.testing.assert_allclose(smooth(np.full(7, 3.0)), 3.0)
    noisy = np.tile([0.0, 1.0], 100)
    assert smooth(noisy)[50:150].std() < 0.1
    assert smooth(np.zeros(0)).size == 0


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"loss\.png: cannot save"):
        plot_training([train_row(1)], tmp_path / "file")
