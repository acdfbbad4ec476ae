import doctest
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import dprd_cli
from dprd_cli import api
from dprd_cli.api import Model, evaluate, load, train
from dprd_cli.errors import DataError, UsageError


@pytest.fixture
def model(left_half):
    return Model(left_half())


def noise(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_the_docstring_is_true():
    result = doctest.testmod(api)
    assert (result.failed, result.attempted) == (0, 11)


def test_the_package_imports_torch_only_when_something_is_asked_of_it():
    code = (
        "import sys, dprd_cli; dir(dprd_cli); assert 'torch' not in sys.modules; "
        "assert not hasattr(dprd_cli, 'nothing'); assert 'torch' not in sys.modules; "
        "from dprd_cli import evaluate, load, train, Model, Prediction; assert 'torch' in sys.modules; "
        "print(load.__module__, train.__module__, evaluate.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "dprd_cli.inference.model dprd_cli.api dprd_cli.api\n"
    assert {"evaluate", "load", "train", "Model", "Prediction"} <= set(dir(dprd_cli))


def test_every_kind_of_image_is_the_same_image(tmp_path, model):
    image = noise()
    Image.fromarray(image).save(tmp_path / "a.png")
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    images = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        Image.fromarray(image),
        image,
        tensor,
        tensor / 255,
    ]
    found = model.predict(images, batch_size=4)
    found += model.predict([image[..., ::-1], tensor.flip(0)], channels="bgr")
    assert len(found) == 8
    assert all(np.array_equal(item.image, image) for item in found)
    assert found[0].name == str(tmp_path / "a.png")
    assert found[3].name == ""
    assert found[0].boxes.tolist() == [[0, 0, 30, 40]]  # from score 0.5
    assert model.predict(image, score_thresh=0.0).boxes.shape == (2, 4)
    assert model.predict(image).class_names == ["cat"]
    assert model.predict([]) == []
    assert [item.image_size for item in model.predict((image, noise(9, 7)))] == [(40, 60), (9, 7)]


def test_pillow_images_are_turned_upright_and_grey_is_repeated(model):
    image = Image.fromarray(noise())
    image.getexif()[0x0112] = 6
    assert model.predict(image).image_size == (60, 40)
    grey = noise()[..., 0]
    for image in (grey, Image.fromarray(grey)):
        assert np.array_equal(model.predict(image).image, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (noise().astype(float), "expected values of type uint8, but got float64"),
        (noise()[..., :2], r"expected an array of shape \(_, _, 3\) or \(_, _\), but got \(40, 60, 2\)"),
        (noise()[:0], r"but got \(0, 60, 3\)"),
        (torch.zeros(1, 3, 8, 8), r"expected a tensor of shape \(3, _, _\), but got \(1, 3, 8, 8\)"),
        (torch.full((3, 8, 8), 255.0), "expected a tensor of values in 0..1, or of uint8"),
        (torch.full((3, 8, 8), float("nan")), "expected a tensor of values in 0..1, or of uint8"),
        (
            Image.new("I;16", (8, 8)),
            "expected an image of 8 bits a channel, but got mode I;16; pass its file",
        ),
    ],
)
def test_images_of_another_form(model, image, message):
    with pytest.raises(ValueError, match=message):
        model.predict(image)


def test_other_things(model, tmp_path):
    with pytest.raises(TypeError, match="expected an image or a list of them, but got int"):
        model.predict(3)
    with pytest.raises(TypeError, match="expected a path, a Pillow image, an array or a tensor, but got int"):
        model.predict([3])
    with pytest.raises(ValueError, match="expected an image with pixels, but got 0x10"):
        model.predict(Image.new("RGB", (0, 10)))
    with pytest.raises(ValueError, match=r"expected an array of shape .*, but got \(0, 10, 3\)"):
        model.predict(torch.zeros((3, 0, 10), dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"score_thresh: expected 0\.\.1, but got 50"):
        model.predict(noise(), score_thresh=50)
    with pytest.raises(ValueError, match="batch_size: expected at least 1, but got -1"):
        model.predict(noise(), batch_size=-1)
    with pytest.raises(ValueError, match="channels: expected 'rgb' or 'bgr', but got 'gbr'"):
        model.predict(noise(), channels="gbr")
    with pytest.raises(DataError, match=r"gone.png: no such file"):
        model.predict(tmp_path / "gone.png")


def test_a_stream(model, tmp_path):
    for name in ("a", "b", "c"):
        Image.fromarray(noise()).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    found = model.stream(tmp_path, skip_unreadable=True, batch_size=2)
    assert [item.name for item in found] == [str(tmp_path / "a.png"), str(tmp_path / "c.png")]
    with pytest.raises(DataError, match=r"b.png: not an image"):
        list(model.stream(tmp_path))


def test_what_a_model_is(model):
    assert (model.class_names, model.device) == (("cat", "dog"), torch.device("cpu"))


TINY_RUN = (
    *("model.backbone.name=mobilenet_v2", "model.backbone.weights=none", "model.neck.channels=16"),
    *("model.heads.box_dim=16", "data.synthetic_train=4", "data.synthetic_val=2", "data.synthetic_size=64"),
    *("data.workers=0", "data.train_min_sizes=[64]", "data.test_min_size=64", "train.eval_every=0"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps, and what was told on the way."""
    told = []
    result = train(
        preset="dprd-small",
        overrides=TINY_RUN,
        steps=2,
        batch_size=1,
        device="cpu",
        out=tmp_path_factory.mktemp("runs") / "run",
        progress=lambda done, total: told.append((done, total)),
    )
    return result, told


def test_a_run_is_trained_resumed_and_loaded(trained):
    result, told = trained
    assert told == [(1, 2), (2, 2)]
    assert (result.step, result.last.name) == (2, "last.pt")
    assert result.evaluation.coco.images == 2
    assert load(result.folder, device="cpu").loaded.step == 2
    further = train(resume=result.folder, steps=3)
    assert (further.folder, further.step) == (result.folder, 3)
    with pytest.raises(UsageError, match=r"^--preset: a run is resumed with its own"):
        train(resume=result.folder, preset="dprd")


def test_what_is_evaluated_after_training_is_what_evaluate_says(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result, _ = trained
    told = []
    found = evaluate(result.last, device="cpu", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (2, 2)
    assert found.metrics.keys() == result.evaluation.metrics.keys()
    model = load(result.last, device="cpu")
    assert evaluate(model).metrics == found.metrics
    assert list(tmp_path.iterdir()) == []  # nothing is written that was not asked for
    evaluate(model, limit=1, out="a.json", plots="plots", save_results="results")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "plots", "results"]


def test_evaluation_takes_other_data_and_names_what_it_cannot_take(trained):
    model = load(trained[0].last, device="cpu")
    one = evaluate(model, overrides=["data.synthetic_val=1"], part_offsets="reference")
    assert (one.evaluation.coco.images, one.metrics["part_iou"]) == (1, 1)
    with pytest.raises(UsageError, match="unknown split 'vla'"):
        evaluate(model, split="vla")
    with pytest.raises(DataError, match="gone"):
        evaluate(model, data="gone")
