"""Finding splits, and batches that depend on nothing but seed and step."""

import json
import os
import signal
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.loading import TrainLoader, build_datasets, choose_workers, describe, iterate_eval
from dprd_cli.data.reading import Item, pack, unpack
from dprd_cli.data.transforms import prepare
from dprd_cli.errors import DataError, DprdWarning
from paths import DATA

REAL = DATA
CATEGORIES = [{"id": 2, "name": "cup"}, {"id": 5, "name": "jug"}]


def write_split(json_path, images_dir, count, categories=CATEGORIES, prefix="p"):
    """Write `count` images of 24 x 32, one object each but in the last, and their annotations."""
    images_dir.mkdir(parents=True, exist_ok=True)
    json_path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    tree = {"images": [], "annotations": [], "categories": categories}
    for ident in range(1, count + 1):
        name = f"{prefix}{ident}.png"
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(images_dir / name)
        tree["images"].append({"id": ident, "file_name": name, "width": 32, "height": 24})
        if ident < count:
            note = {
                "id": ident,
                "image_id": ident,
                "category_id": 2,
                "bbox": [4, 4, 10, 12],
                "area": 120,
                "iscrowd": 0,
            }
            tree["annotations"].append({**note, "segmentation": [[4, 4, 14, 4, 14, 16, 4, 16]]})
    json_path.write_text(json.dumps(tree))


def config(folder, **changes):
    base = {
        "train_min_sizes": (16, 24),
        "test_min_size": 24,
        "max_size": 64,
        "color_jitter": 0.2,
        "crop": 0.3,
    }
    return DataConfig(**{"path": str(folder), "workers": 0, **base, **changes})


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path / "train.json", tmp_path / "images", 7)
    write_split(tmp_path / "val.json", tmp_path / "images", 5, prefix="v")
    return tmp_path


def refused(call):
    with pytest.raises(DataError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- finding the splits -------------------------------------------------------------------------------


def test_both_splits_of_a_folder(folder):
    train, val = build_datasets(config(folder))
    assert (len(train), len(val)) == (7, 5)
    assert train.class_names == val.class_names == ("cup", "jug")
    assert build_datasets(config(folder), train=False)[0] is None
    assert build_datasets(config(folder), val=False)[1] is None


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            ("train2017", "val2017"),
        ),
        (("annotations/train.json", "annotations/val.json"), ("images/train", "images/val")),
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid")),
        (("train.json", "val.json"), (".", ".")),
    ],
)
def test_layouts(tmp_path, names, images):
    write_split(tmp_path / names[0], tmp_path / images[0], 3)
    write_split(tmp_path / names[1], tmp_path / images[1], 2, prefix="v")
    train, val = build_datasets(config(tmp_path))
    assert train.images_dir.resolve() == (tmp_path / images[0]).resolve()
    assert val.images_dir.resolve() == (tmp_path / images[1]).resolve()


def test_named_files_win(folder, tmp_path):
    write_split(tmp_path / "other" / "a.json", tmp_path / "images", 2, prefix="o")
    named = {"train_json": "other/a.json", "train_images": str(tmp_path / "images")}
    assert len(build_datasets(config(folder, **named), val=False)[0]) == 2
    files = {f"{s}_json": str(folder / f"{s}.json") for s in ("train", "val")}
    train, val = build_datasets(config("synthetic", **files))  # without a folder
    assert (len(train), len(val)) == (7, 5)


def test_what_cannot_be_found(folder, tmp_path):
    assert refused(lambda: build_datasets(config(tmp_path / "nowhere"))) == (
        f"{tmp_path / 'nowhere'}: no such data folder; pass --data FOLDER with COCO, VOC or YOLO "
        "annotations, or --data synthetic"
    )
    assert refused(lambda: build_datasets(config(folder / "train.json"))) == (
        f"{folder / 'train.json'}: one file, but training and evaluation need an annotation file each: "
        "pass the folder that holds train.json and val.json, or --set data.train_json=FILE --set "
        "data.val_json=FILE"
    )
    (folder / "val.json").unlink()
    tried = (
        "(tried val.json, annotations/val.json, annotations/instances_val.json, "
        "annotations/instances_val2017.json, instances_val2017.json, annotations/instances_val2014.json, "
        "valid/_annotations.coco.json)"
    )
    assert refused(lambda: build_datasets(config(folder))) == (
        f"{folder}: there is train.json, but no annotation file of the val split; add "
        f"{folder / 'val.json'}, or "
        f"pass --set data.val_json=FILE {tried}"
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    assert refused(lambda: build_datasets(config(bare), train=False)) == (
        f"{bare}: no annotation file of the val split; add {bare / 'val.json'}, or pass "
        f"--set data.val_json=FILE {tried}"
    )
    assert refused(lambda: build_datasets(config("synthetic", val_json=str(folder / "val.json")))) == (
        "no train annotation file: pass --set data.train_json=FILE, or --data FOLDER that holds both"
    )


def test_images_that_are_nowhere(tmp_path):
    write_split(tmp_path / "train.json", tmp_path / "elsewhere", 3)
    (tmp_path / "images").mkdir()
    assert refused(lambda: build_datasets(config(tmp_path), val=False)) == (
        f"{tmp_path / 'train.json'}: its images (p1.png, p2.png, ...) are in none of "
        f"{tmp_path / 'images'}, "
        f"{tmp_path}; pass --set data.train_images=DIR"
    )


def test_a_broken_file_is_reported_by_the_check(tmp_path):
    for content, expected in [
        ('{"images": 3}', "not COCO instances: 'annotations' and 'categories' missing"),
        (
            '{"images": [3], "annotations": [], "categories": []}',
            "not COCO: images[0] must be an object, got a int",
        ),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{}]}', "category number 1 has id None"),
    ]:
        (tmp_path / "train.json").write_text(content)
        assert expected in refused(lambda: build_datasets(config(tmp_path), val=False))


def test_classes_of_the_splits_must_agree(folder):
    write_split(folder / "val.json", folder / "images", 5, categories=CATEGORIES[:1], prefix="v")
    assert build_datasets(config(folder))[1].class_names == ("cup", "jug")  # val may lack classes
    write_split(
        folder / "val.json",
        folder / "images",
        5,
        categories=[*CATEGORIES, {"id": 9, "name": "pot"}],
        prefix="v",
    )
    assert refused(lambda: build_datasets(config(folder))) == (
        f"{folder / 'val.json'}: category 'pot' is not a class of the training data or checkpoint "
        f"(cup, jug); "
        "use data with the same classes"
    )
    assert len(build_datasets(config(folder), train=False)[1].class_names) == 3


def test_built_in_data(tmp_path):
    built_in = DataConfig(synthetic_train=12, synthetic_val=3, synthetic_size=64, limit=5)
    train, val = build_datasets(built_in)
    assert (len(train), len(val)) == (5, 3)
    line = describe(train)[0]
    assert line.startswith("synthetic train: 5 images, ")
    assert build_datasets(built_in, class_names=train.class_names)[0] is not None
    assert refused(lambda: build_datasets(built_in, class_names=("cat",))).endswith(
        "which are not those of the checkpoint; pass the data that it was trained for with --data FOLDER"
    )


def test_describe(folder):
    train, _ = build_datasets(config(folder))
    assert describe(train) == [
        f"train ({folder / 'train.json'}): 7 images (1 without objects), 6 objects (all with masks)",
        "  2 classes: cup 6",
        "  no object of 1 class: jug",
    ]
    tree = json.loads((folder / "train.json").read_text())
    tree["annotations"][0]["segmentation"] = []
    tree["annotations"][1]["bbox"] = [0, 0, 0, 0]
    (folder / "train.json").write_text(json.dumps(tree))
    lines = describe(build_datasets(config(folder))[0])
    assert lines[0].endswith("7 images (2 without objects), 5 objects (4 with masks, 1 without)")
    assert lines[-1].startswith("  warning: 1 object left out: the box")
    for one in tree["annotations"]:
        one["segmentation"] = []
    (folder / "train.json").write_text(json.dumps(tree))
    assert describe(build_datasets(config(folder))[0])[0].endswith("5 objects (boxes only, no masks)")


# --- training batches ---------------------------------------------------------------------------------


def batches(dataset, settings, steps=6, start=0, seed=3, size=3):
    return list(TrainLoader(dataset, settings, size, seed, steps, start))


def assert_equal(first, second):
    assert len(first) == len(second)
    for (images, targets), (other_images, other_targets) in zip(first, second, strict=True):
        for a, b in zip(images, other_images, strict=True):
            assert torch.equal(a, b)
        for a, b in zip(targets, other_targets, strict=True):
            assert (a.image_id, a.image_size) == (b.image_id, b.image_size)
            for name in ("boxes", "labels", "masks", "has_mask"):
                assert torch.equal(getattr(a, name), getattr(b, name))


def test_batches_do_not_depend_on_workers_or_on_where_they_start(folder):
    train, _ = build_datasets(config(folder))
    straight = batches(train, config(folder))
    assert len(straight) == 6
    assert_equal(batches(train, config(folder)), straight)
    assert_equal(batches(train, config(folder), start=4), straight[4:])
    assert_equal(batches(train, config(folder, workers=2)), straight)
    assert_equal(batches(train, config(folder, workers=1), start=3), straight[3:])


def test_another_seed_is_another_order(folder):
    train, _ = build_datasets(config(folder))
    orders = [
        [t.image_id for _, targets in batches(train, config(folder), seed=s) for t in targets] for s in (0, 1)
    ]
    assert orders[0] != orders[1]


def test_every_epoch_shows_every_image_once_in_another_order(folder):
    train, _ = build_datasets(config(folder))
    shown = [t.image_id for _, targets in batches(train, config(folder), steps=14, size=3) for t in targets]
    epochs = [shown[i : i + 7] for i in range(0, 42, 7)]
    assert all(sorted(epoch) == [1, 2, 3, 4, 5, 6, 7] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    loader = TrainLoader(train, config(folder), 3, 3, 14)
    assert len(loader) == 14
    assert [train[i].image_id for step in range(14) for i in loader.indices(step)] == shown


def test_batches_larger_than_the_data(folder):
    train, _ = build_datasets(config(folder))
    images, targets = batches(train, config(folder), steps=1, size=16)[0]
    assert len(images) == len(targets) == 16


def test_the_global_random_state_is_left_alone(folder):
    train, _ = build_datasets(config(folder))
    torch.manual_seed(0)
    np.random.seed(0)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(train, config(folder, workers=1), steps=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == legacy).all()


def test_nothing_is_left_to_do(folder):
    train, _ = build_datasets(config(folder))
    assert batches(train, config(folder), steps=3, start=3) == []
    assert len(TrainLoader(train, config(folder), 2, 0, 3, 5)) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_stops_the_run_with_one_line(folder, workers):
    train, _ = build_datasets(config(folder))
    (folder / "images" / "p3.png").write_text("x")
    text = refused(lambda: batches(train, config(folder, workers=workers), steps=4))
    assert text == (
        f"{folder / 'images' / 'p3.png'}: not an image that Pillow can read; remove it or convert "
        f"it to PNG or "
        "JPEG (or pass --set data.on_bad_image=skip)"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_is_skipped_counted_and_warned_of_once(folder, workers):
    settings = config(folder, workers=workers, on_bad_image="skip")
    train, _ = build_datasets(settings)
    (folder / "images" / "p3.png").unlink()
    loader = TrainLoader(train, settings, 7, 3, 2)
    with pytest.warns(DprdWarning) as caught:
        shown = [t.image_id for _, targets in loader for t in targets]
    bad = str(folder / "images" / "p3.png")
    ours = [str(w.message) for w in caught if w.category is DprdWarning]
    assert ours == [f"skipped: {bad}: no such file; check the path"]
    assert loader.skipped == Counter({bad: 2})
    order = [train.image_ids[i] for step in range(2) for i in loader.indices(step)]
    for epoch in range(2):
        place = order[7 * epoch : 7 * epoch + 7].index(3)
        following = order[7 * epoch + (place + 1) % 7]
        assert shown[7 * epoch + place] == following  # the next in order stands in


def test_no_image_can_be_read(folder):
    settings = config(folder, on_bad_image="skip")
    train, _ = build_datasets(settings)
    for path in (folder / "images").iterdir():
        path.write_text("x")
    assert "no image can be read; first: " in refused(lambda: batches(train, settings))


def test_a_killed_worker_does_not_end_the_run(folder):
    train, _ = build_datasets(config(folder))
    straight = batches(train, config(folder), steps=40)
    handler = signal.getsignal(signal.SIGCHLD)
    loader = TrainLoader(train, config(folder, workers=1), 3, 3, 40)
    iterator = iter(loader)
    got = [next(iterator)]
    assert signal.getsignal(signal.SIGCHLD) == handler
    import multiprocessing

    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)
    with pytest.warns(DprdWarning, match=r"the loader processes failed \(.*\); going on without any"):
        got.extend(iterator)
    assert loader.workers == 0
    assert_equal(got, straight)


def test_workers_leave_interrupts_to_the_main_process(folder):
    train, _ = build_datasets(config(folder))
    iterator = iter(TrainLoader(train, config(folder, workers=1), 3, 3, 30))
    next(iterator)
    import multiprocessing

    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGINT)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DprdWarning)
        assert len(list(iterator)) == 29


def test_choose_workers(monkeypatch):
    assert choose_workers(DataConfig(workers=3)) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(2)))
    assert choose_workers(DataConfig()) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("U", (), {"free": 1 << 40}))
    assert choose_workers(DataConfig()) == 6
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("U", (), {"free": 64 << 20}))
    assert choose_workers(DataConfig()) == 0


def test_pack_and_unpack(folder):
    train, _ = build_datasets(config(folder))
    items = [Item(*prepare(train[i], config(folder)), skipped=(("a", "b"),)) for i in (0, 6)]
    boxes_only = items[0].target.__class__(
        items[0].target.boxes, items[0].target.labels, items[0].target.image_size
    )
    items += [Item(None, None, error="bad"), Item(items[0].image, boxes_only)]
    back = unpack(pack(items))
    assert_equal(
        [([i.image for i in back[:2]], [i.target for i in back[:2]])],
        [([i.image for i in items[:2]], [i.target for i in items[:2]])],
    )
    assert back[0].skipped == (("a", "b"),)
    assert back[2].error == "bad"
    assert back[3].target.masks is None
    assert torch.equal(back[3].target.boxes, boxes_only.boxes)


# --- evaluation batches -------------------------------------------------------------------------------


def test_evaluation_goes_in_order(folder):
    _, val = build_datasets(config(folder))
    groups = list(iterate_eval(val, config(folder), 2))
    assert [[s.image_id for s in samples] for _, _, samples in groups] == [[1, 2], [3, 4], [5]]
    assert [t.image_id for _, targets, _ in groups for t in targets] == [1, 2, 3, 4, 5]
    assert all(i.shape == (3, 24, 32) for images, _, _ in groups for i in images)
    assert sum(len(images) for images, _, _ in iterate_eval(val, config(folder), 2, limit=3)) == 3


def test_evaluation_may_be_left_early(folder):
    _, val = build_datasets(config(folder))
    iterator = iterate_eval(val, config(folder), 1)
    assert next(iterator)[2][0].image_id == 1
    iterator.close()


def test_evaluation_and_bad_images(folder):
    _, val = build_datasets(config(folder))
    (folder / "images" / "v2.png").unlink()
    assert refused(lambda: list(iterate_eval(val, config(folder), 2))) == (
        f"{folder / 'images' / 'v2.png'}: no such file; check the path (or pass --set data.on_bad_image=skip)"
    )
    with pytest.warns(DprdWarning, match=r"skipped: .*v2\.png: no such file"):
        groups = list(iterate_eval(val, config(folder, on_bad_image="skip"), 2))
    assert [s.image_id for _, _, samples in groups for s in samples] == [1, 3, 4, 5]


# --- photographs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coco", "pennfudan"])
def test_photographs(name):
    if not (REAL / name).is_dir():
        pytest.skip(f"no data in {REAL / name}; set DPRD_DATA_DIR")
    settings = config(REAL / name, train_min_sizes=(160, 192), max_size=320, test_min_size=160)
    train, val = build_datasets(settings)
    assert len(val.class_names) == {"coco": 80, "pennfudan": 1}[name]
    for images, targets in TrainLoader(train, settings, 4, 0, 10):
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
