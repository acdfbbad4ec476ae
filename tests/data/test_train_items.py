"""What a loader process does: the image at a position, and handing over a batch in one array."""

from dataclasses import replace

import numpy as np
import torch

from data_folders import small_config
from dprd_cli.data.build import build_dataset
from dprd_cli.data.train_items import TrainItem, TrainReader, pack, unpack
from dprd_cli.data.transforms import prepare


def assert_equal(item, other):
    assert (item.skipped, item.error) == (other.skipped, other.error)
    assert (item.image is None) == (other.image is None)
    if item.image is None:
        return
    assert torch.equal(item.image, other.image)
    mine, theirs = item.target, other.target
    assert (mine.image_size, mine.image_id) == (theirs.image_size, theirs.image_id)
    for name in ("boxes", "labels", "masks", "has_mask", "cues"):
        one, two = getattr(mine, name), getattr(theirs, name)
        assert (one is None and two is None) or (one.dtype == two.dtype and torch.equal(one, two)), name


def test_what_is_packed_comes_back(cups):
    train = build_dataset(small_config(cups), "train")
    items = [TrainItem(*prepare(train[i], small_config(cups)), skipped=(("a", "b"),)) for i in (0, 6)]
    target = items[0].target
    items[0] = replace(items[0], target=replace(target, cues=target.boxes[:, :2]))
    boxes_only = target.__class__(target.boxes, target.labels, target.image_size)
    items += [TrainItem(error="bad"), TrainItem(items[0].image, boxes_only)]
    back = unpack(pack(items))
    assert len(back) == len(items)
    for item, other in zip(back, items, strict=True):
        assert_equal(item, other)
    assert back[0].skipped == (("a", "b"),)
    assert back[2].error == "bad"
    assert back[3].target.masks is None
    assert torch.equal(back[3].target.boxes, boxes_only.boxes)
    assert unpack(pack([])) == []


def test_a_batch_is_one_array_and_images_are_views_of_it(cups):
    train = build_dataset(small_config(cups), "train")
    items = [TrainItem(*prepare(train[i], small_config(cups))) for i in range(3)]
    block, _ = packed = pack(items)
    assert block.dtype == np.uint8
    assert len(block) == sum(i.image.numel() + i.target.masks.numel() for i in items)
    first = unpack(packed)[0]
    block[0] = 255 - block[0]
    assert first.image.flatten()[0] == block[0]


def test_a_position_is_an_image_of_its_epoch_changed_at_random(cups):
    reader = TrainReader(build_dataset(small_config(cups), "train"), small_config(cups), seed=3)
    again = TrainReader(reader.dataset, reader.config, seed=3)
    for epoch in range(2):
        ids = [reader[position].target.image_id for position in range(7 * epoch, 7 * epoch + 7)]
        assert sorted(ids) == [1, 2, 3, 4, 5, 6, 7]
    for position in (9, 2, 9):
        assert_equal(reader[position], again[position])
    other = TrainReader(reader.dataset, reader.config, seed=4)
    assert any(
        reader[p].image.shape != other[p].image.shape or not torch.equal(reader[p].image, other[p].image)
        for p in range(7)
    )


def test_an_image_that_cannot_be_read_is_an_error_or_the_next_one(cups):
    train = build_dataset(small_config(cups), "train")
    stops = TrainReader(train, small_config(cups), seed=0)
    goes_on = TrainReader(train, small_config(cups, on_bad_image="skip"), seed=0)
    ids = [stops[position].target.image_id for position in range(7)]
    (cups / "images" / f"p{ids[2]}.png").write_text("x")
    item = stops[2]
    assert (item.image, item.target) == (None, None)
    assert item.error.endswith("(or pass --set data.on_bad_image=skip)")
    item = goes_on[2]
    assert item.target.image_id == ids[3]
    ((name, line),) = item.skipped
    assert name == str(cups / "images" / f"p{ids[2]}.png")
    assert line.startswith(name)
    for path in (cups / "images").iterdir():
        path.write_text("x")
    assert goes_on[2].error.startswith(f"{train.name}: no image can be read; first: ")
