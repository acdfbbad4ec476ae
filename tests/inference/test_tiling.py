"""Tiles: they cover the image, see what they would see alone, and what they cut is one object."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from dprd_cli.data.build import build_dataset
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.errors import UsageError
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate
from dprd_cli.inference.predictor import Predictor
from dprd_cli.inference.tiling import TileWindow, Tiling, detect_tiles, sort_out_cuts
from dprd_cli.ops.masks import paste_masks
from dprd_cli.structures.detections import Detections
from dprd_cli.weights.load import load_model
from tiny_model import IMAGE, PRESETS, tiny_model

SIDES = [(100, 40, 0.2), (1000, 64, 0.5), (41, 40, 0.0), (90, 45, 0)]


@pytest.mark.parametrize(("side", "size", "overlap"), SIDES)
def test_tiles_cover_the_image_and_overlap(side, size, overlap):
    windows = Tiling(size, overlap).windows((size, side))
    assert (windows[0].x1, windows[-1].x2) == (0, side)
    for one, two in pairwise(windows):
        assert one.x2 - one.x1 == size
        assert one.x2 - two.x1 >= overlap * size - 1  # to a pixel
        assert (one.y1, one.y2) == (0, size)
    assert len(Tiling(size, overlap).windows((2 * size, side))) >= 2 * len(windows)
    assert Tiling(size).windows((size // 2, size)) == [TileWindow(0, 0, size, size // 2)]


def test_what_is_out_of_range_is_named():
    with pytest.raises(UsageError, match=r"^--tile 31: expected at least 32 pixels$"):
        Tiling(31)
    for overlap in (-0.1, 0.95, float("nan")):
        with pytest.raises(UsageError, match=r"^--overlap .*: expected a share from 0 to 0.9$"):
            Tiling(64, overlap)


def equal(one, two):
    names = ("boxes", "scores", "labels", "masks", "mask_scores", "part_boxes")
    pairs = [(getattr(one, name), getattr(two, name)) for name in names]
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tta", [False, True])
def test_a_tile_as_large_as_the_image_is_no_tile(preset, tta):
    model = tiny_model(preset).with_data(overrides=["data.tta_min_sizes=[48,64]"])
    plain = Predictor(model, tta=tta)
    tiled = Predictor(model, tta=tta, tiling=Tiling(90))
    for images in ([IMAGE], [IMAGE, IMAGE[:60]]):
        pairs = zip(plain.predict_batch(images), tiled.predict_batch(images), strict=True)
        assert all(equal(*pair) and len(pair[0]) for pair in pairs)


def table(boxes, scores, masks, parts):
    """Return all that is said of each detection as a row of numbers."""
    rows = [boxes, scores[:, None], masks.flatten(1), *([] if parts is None else [parts.flatten(1)])]
    return torch.cat(rows, dim=1)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_tile_sees_what_it_would_see_alone_at_its_place(preset):
    model = tiny_model(preset)
    detector = model.detector.eval()
    tiling = Tiling(60, 0.2)
    found = detect_tiles(detector, IMAGE, model.config.data, tiling)
    views = [TileWindow(0, 0, 90, 70), *tiling.windows((70, 90))]
    alone = []
    for x1, y1, x2, y2 in views:
        one = Predictor(model).predict(IMAGE[y1:y2, x1:x2])
        shift = torch.tensor([x1, y1, x1, y1])
        parts = None if one.part_boxes is None else one.part_boxes + shift
        alone.append(table(one.boxes + shift, one.scores, one.masks, parts))
    rows = table(found.boxes, found.scores, found.masks, found.part_boxes)
    is_theirs = (rows[:, None] - torch.cat(alone)[None]).abs().amax(dim=2).amin(dim=1) < 1e-4
    assert is_theirs.any()
    assert (found.scores[:-1] >= found.scores[1:]).all()
    assert found.image_size == (70, 90)
    assert equal(found, detect_tiles(detector, IMAGE, model.config.data, tiling))  # the same again
    united = found[~is_theirs]  # pieces put together: nothing else is new
    windows = torch.tensor([tuple(view) for view in views[1:]])
    low = united.boxes[:, None, :2] >= windows[:, :2]
    high = united.boxes[:, None, 2:] <= windows[:, 2:]
    assert not (low & high).all(dim=2).any()  # none would fit into a tile
    masks = paste_masks(found.masks, found.boxes, found.image_size).numpy()
    for mask, (x1, y1, x2, y2) in zip(masks, found.boxes.tolist(), strict=True):
        ys, xs = np.nonzero(mask)
        if len(xs):
            assert x1 - 1 <= xs.min() <= xs.max() <= x2 + 1
            assert y1 - 1 <= ys.min() <= ys.max() <= y2 + 1


WINDOWS = (TileWindow(0, 0, 180, 100), TileWindow(0, 0, 100, 100), TileWindow(80, 0, 180, 100))


def sort_out(*rows):
    """Sort out rows of (view, x1, y1, x2, y2, score, label)."""
    table = torch.tensor(rows, dtype=torch.float32)
    found = Detections(table[:, 1:5], table[:, 5], table[:, 6].long(), (100, 180))
    kept, groups = sort_out_cuts(found, table[:, 0].long(), WINDOWS, 1.0)
    return kept.tolist(), groups


def test_what_a_border_cuts_is_left_to_the_tile_that_has_it_whole():
    assert sort_out((1, 85, 10, 100, 30, 0.9, 0), (2, 85, 10, 105, 30, 0.6, 0)) == ([1], [])
    assert sort_out((1, 85, 10, 100, 30, 0.9, 0)) == ([], [])  # that tile looked there, and found nothing
    assert sort_out((1, 0, 0, 50, 100, 0.9, 0)) == ([0], [])  # the image's own border cuts nothing


def test_what_is_larger_than_the_overlap_is_left_to_the_whole_image():
    piece = (1, 40, 10, 100, 60, 0.8, 0)
    assert sort_out(piece, (0, 40, 10, 140, 60, 0.7, 0)) == ([1], [])
    assert sort_out(piece, (0, 40, 10, 140, 60, 0.7, 1)) == ([0, 1], [])  # another class
    assert sort_out(piece, (0, 40, 10, 140, 60, 0.3, 0)) == ([0, 1], [])  # hardly sure of it
    assert sort_out(piece, (0, 0, 0, 60, 30, 0.8, 0)) == ([0, 1], [])  # elsewhere


def test_pieces_that_agree_where_two_tiles_look_are_one_object():
    pieces = ((1, 40, 10, 100, 60, 0.8, 0), (2, 80, 12, 140, 60, 0.6, 0))
    assert sort_out(*pieces) == ([], [[0, 1]])
    other = (2, 80, 70, 140, 90, 0.6, 0)  # below
    assert sort_out(*pieces, other) == ([2], [[0, 1]])
    assert sort_out(pieces[0], (*pieces[1][:6], 1)) == ([0, 1], [])


def mosaic(dataset, side):
    """Return side x side images pasted into one, with the objects in it."""
    samples = [dataset[number] for number in range(side * side)]
    images = [sample.image for sample in samples]
    rows = [np.concatenate(images[row * side : (row + 1) * side], axis=1) for row in range(side)]
    size = images[0].shape[0]
    shifts = [np.array([number % side * size, number // side * size] * 2) for number in range(side * side)]
    boxes = np.concatenate([one.boxes + shift for one, shift in zip(samples, shifts, strict=True)])
    return np.concatenate(rows), torch.from_numpy(boxes), np.concatenate([one.labels for one in samples])


def test_small_objects_of_a_large_image_are_found_once():
    """The demo on four built-in images in one; scripts/tiling_mosaic.py measures more."""
    model = load_model("demo", "cpu")
    image, boxes, labels = mosaic(SyntheticDataset("val", 16, 160, 0), 3)
    counts = {}
    for name, tiling in (("whole", None), ("tiles", Tiling(160, 0.3))):
        found = Predictor(model, min_score=0.5, tiling=tiling).predict(image)
        ious = box_iou(found.boxes.double(), boxes.double()) >= 0.5
        ious &= found.labels[:, None] == torch.from_numpy(labels)
        counts[name] = int(ious.any(dim=0).sum())
        assert (ious.sum(dim=0) <= 1).all()  # no object twice
    assert counts["tiles"] >= counts["whole"] + 4


def test_evaluation_takes_tiles_of_large_images_alone():
    data = ("data.synthetic_val=2", "data.synthetic_size=64", "data.workers=0")
    model = tiny_model(names=SyntheticDataset.class_names).with_data(path="synthetic", overrides=data)
    dataset = build_dataset(model.config.data, "val")

    def measure(**options):
        found = evaluate(model.detector, dataset, model.config, EvaluationOptions(**options))
        return found.evaluator.results, found.diagnostics["recall50"]

    plain, recall = measure()
    assert measure(tiling=Tiling(64)) == (plain, recall)
    tiled, none = measure(tiling=Tiling(40))
    assert none is None  # tiles have proposals of their own
    assert tiled["bbox"] != plain["bbox"]
    assert {row["image_id"] for row in tiled["bbox"]} == {row["image_id"] for row in plain["bbox"]}
