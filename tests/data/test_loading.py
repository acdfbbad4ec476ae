"""Batches that depend on nothing but seed and step."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from data_folders import both_splits, refused, small_config
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset
from dprd_cli.data.loading import TrainLoader, choose_workers, iterate_eval
from dprd_cli.errors import DprdWarning
from paths import DATA, TESTS

# --- training batches ---------------------------------------------------------------------------------


def batches(dataset, settings, steps=6, start=0, seed=3, size=3):
    return list(TrainLoader(dataset, settings, batch_size=size, seed=seed, steps=steps, start_step=start))


def assert_equal(first, second):
    assert len(first) == len(second)
    for (images, targets), (other_images, other_targets) in zip(first, second, strict=True):
        for a, b in zip(images, other_images, strict=True):
            assert torch.equal(a, b)
        for a, b in zip(targets, other_targets, strict=True):
            assert (a.image_id, a.image_size) == (b.image_id, b.image_size)
            for name in ("boxes", "labels", "masks", "has_mask"):
                assert torch.equal(getattr(a, name), getattr(b, name))


def test_batches_do_not_depend_on_workers_or_on_where_they_start(cups):
    train = build_dataset(small_config(cups), "train")
    straight = batches(train, small_config(cups))
    assert len(straight) == 6
    assert_equal(batches(train, small_config(cups)), straight)
    assert_equal(batches(train, small_config(cups), start=4), straight[4:])
    assert_equal(batches(train, small_config(cups, workers=2)), straight)
    assert_equal(batches(train, small_config(cups, workers=1), start=3), straight[3:])


SMALL_DATA = {"vflip": 0.5, "quarter_turns": 0.5, "rotate": 10.0, "copy_paste": 0.7, "repeat_threshold": 1.0}


def test_small_data_s_augmentation_is_a_function_of_the_position_too(cups):
    settings = small_config(cups, **SMALL_DATA)
    train = build_dataset(settings, "train")
    straight = batches(train, settings)
    assert_equal(batches(train, settings, start=4), straight[4:])
    assert_equal(batches(train, small_config(cups, workers=2, **SMALL_DATA), start=1), straight[1:])
    shared = {"batch_size": 4, "seed": 3, "steps": 3}
    halves = [list(TrainLoader(train, settings, **shared, shard=(rank, 2))) for rank in (0, 1)]
    both = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(*halves, strict=True)]
    assert_equal(both, batches(train, settings, steps=3, size=4))


def test_objects_are_pasted_as_often_as_asked_and_nothing_else_changes(cups):
    train = build_dataset(small_config(cups), "train")
    plain = batches(train, small_config(cups, color_jitter=0), steps=70, size=1)
    always = batches(train, small_config(cups, color_jitter=0, copy_paste=1.0), steps=70, size=1)
    half = batches(train, small_config(cups, color_jitter=0, copy_paste=0.5), steps=70, size=1)
    changed = 0
    for (images, targets), (pasted, more), (some, _) in zip(plain, always, half, strict=True):
        assert (targets[0].image_id, targets[0].image_size) == (more[0].image_id, more[0].image_size)
        added = more[0].masks[-1] if len(more[0].masks) else torch.zeros(more[0].image_size)
        assert torch.equal(images[0][:, added == 0], pasted[0][:, added == 0])  # every image has one object
        assert torch.equal(some[0], images[0]) or torch.equal(some[0], pasted[0])
        changed += not torch.equal(some[0], images[0])
    assert 15 <= changed <= 55


def test_pasting_without_another_image_or_without_masks(cups):
    alone = small_config(cups, copy_paste=1.0, limit=1)
    assert_equal(
        batches(build_dataset(alone, "train"), alone),
        batches(build_dataset(alone, "train"), small_config(cups, limit=1)),
    )
    tree = json.loads((cups / "train.json").read_text())
    for note in tree["annotations"]:
        del note["segmentation"]
    (cups / "train.json").write_text(json.dumps(tree))
    settings = small_config(cups, copy_paste=0.5)
    train = build_dataset(settings, "train")
    assert refused(lambda: batches(train, settings)) == (
        f"{train.name}: no object has a mask, so none can be pasted; set data.copy_paste=0"
    )


def test_an_unreadable_image_is_skipped_where_its_objects_would_be_pasted(cups):
    settings = small_config(cups, copy_paste=1.0, on_bad_image="skip")
    train = build_dataset(settings, "train")
    (cups / "images" / "p3.png").unlink()
    loader = TrainLoader(train, settings, batch_size=7, seed=3, steps=4)
    with pytest.warns(DprdWarning, match=r"skipped: .*p3\.png"):
        shown = [t.image_id for _, targets in loader for t in targets]
    assert len(shown) == 28
    assert 3 not in shown
    assert loader.skipped[str(cups / "images" / "p3.png")] > 4  # once an epoch as itself
    assert "p3.png: no such file" in refused(lambda: batches(train, small_config(cups, copy_paste=1.0)))


def test_a_repeated_image_is_changed_anew_each_time(cups):
    # six images with a cup, f = 6/7, and one without any: with t = 1 the six are shown 1.08 times
    settings = small_config(cups, repeat_threshold=1.0)
    train = build_dataset(settings, "train")
    images, targets = batches(train, settings, steps=1, size=7)[0]  # sqrt(7/6) * 6 + 1 = 7.48: 8 an epoch
    more, others = batches(train, settings, steps=8, size=1)[7]
    shown = Counter(target.image_id for target in (*targets, *others))
    assert len(shown) == 7
    ((twice, _),) = shown.most_common(1)
    pair = [i for i, t in zip((*images, *more), (*targets, *others), strict=True) if t.image_id == twice]
    assert pair[0].shape != pair[1].shape or not torch.equal(*pair)


def test_another_seed_is_another_order(cups):
    train = build_dataset(small_config(cups), "train")
    orders = [
        [t.image_id for _, targets in batches(train, small_config(cups), seed=s) for t in targets]
        for s in (0, 1)
    ]
    assert orders[0] != orders[1]


def test_every_epoch_shows_every_image_once_in_another_order(cups):
    train = build_dataset(small_config(cups), "train")
    shown = [
        t.image_id for _, targets in batches(train, small_config(cups), steps=14, size=3) for t in targets
    ]
    epochs = [shown[i : i + 7] for i in range(0, 42, 7)]
    assert all(sorted(epoch) == [1, 2, 3, 4, 5, 6, 7] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    loader = TrainLoader(train, small_config(cups), batch_size=3, seed=3, steps=14)
    assert len(loader) == 14
    assert [train[i].image_id for step in range(14) for i in loader.indices(step)] == shown


def test_batches_larger_than_the_data(cups):
    train = build_dataset(small_config(cups), "train")
    images, targets = batches(train, small_config(cups), steps=1, size=16)[0]
    assert len(images) == len(targets) == 16


def test_the_global_random_state_is_left_alone(cups):
    train = build_dataset(small_config(cups), "train")
    torch.manual_seed(0)
    np.random.seed(0)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(train, small_config(cups, workers=1), steps=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == legacy).all()


def test_nothing_is_left_to_do(cups):
    train = build_dataset(small_config(cups), "train")
    assert batches(train, small_config(cups), steps=3, start=3) == []
    assert len(TrainLoader(train, small_config(cups), batch_size=2, seed=0, steps=3, start_step=5)) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_stops_the_run_with_one_line(cups, workers):
    train = build_dataset(small_config(cups), "train")
    (cups / "images" / "p3.png").write_text("x")
    text = refused(lambda: batches(train, small_config(cups, workers=workers), steps=4))
    assert text == (
        f"{cups / 'images' / 'p3.png'}: not an image that is read here; remove it or convert "
        f"it to PNG or "
        "JPEG (or pass --set data.on_bad_image=skip)"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_is_skipped_counted_and_warned_of_once(cups, workers):
    settings = small_config(cups, workers=workers, on_bad_image="skip")
    train = build_dataset(settings, "train")
    (cups / "images" / "p3.png").unlink()
    loader = TrainLoader(train, settings, batch_size=7, seed=3, steps=2)
    with pytest.warns(DprdWarning) as caught:
        shown = [t.image_id for _, targets in loader for t in targets]
    bad = str(cups / "images" / "p3.png")
    ours = [str(w.message) for w in caught if w.category is DprdWarning]
    assert ours == [f"skipped: {bad}: no such file; check the path"]
    assert loader.skipped == Counter({bad: 2})
    order = [train.image_ids[i] for step in range(2) for i in loader.indices(step)]
    for epoch in range(2):
        place = order[7 * epoch : 7 * epoch + 7].index(3)
        following = order[7 * epoch + (place + 1) % 7]
        assert shown[7 * epoch + place] == following  # the next in order stands in


def test_no_image_can_be_read(cups):
    settings = small_config(cups, on_bad_image="skip")
    train = build_dataset(settings, "train")
    for path in (cups / "images").iterdir():
        path.write_text("x")
    assert "no image can be read; first: " in refused(lambda: batches(train, settings))


def test_a_killed_worker_does_not_end_the_run(cups):
    train = build_dataset(small_config(cups), "train")
    straight = batches(train, small_config(cups), steps=40)
    loader = TrainLoader(train, small_config(cups, workers=1), batch_size=3, seed=3, steps=40)
    iterator = iter(loader)
    got = [next(iterator)]
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)
    with pytest.warns(DprdWarning, match=r"loader processes: one was ended by SIGKILL; .* without any"):
        got.extend(iterator)
    assert_equal(got, straight)


FULL = """
mount -t tmpfs -o size=4k none /dev/shm || exit 77
head -c 4096 /dev/zero > /dev/shm/full
exec "$0" "$@"
"""


def test_a_full_shared_memory_is_none_of_training_s_business(cups, tmp_path):
    code = (
        "import sys, torch, pathlib\n"
        "from data_folders import small_config\n"
        "from dprd_cli.data.build import build_dataset\n"
        "from dprd_cli.data.loading import TrainLoader\n"
        "large = {'workers': 2, 'train_min_sizes': (200,), 'max_size': 400}\n"
        "settings = small_config(pathlib.Path(sys.argv[1]), **large)\n"
        "loader = TrainLoader(build_dataset(settings, 'train'), settings, batch_size=3, seed=3, steps=9)\n"
        "torch.save([batch.images for batch in loader], sys.argv[2])\n"
    )
    found = tmp_path / "batches.pt"
    shell = ["unshare", "-rm", "sh", "-ec", FULL]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
    done = subprocess.run(
        [
            *shell,
            sys.executable,
            "-W",
            "error::dprd_cli.errors.DprdWarning",
            "-c",
            code,
            str(cups),
            str(found),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no namespace of its own here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    settings = small_config(cups, train_min_sizes=(200,), max_size=400)
    straight = batches(build_dataset(settings, "train"), settings, steps=9)
    for mine, (theirs, _) in zip(torch.load(found), straight, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))


def test_choose_workers(monkeypatch):
    assert choose_workers(DataConfig(workers=3)) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(2)))
    assert choose_workers(DataConfig()) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    assert choose_workers(DataConfig()) == 6


# --- evaluation batches -------------------------------------------------------------------------------


def test_evaluation_goes_in_order(cups):
    val = build_dataset(small_config(cups), "val")
    groups = list(iterate_eval(val, small_config(cups), 2))
    assert [[s.image_id for s in samples] for _, _, samples in groups] == [[1, 2], [3, 4], [5]]
    assert [t.image_id for _, targets, _ in groups for t in targets] == [1, 2, 3, 4, 5]
    assert all(i.shape == (3, 24, 32) for images, _, _ in groups for i in images)
    assert sum(len(images) for images, _, _ in iterate_eval(val, small_config(cups), 2, limit=3)) == 3


def test_evaluation_may_be_left_early(cups):
    val = build_dataset(small_config(cups), "val")
    iterator = iterate_eval(val, small_config(cups), 1)
    assert next(iterator)[2][0].image_id == 1
    iterator.close()


def test_evaluation_and_bad_images(cups):
    val = build_dataset(small_config(cups), "val")
    (cups / "images" / "v2.png").unlink()
    assert refused(lambda: list(iterate_eval(val, small_config(cups), 2))) == (
        f"{cups / 'images' / 'v2.png'}: no such file; check the path (or pass --set data.on_bad_image=skip)"
    )
    with pytest.warns(DprdWarning, match=r"skipped: .*v2\.png: no such file"):
        groups = list(iterate_eval(val, small_config(cups, on_bad_image="skip"), 2))
    assert [s.image_id for _, _, samples in groups for s in samples] == [1, 3, 4, 5]


# --- photographs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coco", "pennfudan"])
def test_photographs(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"no data in {DATA / name}; set DPRD_DATA_DIR")
    settings = small_config(DATA / name, train_min_sizes=(160, 192), max_size=320, test_min_size=160)
    train, val = both_splits(settings)
    assert len(val.class_names) == {"coco": 80, "pennfudan": 1}[name]
    for images, targets in TrainLoader(train, settings, batch_size=4, seed=0, steps=10):
        for image, target in zip(images, targets, strict=True):
            assert tuple(image.shape[1:]) == target.image_size
            assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
            for box, mask in zip(target.boxes, target.masks, strict=True):
                if mask.any():  # every mask lies in its box, up to the two pixels that resizing blurs
                    rows, columns = torch.where(mask)
                    assert columns.min() >= box[0] - 2
                    assert columns.max() <= box[2] + 1
                    assert rows.min() >= box[1] - 2
                    assert rows.max() <= box[3] + 1
    assert sum(len(images) for images, _, _ in iterate_eval(val, settings, 4, limit=10)) == 10
