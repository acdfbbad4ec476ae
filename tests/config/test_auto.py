"""The laws of the schedule `auto`: bounded, monotone, overridable, a function of its arguments alone."""

from dataclasses import replace

import pytest

from dprd_cli.config.auto import choose, images_in_memory, training_views
from dprd_cli.config.facts import GIB, DataFacts, MachineFacts
from dprd_cli.config.presets import resolve
from dprd_cli.config.tree import flatten, known_keys

PEDESTRIANS = DataFacts(
    images=128, with_objects=128, objects=319, masks=319, classes=1,
    short_side=378.5, small_object=0.255, val_images=42,
)  # fmt: skip
VOC = DataFacts(
    images=3506, with_objects=3506, objects=10737, masks=0, classes=20,
    short_side=256, small_object=0.083, val_images=1002,
)  # fmt: skip
COCO = DataFacts(
    images=118_287, with_objects=117_266, objects=849_949, masks=849_949, classes=80,
    short_side=480, small_object=0.033, val_images=5000,
)  # fmt: skip
CPU = MachineFacts("cpu", "the CPU", 8 * GIB, 2)
GPU = MachineFacts("cuda", "a GPU", 24 * GIB, 16, frozenset({"r50", "r18"}))
GIVEN = {"model.backbone.name": "mobilenet_v2", "model.backbone.weights": "file.pth"}


def values(data=PEDESTRIANS, machine=CPU, given=GIVEN, epochs=None):
    return choose(data, machine, given, epochs).values


def test_a_hundred_photographs_on_a_cpu_get_what_was_measured_to_be_good():
    """All of schedule `photos` but its length: 800 steps of 4 are 25 epochs of 128."""
    wanted = flatten(resolve(preset="cascade-dprd-medium", schedule="photos"))
    chosen = values()
    length = {key: chosen.pop(f"train.{key}") for key in ("steps", "eval_every", "warmup_steps")}
    assert length == {"steps": 800, "eval_every": 134, "warmup_steps": 40}
    assert chosen.pop("train.patience") == 4  # of six evaluations: what the schedule leaves out
    assert chosen == {key: wanted[key] for key in chosen}
    assert {"preset", "train.lr", "data.train_min_sizes"} <= chosen.keys()


@pytest.mark.parametrize("machine", [CPU, GPU, replace(GPU, memory=2 * GIB)], ids=["cpu", "gpu", "small gpu"])
@pytest.mark.parametrize("data", [PEDESTRIANS, VOC, COCO], ids=["few", "voc", "coco"])
def test_every_choice_is_a_valid_configuration_and_has_a_reason(data, machine):
    plan = choose(data, machine, {})
    assert set(plan.values) <= {*known_keys()}
    overrides = [f"{key}={value}" for key, value in plan.values.items()]
    config = resolve(schedule="auto", overrides=overrides)
    assert config.train.warmup_steps < config.train.steps / 10
    assert config.train.eval_every <= config.train.steps
    assert all(choice.reason and choice.option for choice in plan.choices if choice.text)
    assert len(plan.lines()) >= 7
    assert plan == choose(data, machine, {})


@pytest.mark.parametrize("data", [PEDESTRIANS, VOC], ids=["few", "voc"])
def test_nothing_that_is_given_is_chosen(data):
    plan = choose(data, CPU, GIVEN)
    for key, value in plan.values.items():
        other = choose(data, CPU, GIVEN | {key: value})
        assert other.values == {k: v for k, v in plan.values.items() if k != key}
    assert choose(data, CPU, GIVEN | plan.values).lines() == []


def test_what_follows_from_a_given_value_follows():
    chosen = values(given=GIVEN | {"train.steps": 40})
    assert (chosen["train.warmup_steps"], chosen["train.eval_every"]) == (2, 14)
    chosen = values(given=GIVEN | {"train.batch_size": 16})
    # the same images; AdamW's rate by the square root
    assert (chosen["train.steps"], chosen["train.lr"]) == (600, 2e-3)
    chosen = values(given=GIVEN | {"data.test_min_size": 640})
    assert (chosen["data.train_min_sizes"], chosen["data.max_size"]) == ([512, 576, 640, 704], 1152)
    # 3 epochs of 128 images in batches of 4
    assert values(epochs=3)["train.steps"] == 96


def test_more_images_are_more_steps_and_never_more_epochs():
    counts = [10, 60, 128, 500, 3500, 20_000, 118_000]
    every = [replace(PEDESTRIANS, images=n, with_objects=n) for n in counts]
    views = [training_views(data) for data in every]
    assert views == sorted(views)
    epochs = [seen / n for seen, n in zip(views, counts, strict=True)]
    assert epochs == sorted(epochs, reverse=True)
    assert views[2] == 3200
    assert epochs[-1] == 12  # COCO's 1x
    steps = [values(data)["train.steps"] for data in every]
    assert steps == sorted(steps)
    assert steps[0] >= 600


def test_classes_and_random_weights_ask_for_more():
    assert training_views(replace(PEDESTRIANS, classes=2)) == 3520  # a tenth for a doubling
    assert training_views(PEDESTRIANS, scratch=True) == 3 * 3200
    rates = [values(replace(PEDESTRIANS, classes=n))["train.lr"] for n in (1, 6, 20, 80)]
    assert rates == [1e-3, 1e-3, 3e-4, 2e-4]


def test_images_without_objects_do_not_count_as_much():
    some = replace(PEDESTRIANS, images=1000, with_objects=250)
    none = replace(PEDESTRIANS, images=1000, with_objects=0)
    assert training_views(some) == training_views(none) > training_views(replace(some, with_objects=1000))


def test_less_memory_is_smaller_passes_of_the_same_step():
    large, small = values(machine=CPU), values(machine=replace(CPU, memory=2 * GIB))
    assert small["train.accumulate"] > large["train.accumulate"] == 1
    assert small | {"train.accumulate": 1} == large
    rooms = [images_in_memory(n * GIB, {"preset": "dprd", **SIZES}) for n in (1, 4, 8, 24, 80)]
    assert rooms == sorted(rooms)
    assert rooms[0] == 1


SIZES = {"data.train_min_sizes": [800], "data.max_size": 1333}


def test_the_device_decides_on_preset_and_backbone():
    assert values(given={})["preset"] == "cascade-dprd-medium"
    chosen = values(machine=GPU, given={})
    assert (chosen["preset"], chosen["model.backbone.name"]) == ("cascade-dprd", "r50")
    assert chosen["model.backbone.weights"] == "imagenet"
    assert chosen["train.optimizer"] == "sgd"
    assert values(machine=replace(GPU, memory=3 * GIB), given={})["preset"] == "cascade-dprd-medium"


def test_weights_are_taken_where_they_are_and_never_fetched():
    here = values(machine=replace(CPU, pretrained=frozenset({"r34", "r18"})), given={})
    assert (here["model.backbone.name"], here["model.backbone.weights"]) == ("r18", "imagenet")
    plan = choose(PEDESTRIANS, CPU, {})
    assert plan.values["model.backbone.weights"] == "none"
    line = next(line for line in plan.lines() if "from scratch" in line)
    assert "`dprd weights fetch imagenet --backbone mobilenet_v2`" in line
    assert values(given={"model.backbone.name": "r34"})["model.backbone.weights"] == "none"
    # published detectors have the paper's width
    assert values(given={"train.weights": "torchvision:maskrcnn_resnet50_fpn"})["preset"] == "cascade-dprd"
    # a whole detector to start from is as good as a pretrained backbone
    given = {"model.backbone.weights": "none", "train.weights": "run", "preset": "dprd-medium"}
    assert values(given=given)["train.steps"] == 800


def test_small_objects_get_larger_images_and_smaller_anchors():
    sizes = [values(replace(PEDESTRIANS, small_object=s))["data.test_min_size"] for s in (0.2, 0.055, 0.03)]
    assert sizes == [320, 448, 480]  # 24 / 0.055 = 436; no more than 1.25 times the images' own side
    assert "model.rpn.anchor_sizes" not in values()
    tiny = values(replace(PEDESTRIANS, small_object=0.03))
    assert tiny["model.rpn.anchor_sizes"] == [16, 32, 64, 128, 256]
    assert values(replace(PEDESTRIANS, small_object=0.0, objects=0))["data.test_min_size"] == 320


def test_boxes_alone_are_said():
    assert any("boxes only" in line for line in choose(VOC, CPU, GIVEN).lines())
    assert not any("boxes only" in line for line in choose(PEDESTRIANS, CPU, GIVEN).lines())


def test_evaluation_takes_no_more_than_a_quarter():
    few = values(replace(PEDESTRIANS, val_images=5000))
    evaluations = few["train.steps"] / few["train.eval_every"]
    assert evaluations * few["train.eval_limit"] / 3 <= 3200 / 4
    assert values()["train.eval_limit"] == 0
